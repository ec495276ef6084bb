"""Training batches of the demonstration base: latents, masks and captions as the host will feed them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .framing import mirrored
from .latents import Latents


@dataclass(frozen=True)
class Batch:
    """`clean` and `masked` latents [B,C,h,w], `mask` [B,1,h,w] (1 = repaint), float32; one caption a row."""

    clean: Tensor
    masked: Tensor
    mask: Tensor
    captions: list[str]


@dataclass(frozen=True)
class Batches:
    """Framed views of pictures with one caption each; odd views are mirrored (`latents.encoded`)."""

    latents: Latents
    captions: Sequence[str]

    def draw(self, size: int, drop_caption: float, generator: torch.Generator) -> Batch:
        """`size` random views; captions are empty at the rate `drop_caption`."""
        rows = torch.randint(len(self.latents), (size,), generator=generator)
        views = torch.randint(self.latents.clean.shape[1], (size,), generator=generator)
        silent = (torch.rand(size, generator=generator) < drop_caption).tolist()
        return self._batch(rows, views, silent)

    def first(self, size: int) -> Batch:
        """The first pictures of the list as they are."""
        rows = torch.arange(min(size, len(self.latents)))
        return self._batch(rows, torch.zeros_like(rows), [False] * len(rows))

    def _batch(self, rows: Tensor, views: Tensor, silent: list[bool]) -> Batch:
        captions = []
        for row, view, quiet in zip(rows.tolist(), views.tolist(), silent, strict=True):
            said = self.captions[row]
            captions.append("" if quiet else mirrored(said) if view % 2 else said)
        kept = (self.latents.clean, self.latents.masked, self.latents.mask)
        return Batch(*(tensor[rows, views].float() for tensor in kept), captions)
