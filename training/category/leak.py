"""How far an identifier reaches into the product: what the predicted noise changes there when it is swapped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..attention import guide_layers
from ..metrics.distributions import Statistic
from .paint import Brush, Subjects, Wish

BINS = 5
"""Equal parts of the schedule, each measured by itself."""


def leak_ratio(product: Tensor, background: Tensor) -> Statistic:
    """RMS change in the product over RMS change in the background; [N] or [N,bins] each, NaN rows don't count."""
    kept = ~(product.isnan() | background.isnan())
    inside, outside = (
        torch.where(kept, values, 0).double().reshape(len(kept), -1).mean(1) for values in (product, background)
    )
    return lambda weights: ((weights * inside).sum() / (weights * outside).sum()).sqrt()


@torch.no_grad()
def leak_energies(
    brush: Brush, subjects: Subjects, clean: Tensor, wishes: Sequence[Wish], others: Sequence[Wish], *, masked: bool,
    opened: bool = False, bins: int = BINS, seed: int = 0, batch: int = 16,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Mean squared change of the predicted noise, when identifiers are swapped, in the product and in the background.

    Two [N,bins] tensors, one column for each of `bins` equal parts of the schedule. `clean` [N,C,h,w]: the pictures'
    latents, noised to a time of each part. The product is eroded by one cell, and so is the background, so that border
    cells count to neither; NaN where nothing is left. `opened`: CLIP's later tokens follow the identifier.
    """
    painter, diffusion = brush.painter, brush.painter.diffusion
    regions = guide_layers(painter.unet)
    columns = []
    for part in range(bins):
        generator = torch.Generator().manual_seed(seed + part)
        t = int((part + 0.5) / bins * len(diffusion.alpha_bars))
        rows = []
        for start in range(0, len(subjects), batch):
            some = subjects.chosen(range(start, min(start + batch, len(subjects))))
            noise = torch.randn(some.masked.shape, generator=generator)
            times = torch.full((len(some),), t)
            noisy = painter.inputs(diffusion.noisy(clean[start : start + batch], noise, times), some.where, some.masked)
            predicted = []
            for asked in (wishes, others):
                part_of = asked[start : start + batch]
                vectors = torch.stack([brush.vectors[wish.category] for wish in part_of])
                make = brush.texts.left_open if opened else brush.texts.with_vectors
                context = make([wish.words for wish in part_of], vectors)
                with regions.guiding(
                    some.background if masked else None, context.positions, noisy.shape[-2:], context.values.shape[1]
                ):
                    predicted.append(painter.unet(noisy, times, context.values).sample)
            # a velocity's change is the noise's over sqrt(alpha-bar), the same in product and background
            change = (predicted[0] - predicted[1]).square().mean(1)
            rows.append(
                torch.stack([_inner_mean(change, some.background < 0.5), _inner_mean(change, some.background >= 0.5)])
            )
        columns.append(torch.cat(rows, dim=1))
    product, background = torch.stack(columns, dim=2)
    return product, background


def _inner_mean(values: Tensor, region: Tensor) -> Tensor:
    """The mean of `values` [B,h,w] over `region` less one cell at its border, [B]; NaN where that is empty."""
    outside = F.max_pool2d((~region)[:, None].float(), 3, 1, 1)[:, 0]
    inner = outside == 0
    return (values * inner).sum((1, 2)) / inner.sum((1, 2))
