"""The two front ends of the style encoder: what turns a reference's pictures into features.

- the VAE's own latents: nothing else to download; for the demonstration base.
- patch features of a CLIP vision tower, its second to last layer, the hole masked in every layer; for Stable Diffusion.

ComfyUI and the trainers bring the networks; what they are shown is decided here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from .style_config import CELLS, CLIP_VISION
from .style_encoder import Features

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""What OpenAI's CLIP was trained with."""

Tower = Callable[[Tensor, Tensor], Tensor]
"""Normalised pixels [N,3,s,s] and which tokens may be attended to [N,1+cells] bool (the class token first) to the
hidden states [N,1+cells,F] of the second to last layer."""


def latent_features(encode: Callable[[Tensor], Tensor]) -> Features:
    """Of a VAE whose `encode` makes latents [N,C,s/8,s/8] of pictures [N,3,s,s] in [0,1]."""

    def features(pictures: Tensor, hole: Tensor) -> Tensor:
        with torch.no_grad():
            return encode(pictures)

    return features


def clip_features(tower: Tower) -> Features:
    """Of a CLIP vision tower with patches of 14 pixels."""

    def features(pictures: Tensor, hole: Tensor) -> Tensor:
        mean, std = (torch.tensor(values).to(pictures).view(1, 3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
        seen = F.max_pool2d(hole, CELLS[CLIP_VISION]) == 0
        side = seen.shape[-1]
        # The class token is always there, so a picture that is all hole attends to something.
        kept = F.pad(seen.flatten(1), (1, 0), value=True)
        with torch.no_grad():
            states = tower((pictures - mean) / std, kept)
        return states[:, 1:].transpose(1, 2).unflatten(2, (side, side))

    return features


def attention_mask(kept: Tensor, dtype: torch.dtype) -> Tensor:
    """[N,1,1,n] to be added to logits: 0 where `kept` [N,n] is True, the lowest number elsewhere."""
    return torch.where(kept, 0.0, torch.finfo(dtype).min).to(dtype)[:, None, None]
