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


class Batches:
    """Draws augmented batches: mirroring (caption included), slight zoom, and masks tight or loose on the product."""

    def __init__(self, pictures: Tensor, masks: Tensor, captions: Sequence[str], coder: Autoencoder) -> None:
        self.pictures, self.masks, self.captions, self.coder = pictures, masks, list(captions), coder

    def draw(self, size: int, side: int, drop_caption: float, generator: torch.Generator) -> Batch:
        """`size` pictures of `side` pixels."""
        n, _, height, width = self.pictures.shape
        images, products, captions = [], [], []
        for index in torch.randint(n, (size,), generator=generator).tolist():
            flip, zoom, down, across, tight, drop = torch.rand(6, generator=generator).tolist()
            crop = round(min(height, width) * (1 - 0.15 * zoom))
            top, left = round((height - crop) * down), round((width - crop) * across)
            both = torch.cat([self.pictures[index], self.masks[index]])[:, top : top + crop, left : left + crop]
            both = both[None].float() / 255
            if crop != side:
                both = F.interpolate(both, size=(side, side), mode="bilinear", antialias=True)
            caption = self.captions[index]
            if flip < 0.5:
                both, caption = both.flip(-1), mirrored(caption)
            product = both[:, 3:]
            if tight < 0.5:
                # edge pixels mix product and background; a mask without them leaks nothing of the true background
                product = ((product - 0.5) * 2).clamp(0, 1)
            images.append(both[:, :3])
            products.append(product)
            captions.append("" if drop < drop_caption else caption)
        image, background = torch.cat(images), 1 - torch.cat(products)
        with torch.no_grad():
            latents, masked = self.coder.encode(torch.cat([image, grey_out(image, background)])).chunk(2)
        return Batch(latents, masked, mask_channel(background, *latents.shape[-2:]), captions)
