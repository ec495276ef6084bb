"""How much of a reference a painted picture holds: copied patches, and the same layout. Pictures [B,3,H,W] in [0,1]."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.colour import rgb_to_lab

NEAR = 12.0
"""CIE Lab units within which a background's colour counts as the reference's product's; one can just be seen."""

PATCH, SHIFT, STRIDE = 24, 24, 2
"""Pixels: side of a patch, how far it is looked for in each direction, and in which steps."""

MOST = 0.1
"""A picture is judged by this share of its patches, those that are found best: one copied vase is few of them."""

BUSY = 0.3
"""The share of a background's places that count as occupied: where most is going on."""
GRID = 12

PLAIN = 0.002
"""Contrast below which nothing is going on at all."""


def copied(painted: Tensor, reference: Tensor, where: Tensor) -> Tensor:
    """[B]: how well patches of the background are found again in the reference, near their own place.

    Of patches that lie wholly where `where` [B,1,H,W] is above one half and aren't plain, each by its best normalised
    cross-correlation over all shifts, -1 to 1, the mean of the best tenth; of detail alone, since two walls of one
    colour are no copy. 0 where all are plain, NaN where no patch fits.
    """
    ours, theirs = _detail(painted), _detail(reference)
    side = ours.shape[-1]
    inside = F.avg_pool2d((where > 0.5).float(), PATCH, stride=PATCH // 2) >= 1
    padded = F.pad(theirs, (SHIFT,) * 4)
    scores = []
    for row in range(len(ours)):
        best = []
        for y, x in (inside[row, 0].nonzero() * (PATCH // 2)).tolist():
            patch = ours[row, :, y : y + PATCH, x : x + PATCH].reshape(1, -1, 1)
            window = padded[row : row + 1, :, y : y + PATCH + 2 * SHIFT, x : x + PATCH + 2 * SHIFT]
            best.append((_normal(patch) * _normal(F.unfold(window, PATCH, stride=STRIDE))).sum(1).max())
        if not best:
            scores.append(torch.tensor(torch.nan))
            continue
        found = torch.stack(best)
        found = found[found != 0].sort(descending=True).values
        scores.append(found[: max(1, round(MOST * len(found)))].mean() if len(found) else torch.tensor(0.0))
    assert side >= PATCH
    return torch.stack(scores)


def _detail(pictures: Tensor) -> Tensor:
    """[B,1,H,W]: luminance less its own blur."""
    grey = pictures.mean(1, keepdim=True)
    return grey - F.avg_pool2d(grey, 9, stride=1, padding=4, count_include_pad=False)


def _normal(columns: Tensor) -> Tensor:
    """Columns [B,n,places] of mean 0 and length 1; flat ones become 0."""
    columns = columns - columns.mean(1, keepdim=True)
    length = columns.norm(dim=1, keepdim=True)
    return columns / length.clamp(min=1e-6) * (length > 0.05)


def occupied(pictures: Tensor, where: Tensor) -> Tensor:
    """[B,GRID,GRID] bool: the places of the background in which most is going on, `BUSY` of them.

    Contrast needs no network, and sees arches, props and their shadows alike. `where` [B,1,H,W], 1 = background.
    """
    detail = _detail(pictures).abs() * where
    known = F.adaptive_avg_pool2d(where, GRID)
    contrast = F.adaptive_avg_pool2d(detail, GRID) / known.clamp(min=1e-6)
    free = (known > 0.5)[:, 0].flatten(1)
    values = contrast[:, 0].flatten(1).masked_fill(~free, -1.0)
    count = (free.sum(1).float() * BUSY).long().clamp(min=1)
    threshold = values.sort(1, descending=True).values.gather(1, (count - 1)[:, None])
    return ((values >= threshold) & (values > PLAIN) & free).unflatten(1, (GRID, GRID))


def layout_iou(ours: Tensor, theirs: Tensor, where: Tensor) -> Tensor:
    """[B]: intersection over union of `occupied` places, over those that are background in both pictures.

    `where` [B,GRID,GRID] bool.
    """
    both, either = (ours & theirs & where).sum((1, 2)), ((ours | theirs) & where).sum((1, 2))
    return both.double() / either.clamp(min=1)


def colour_share(pictures: Tensor, where: Tensor, references: Tensor, products: Tensor) -> Tensor:
    """[B] float64: the share of a background that has the mean colour of the reference's product, within `NEAR`.

    Pictures uint8 [B,3,H,W]; `where`, `products` [B,1,H,W] in [0,1]: the background, the reference's product. Many
    backgrounds have such a colour by themselves: compare with one that doesn't know the reference.
    """
    shares = []
    for picture, background, reference, product in zip(pictures, where, references, products, strict=True):
        solid, counted = product[0] > 0.9, background[0] > 0.5
        if not bool(solid.any()) or not bool(counted.any()):
            shares.append(torch.nan)
            continue
        mean = reference[:, solid].double().mean(1).numpy()
        distance = rgb_to_lab(picture[:, counted].T.numpy()) - rgb_to_lab(mean)
        shares.append(float(((distance**2).sum(1) < NEAR**2).mean()))
    return torch.tensor(shares, dtype=torch.float64)
