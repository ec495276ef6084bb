"""One step's draw for the category trainer: which scenes, how framed, at what time, with which noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..diffusion import Diffusion
from ..latents import Latents


class Balanced:
    """Draws scenes so that a long tail of categories is heard.

    A category of n pictures is drawn with probability n^balance / (sum of n^balance over all): 1 draws every picture
    equally often, 0 every category; 0.5, the default, lets one with 64 pictures come four times as often as one with
    4, each of whose pictures then comes four times as often. Within a category all pictures are equal. Categories are
    taken from equal parts of the distribution, one each, so that a step hears as many of them as it can.
    """

    def __init__(self, labels: Sequence[int], balance: float) -> None:
        self.labels = torch.tensor(labels)
        self.rows = [(self.labels == label).nonzero()[:, 0] for label in range(int(self.labels.max()) + 1)]
        counts = torch.tensor([len(rows) for rows in self.rows], dtype=torch.float64)
        share = torch.where(counts > 0, counts**balance, 0)
        self.probability = share / share.sum()

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] rows, in random order."""
        places = (torch.arange(size) + torch.rand(size, generator=generator, dtype=torch.float64)) / size
        chosen = torch.searchsorted(self.probability.cumsum(0), places).clamp(max=len(self.rows) - 1)
        within = torch.rand(size, generator=generator)
        rows = [self.rows[c][int(u * len(self.rows[c]))] for c, u in zip(chosen.tolist(), within.tolist(), strict=True)]
        return torch.stack(rows)[torch.randperm(size, generator=generator)]


@dataclass(frozen=True)
class Draw:
    """What one part of a step trains on: rows of the scenes, with `hidden` [B] bool where the product isn't shown."""

    rows: Tensor
    views: Tensor
    hidden: Tensor
    silent: Tensor
    t: Tensor
    noise: Tensor

    @classmethod
    def new(
        cls,
        scenes: Balanced,
        latents: Latents,
        diffusion: Diffusion,
        batch: int,
        hide_product: float,
        drop_caption: float,
        generator: torch.Generator,
    ) -> Draw:
        rows = scenes.draw(batch, generator)
        views = torch.randint(latents.clean.shape[1], (batch,), generator=generator)
        hidden, silent = torch.rand(2, batch, generator=generator)
        t = diffusion.times(batch, generator)
        noise = torch.randn(batch, *latents.clean.shape[2:], generator=generator)
        return cls(rows, views, hidden < hide_product, silent < drop_caption, t, noise)


@dataclass(frozen=True)
class Shown:
    """Latents of a draw: `clean` and `masked` [B,C,h,w], `mask` [B,1,h,w], `background` [B,h,w], all float32."""

    clean: Tensor
    masked: Tensor
    mask: Tensor
    background: Tensor

    @classmethod
    def of(cls, latents: Latents, draw: Draw, device: torch.device) -> Shown:
        """The scenes of `draw`; where the product is hidden, all is grey and to be repainted, background or not."""
        picked = (draw.rows, draw.views)
        hidden = draw.hidden.view(-1, 1, 1, 1)
        masked = torch.where(hidden, latents.nothing, latents.masked[picked])
        mask = torch.where(hidden, 1.0, latents.mask[picked].float())
        kept = (latents.clean[picked], masked, mask, latents.background[picked])
        return cls(*(tensor.to(device, torch.float32) for tensor in kept))
