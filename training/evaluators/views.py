"""What each evaluator is shown of a picture: hidden, cropped and scaled to its own input.

Pictures [B,3,H,W] and masks [B,1,H,W] in [0,1], H = W; what comes back is [B,4,s,s], the picture and one mask channel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

GREY = 0.5
DILATION = 0.05
"""How far a hidden product is dilated, as a share of the frame."""


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
    """`mask` grown by `radius`, a share of the frame, in all directions."""
    pixels = round(radius * mask.shape[-1])
    return F.max_pool2d(mask, 2 * pixels + 1, 1, pixels)


def shadow_strip(mask: Tensor) -> Tensor:
    """[B,1,H,W], 1 on a strip about the product's foot, half its width beyond both sides: where its shadow falls."""
    size = mask.shape[-1]
    left, top, right, bottom = (edge[:, None, None] for edge in boxes(mask).T)
    place = (torch.arange(size) + 0.5) / size
    x, y = place[None, None], place[None, :, None]
    width, height = right - left, bottom - top
    across = (x > left - 0.5 * width) & (x < right + 0.5 * width)
    along = (y > bottom - 0.2 * height) & (y < bottom + 0.12 * height + 0.03)
    return (across & along & (width > 0))[:, None].float()


def covering(mask: Tensor, radius: float) -> Tensor:
    """The region that holds a product and what betrays it."""
    return torch.maximum(dilated(mask, radius), shadow_strip(mask))


def scene_view(pictures: Tensor, masks: Tensor, others: Tensor, side: int, radius: float = DILATION) -> Tensor:
    """The background alone: product, rim and shadow are grey, and so is what product `others` would have covered.

    So the hole has neither product's shape, and the category must be read from the scene.
    """
    hidden = torch.maximum(covering(masks, radius), covering(others, radius)).round()
    seen = pictures * (1 - hidden) + GREY * hidden
    return torch.cat([scaled(seen, side), scaled(hidden, side)], dim=1)


def whole_view(pictures: Tensor, masks: Tensor, side: int) -> Tensor:
    """The whole picture and its product's mask."""
    return torch.cat([scaled(pictures, side), scaled(masks, side)], dim=1)


def foot_view(pictures: Tensor, masks: Tensor, side: int) -> Tensor:
    """A square about the product's foot, nine tenths of its longer side wide, and the mask there."""
    left, top, right, bottom = boxes(masks).T
    extent = torch.maximum(right - left, bottom - top).clamp(min=0.1) * 0.9
    centre_x, centre_y = (left + right) / 2, bottom - 0.1 * extent
    grid = torch.zeros(len(pictures), 2, 3)
    grid[:, 0, 0] = grid[:, 1, 1] = extent
    grid[:, 0, 2], grid[:, 1, 2] = 2 * centre_x - 1, 2 * centre_y - 1
    places = F.affine_grid(grid, [len(pictures), 4, side, side], align_corners=False)
    both = torch.cat([pictures, masks], dim=1)
    return F.grid_sample(both, places, padding_mode="border", align_corners=False)


def scaled(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] == side:
        return pictures
    return F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
