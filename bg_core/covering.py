"""What betrays a product besides itself: its rim and its shadow. Masks are [B,1,S,S] on square frames, 1 = product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def boxes(mask: Tensor) -> Tensor:
    """[B,4] left, top, right, bottom of the pixels above one half, as shares of the frame; no area without any."""
    found = []
    for dim in (2, 1):  # over rows: which columns are covered; over columns: which rows
        covered = (mask[:, 0] > 0.5).any(dim - 1 if dim == 2 else 2).float()
        size = covered.shape[1]
        first = covered.argmax(1)
        last = size - covered.flip(1).argmax(1)
        empty = covered.sum(1) == 0
        found.append((torch.where(empty, 0, first) / size, torch.where(empty, 0, last) / size))
    (left, right), (top, bottom) = found
    return torch.stack([left, top, right, bottom], dim=1)


def dilated(mask: Tensor, radius: float) -> Tensor:
    """`mask` grown by `radius`, a share of the frame, to a square about each pixel."""
    pixels = round(radius * mask.shape[-1])
    grown = mask
    for dim in (-1, -2):
        grown = _running_maximum(grown, pixels, dim)
    return grown


def _running_maximum(x: Tensor, pixels: int, dim: int) -> Tensor:
    """The maximum over `pixels` neighbours on both sides along `dim`, of a non-negative tensor.

    Windows double until they are wide enough; max_pool2d looks at every neighbour, which takes many times as long.
    """
    sides = (pixels, pixels)
    grown = F.pad(x, sides if dim == -1 else (0, 0, *sides))
    width, length = 1, grown.shape[dim]
    while width < 2 * pixels + 1:
        step = min(width, 2 * pixels + 1 - width)
        grown = torch.maximum(grown.narrow(dim, 0, length - step), grown.narrow(dim, step, length - step))
        width, length = width + step, length - step
    return grown


def shadow_strip(mask: Tensor) -> Tensor:
    """[B,1,S,S], 1 on a strip about the product's foot, half its width beyond both sides: where its shadow falls."""
    size = mask.shape[-1]
    left, top, right, bottom = (edge[:, None, None] for edge in boxes(mask).T)
    place = ((torch.arange(size) + 0.5) / size).to(mask.device)
    x, y = place[None, None], place[None, :, None]
    width, height = right - left, bottom - top
    across = (x > left - 0.5 * width) & (x < right + 0.5 * width)
    along = (y > bottom - 0.2 * height) & (y < bottom + 0.12 * height + 0.03)
    return (across & along & (width > 0))[:, None].float()


def covering(mask: Tensor, radius: float) -> Tensor:
    """The region that holds a product and what betrays it."""
    return torch.maximum(dilated(mask, radius), shadow_strip(mask))
