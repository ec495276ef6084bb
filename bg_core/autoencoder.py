"""The base's autoencoder: TAESD's architecture (Ollin Boer Bohan, MIT), with ComfyUI's parameter names.

ComfyUI recognises `taesd_decoder.1.weight` in a checkpoint, reads the number of latent channels from it and builds its
own module of this shape; what is here must stay equal to it layer for layer, which tests/test_parity_host.py checks.

Latents are normalised by the autoencoder itself (`fold_normalisation`): the diffusion model needs no scale factor.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .base import DEMONSTRATION, BaseConfig

WIDTH = 64
"""Feature channels throughout; ComfyUI's TAESD class fixes them."""


class Clamp(nn.Module):
    """Soft limit of the decoder's input to (-3, 3): nearly the identity for |x| < 1."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x / 3) * 3


class Block(nn.Module):
    """Residual block of three 3x3 convolutions, [B,64,h,w] -> [B,64,h,w]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(_conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH), nn.ReLU(), _conv(WIDTH, WIDTH))
        self.fuse = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.fuse(self.conv(x) + x)


class Autoencoder(nn.Module):
    """Pictures [B,3,H,W] in [0,1] to latents [B,C,H/8,W/8] and back; H and W are multiples of 8."""

    vae_scale: Tensor
    vae_shift: Tensor

    def __init__(self, config: BaseConfig = DEMONSTRATION) -> None:
        super().__init__()
        self.taesd_encoder = _encoder(config.latent_channels)
        self.taesd_decoder = _decoder(config.latent_channels)
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
    def fold_normalisation(self, mean: Tensor, std: Tensor) -> None:
        """Make `encode` return (z - mean) / std, `mean` and `std` [C] being statistics of the present latents z.

        Exact in the encoder, whose last layer is linear. The decoder's first layer takes the inverse, exact but for the
        clamp before it and for its zero padding, which now stands for the mean: fine-tune the decoder after folding.
        """
        last, first = self.taesd_encoder[-1], self.taesd_decoder[1]
        assert isinstance(last, nn.Conv2d) and isinstance(first, nn.Conv2d)
        assert last.bias is not None and first.bias is not None
        mean, std = mean.to(last.weight), std.to(last.weight)
        raw_mean = (mean - self.vae_shift) * self.vae_scale  # in the units of the two convolutions
        last.weight.div_(std.view(-1, 1, 1, 1))
        last.bias.sub_(raw_mean).div_(std)
        first.bias.add_(torch.einsum("oikl,i->o", first.weight, raw_mean))
        first.weight.mul_(std.view(1, -1, 1, 1))
        self.vae_shift.zero_()

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


def _encoder(latent_channels: int) -> nn.Sequential:
    halve = [[_conv(WIDTH, WIDTH, stride=2, bias=False), Block(), Block(), Block()] for _ in range(3)]
    return nn.Sequential(
        _conv(3, WIDTH), Block(), *[layer for stage in halve for layer in stage], _conv(WIDTH, latent_channels)
    )


def _decoder(latent_channels: int) -> nn.Sequential:
    double = [
        [Block(), Block(), Block(), nn.Upsample(scale_factor=2), _conv(WIDTH, WIDTH, bias=False)] for _ in range(3)
    ]
    return nn.Sequential(
        Clamp(),
        _conv(latent_channels, WIDTH),
        nn.ReLU(),
        *[layer for stage in double for layer in stage],
        Block(),
        _conv(WIDTH, 3),
    )
