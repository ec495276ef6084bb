"""How training frames a picture: mirroring (caption included), slight zoom, and masks tight or loose on the product."""

from __future__ import annotations

import re
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def mirrored(caption: str) -> str:
    """The caption of the mirrored picture: light from the left comes from the right."""
    swap = {"left": "right", "right": "left"}
    return re.sub(r"\b(left|right)\b", lambda side: swap[side.group()], caption)


def is_mirrored(draws: Sequence[float]) -> bool:
    """Whether `framed` mirrors a picture with these draws."""
    return draws[0] < 0.5


def framed(picture: Tensor, mask: Tensor, side: int, draws: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Picture [1,3,side,side] and product mask [1,1,side,side] in [0,1] from uint8 [3,H,W] and [1,H,W].

    Five `draws` in [0,1) decide: mirroring, zoom, place down, place across, and a mask tight or loose on the product.
    """
    _, zoom, down, across, tight = draws
    height, width = picture.shape[-2:]
    crop = round(min(height, width) * (1 - 0.15 * zoom))
    top, left = round((height - crop) * down), round((width - crop) * across)
    both = torch.cat([picture, mask])[:, top : top + crop, left : left + crop][None].float() / 255
    if crop != side:
        both = F.interpolate(both, size=(side, side), mode="bilinear", antialias=True)
    if is_mirrored(draws):
        both = both.flip(-1)
    product = both[:, 3:]
    if tight < 0.5:
        # edge pixels mix product and background; a mask without them leaks nothing of the true background
        product = ((product - 0.5) * 2).clamp(0, 1)
    return both[:, :3], product
