"""The base's autoencoder: TAESD's architecture (Ollin Boer Bohan, MIT), with ComfyUI's parameter names.

ComfyUI recognises `taesd_decoder.1.weight` in a checkpoint, reads the number of latent channels from it and builds its
own module of this shape; what is here must stay equal to it layer for layer, which tests/test_parity_host.py checks.

Latents leave the autoencoder normalised: the diffusion model needs no scale factor.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import DEMONSTRATION, BaseConfig

Widths = tuple[int, int, int, int]

HOST_WIDTHS: Widths = (64, 64, 64, 64)
"""Feature channels at 1/1, 1/2, 1/4 and 1/8 of the resolution; ComfyUI's TAESD class fixes them."""


class Clamp(nn.Module):
    """Soft limit of the decoder's input to (-3, 3): nearly the identity for |x| < 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Residual block of three 3x3 convolutions, [B,W,h,w] -> [B,W,h,w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(width, width), nn.ReLU(), _conv(width, width), nn.ReLU(), _conv(width, width))
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.conv(x) + x)


class Autoencoder(nn.Module):
    """Pictures [B,3,H,W] in [0,1] to latents [B,C,H/8,W/8] and back; H and W are multiples of 8.

    Only `HOST_WIDTHS` loads in ComfyUI; others are for training (`widened`).
    """

    vae_scale: Tensor
    vae_shift: Tensor

    def __init__(self, config: BaseConfig = DEMONSTRATION, widths: Widths = HOST_WIDTHS) -> None:
        super().__init__()
        self.config = config
        self.taesd_encoder = _encoder(config.latent_channels, widths)
        self.taesd_decoder = _decoder(config.latent_channels, widths)
        # Latents leave the encoder divided by this and enter the decoder multiplied by it. Image latents have heavy
        # tails: without it the decoder's clamp would squash a unit-variance latent of 4 to 2.6; with 0.25 to 3.87.
        self.register_buffer("vae_scale", torch.tensor(float(config.latent_scale)))
        self.register_buffer("vae_shift", torch.tensor(0.0))

    def encode(self, image: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> latents [B,C,H/8,W/8]."""
        return self.taesd_encoder(image) / self.vae_scale + self.vae_shift

    def decode(self, latents: Tensor) -> Tensor:
        """Latents [B,C,h,w] -> [B,3,8h,8w], about [0,1] but not clamped, so that training keeps its gradient."""
        return self.taesd_decoder((latents - self.vae_shift) * self.vae_scale)

    @torch.no_grad()
    def blank_latent(self) -> Tensor:
        """[C]: what a mid-grey picture encodes to, away from its borders. The inpainting model's "nothing is known"."""
        grey = torch.full((1, 3, 256, 256), 0.5).to(self.vae_scale)
        return self.encode(grey)[0, :, 16, 16].float()


@torch.no_grad()
def fit_latent_rgb(latents: Tensor, images: Tensor) -> Tensor:
    """Least-squares map from latents to colours for ComfyUI's live preview, [C+1,3]; the last row is the bias.

    `latents` [B,C,h,w], `images` [B,3,8h,8w] in [0,1]. The colours it predicts are in [-1,1], as the host expects.
    """
    colours = F.interpolate(images, size=latents.shape[-2:], mode="area") * 2 - 1
    x = latents.movedim(1, -1).flatten(0, 2).double()
    y = colours.movedim(1, -1).flatten(0, 2).double()
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
    return torch.linalg.lstsq(x, y).solution.float()


def _conv(inputs: int, outputs: int, stride: int = 1, bias: bool = True) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride, bias=bias)


def _encoder(latent_channels: int, widths: Widths) -> nn.Sequential:
    full = widths[0]
    halve = [
        layer
        for fine, coarse in pairwise(widths)
        for layer in (_conv(fine, coarse, stride=2, bias=False), Block(coarse), Block(coarse), Block(coarse))
    ]
    return nn.Sequential(_conv(3, full), Block(full), *halve, _conv(widths[-1], latent_channels))


def _decoder(latent_channels: int, widths: Widths) -> nn.Sequential:
    full = widths[0]
    double = [
        layer
        for coarse, fine in pairwise(reversed(widths))
        for layer in (
            Block(coarse), Block(coarse), Block(coarse), nn.Upsample(scale_factor=2), _conv(coarse, fine, bias=False),
        )
    ]  # fmt: skip
    return nn.Sequential(Clamp(), _conv(latent_channels, widths[-1]), nn.ReLU(), *double, Block(full), _conv(full, 3))


def widened(narrow: Autoencoder) -> Autoencoder:
    """The same function in the host's widths: features that `narrow` lacks are zero, and stay so through the ReLUs."""
    return _copied(narrow, Autoencoder(narrow.config))


@torch.no_grad()
def narrowed(wide: Autoencoder) -> Autoencoder:
    """The same function without the features that are zero, several times faster: undoes `widened`."""
    marks: Widths = (1001, 1002, 1003, 1004)  # sizes that tell which resolution a parameter's outputs belong to
    widths = dict.fromkeys(marks, 1)
    with torch.device("meta"):
        sizes = {name: parameter.shape[0] for name, parameter in Autoencoder(wide.config, marks).named_parameters()}
    for name, parameter in wide.named_parameters():
        if sizes[name] in widths:
            live = parameter.flatten(1).any(1) if parameter.ndim > 1 else parameter != 0
            last = int(live.nonzero().max()) + 1 if live.any() else 1
            widths[sizes[name]] = max(widths[sizes[name]], last)
    full, half, quarter, eighth = widths.values()
    return _copied(wide, Autoencoder(wide.config, (full, half, quarter, eighth)))


@torch.no_grad()
def _copied(source: Autoencoder, target: Autoencoder) -> Autoencoder:
    """`target` with the weights of `source`, cut or filled up with zeros."""
    for ours, theirs in zip(target.parameters(), source.parameters(), strict=True):
        ours.zero_()
        common = tuple(slice(min(a, b)) for a, b in zip(ours.shape, theirs.shape, strict=True))
        ours[common] = theirs[common]
    target.vae_scale.copy_(source.vae_scale)
    target.vae_shift.copy_(source.vae_shift)
    return target
