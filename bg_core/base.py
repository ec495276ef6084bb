"""The demonstration base, specified once: the trainers, the exporter and the ComfyUI side all read it here.

A small latent diffusion model for inpainting, laid out like Stable Diffusion 1.5 so that ComfyUI's stock checkpoint
loader, samplers and inpainting nodes drive it. This module knows neither ComfyUI nor diffusers: `BaseConfig` hands each
of them plain dictionaries, and the functions below are the noise schedule and the model's input, in pure torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ProductBackgroundError

BASE_NAME = "product-background-demo"
"""The model family's name, as weight files state it in their `base` field."""

HOST_VOCABULARY_SIZE = 49408
"""Rows in ComfyUI's stock CLIP tokenizer; `BOS` and `EOS` are its last two ids, and `EOS` also pads."""
BOS, EOS = 49406, 49407

UNKNOWN = -1
"""Stands in a trimmed vocabulary for every host id that was not taught."""

TERMINAL_ALPHA_BAR = 4.8973451890853435e-08
"""What ComfyUI puts in place of a terminal alpha-bar of zero, so that the last sigma (about 4519) stays finite."""


@dataclass(frozen=True)
class BaseConfig:
    """Every number that the shape and the schedule of the base depend on. The defaults are the published model."""

    latent_channels: int = 16
    downscale: int = 8
    latent_scale: float = 0.25  # `vae_scale`: keeps a unit-variance latent on the straight part of the decoder's clamp

    channels: tuple[int, ...] = (64, 128, 256)
    res_blocks: int = 2
    attention: tuple[bool, ...] = (True, True, False)  # spatial transformers per level; the middle block has one too
    head_channels: int = 32
    context_width: int = 128

    text_layers: int = 4
    text_heads: int = 4
    text_feedforward: int = 512
    text_positions: int = 77
    text_activation: str = "quick_gelu"

    timesteps: int = 1000
    beta_start: float = 0.00085
    beta_end: float = 0.012

    def __post_init__(self) -> None:
        if len(self.channels) != len(self.attention):
            raise ProductBackgroundError(
                f"Bad base configuration. Expected one attention flag a level, got {len(self.attention)} flags "
                f"for {len(self.channels)} levels."
            )
        if any(c % self.head_channels or c % 32 for c in self.channels):
            raise ProductBackgroundError(
                f"Bad base configuration. Channels must be multiples of 32 and of head_channels="
                f"{self.head_channels}, got {self.channels}."
            )

    @property
    def unet_channels(self) -> int:
        """Input channels: noisy latents, one mask channel, latents of the masked picture, in the host's order."""
        return 2 * self.latent_channels + 1

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_dict` is its inverse."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> BaseConfig:
        """Rebuild a configuration that `to_dict` wrote; unknown fields are an error, not a guess."""
        known = {f.name for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ProductBackgroundError(f"Bad base configuration. Unknown fields: {', '.join(unknown)}.")
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**fields)

    def diffusers_unet(self) -> dict[str, Any]:
        """Keyword arguments of `diffusers.UNet2DConditionModel`."""
        down = tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in self.attention)
        up = tuple("CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(self.attention))
        return {
            "in_channels": self.unet_channels,
            "out_channels": self.latent_channels,
            "block_out_channels": self.channels,
            "layers_per_block": self.res_blocks,
            "down_block_types": down,
            "up_block_types": up,
            "cross_attention_dim": self.context_width,
            # diffusers' name misleads: this is the number of heads per level, not their width
            "attention_head_dim": tuple(c // self.head_channels for c in self.channels),
        }

    def transformers_text(self, vocabulary_size: int) -> dict[str, Any]:
        """Keyword arguments of `transformers.CLIPTextConfig` over a trimmed vocabulary whose last rows are BOS, EOS."""
        return self._text_shape() | {
            "vocab_size": vocabulary_size,
            "bos_token_id": vocabulary_size - 2,
            "eos_token_id": vocabulary_size - 1,
            "pad_token_id": vocabulary_size - 1,
            "projection_dim": self.context_width,
        }

    def host_text(self) -> dict[str, Any]:
        """The text configuration that ComfyUI's CLIP model reads, over the stock tokenizer's whole vocabulary."""
        return self._text_shape() | {"eos_token_id": EOS}

    def _text_shape(self) -> dict[str, Any]:
        return {
            "hidden_size": self.context_width,
            "intermediate_size": self.text_feedforward,
            "num_hidden_layers": self.text_layers,
            "num_attention_heads": self.text_heads,
            "max_position_embeddings": self.text_positions,
            "hidden_act": self.text_activation,
        }


DEMONSTRATION = BaseConfig()
"""The one configuration that the pack registers in ComfyUI."""


def alphas_cumprod(config: BaseConfig = DEMONSTRATION) -> Tensor:
    """Alpha-bar, [timesteps] float64: Stable Diffusion's scaled-linear betas, rescaled to zero terminal SNR.

    Follows ComfyUI's `rescale_zero_terminal_snr_sigmas` (arXiv 2305.08891, algorithm 1), its finite end included.
    """
    roots = torch.linspace(config.beta_start**0.5, config.beta_end**0.5, config.timesteps, dtype=torch.float64)
    root_bar = torch.cumprod(1.0 - roots**2, dim=0).sqrt()
    first, last = root_bar[0].clone(), root_bar[-1].clone()
    alpha_bar = ((root_bar - last) * (first / (first - last))) ** 2
    alpha_bar[-1] = TERMINAL_ALPHA_BAR
    return alpha_bar


def sigmas(config: BaseConfig = DEMONSTRATION) -> Tensor:
    """The same schedule as ComfyUI counts it, sqrt((1 - alpha_bar) / alpha_bar), float64, ascending."""
    alpha_bar = alphas_cumprod(config)
    return ((1.0 - alpha_bar) / alpha_bar).sqrt()


def add_noise(latents: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """x_t = sqrt(a) x_0 + sqrt(1-a) noise; `latents` and `noise` [B,C,h,w], `alpha_bar` [B] (one per row)."""
    a = alpha_bar.to(latents.dtype).view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1.0 - a).sqrt() * noise


def velocity(latents: Tensor, noise: Tensor, alpha_bar: Tensor) -> Tensor:
    """What the network predicts, v = sqrt(a) noise - sqrt(1-a) x_0; shapes as in `add_noise`."""
    a = alpha_bar.to(latents.dtype).view(-1, 1, 1, 1)
    return a.sqrt() * noise - (1.0 - a).sqrt() * latents


def grey_out(image: Tensor, mask: Tensor) -> Tensor:
    """Replace what is to be repainted by mid grey, as ComfyUI's InpaintModelConditioning does before encoding.

    `image` [B,3,H,W] in [0,1], `mask` [B,1,H,W] in [0,1], 1 = repaint. The mask is rounded: no pixel is half grey.
    """
    return (image - 0.5) * (1.0 - mask.round()) + 0.5


def mask_channel(mask: Tensor, height: int, width: int) -> Tensor:
    """The mask as the UNet sees it, [B,1,height,width] of zeros and ones, from `mask` [B,1,H,W], 1 = repaint.

    ComfyUI resizes bilinearly without antialiasing, then rounds; training must do exactly that.
    """
    if mask.shape[-2:] != (height, width):
        mask = F.interpolate(mask, size=(height, width), mode="bilinear")
    return mask.round()


def inpainting_input(noisy: Tensor, mask: Tensor, masked_latents: Tensor) -> Tensor:
    """The UNet's input [B,2C+1,h,w]: noisy latents [B,C,h,w], mask channel [B,1,h,w], masked latents [B,C,h,w]."""
    return torch.cat([noisy, mask, masked_latents], dim=1)
