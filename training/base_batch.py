"""Training batches of the demonstration base: pictures, masks and captions as the host will feed them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.autoencoder import Autoencoder
from bg_core.base import grey_out, mask_channel


@dataclass(frozen=True)
class Batch:
    """`latents` and `masked` [B,C,h,w], `mask` [B,1,h,w] (1 = repaint), one caption a row."""

    latents: Tensor
    masked: Tensor
    mask: Tensor
    captions: list[str]


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


class Batches:
    """Draws augmented batches: mirroring (caption included), slight zoom, and masks tight or loose on the product."""

    def __init__(self, pictures: Tensor, masks: Tensor, captions: Sequence[str], coder: Autoencoder) -> None:
        self.pictures, self.masks, self.captions, self.coder = pictures, masks, list(captions), coder

    def draw(self, size: int, side: int, drop_caption: float, generator: torch.Generator) -> Batch:
        """`size` pictures of `side` pixels."""
        n = len(self.pictures)
        images, products, captions = [], [], []
        for index in torch.randint(n, (size,), generator=generator).tolist():
            *draws, drop = torch.rand(6, generator=generator).tolist()
            image, product = framed(self.pictures[index], self.masks[index], side, draws)
            caption = self.captions[index]
            images.append(image)
            products.append(product)
            captions.append("" if drop < drop_caption else mirrored(caption) if is_mirrored(draws) else caption)
        image, background = torch.cat(images), 1 - torch.cat(products)
        with torch.no_grad():
            latents, masked = self.coder.encode(torch.cat([image, grey_out(image, background)])).chunk(2)
        return Batch(latents, masked, mask_channel(background, *latents.shape[-2:]), captions)
