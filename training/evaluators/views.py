"""What each evaluator is shown of a picture: hidden, cropped and scaled to its own input.

Pictures [B,3,H,W] and masks [B,1,H,W] in [0,1], H = W; what comes back is [B,4,s,s], the picture and one mask channel.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.covering import boxes, covering

GREY = 0.5
DILATION = 0.05
"""How far a hidden product is dilated, as a share of the frame."""


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


def foot_view(pictures: Tensor, masks: Tensor, side: int, moved: Iterable[Tensor | float] = (0.0, 0.0, 0.0)) -> Tensor:
    """A square about the product's foot, nine tenths of its longer side wide, and the mask there.

    `moved`: by how much a square is larger, and moved to the right and down, as shares of it; [B] each, or one for all.
    """
    larger, across, down = moved
    left, top, right, bottom = boxes(masks).T
    extent = torch.maximum(right - left, bottom - top).clamp(min=0.1) * 0.9
    centre_x, centre_y = (left + right) / 2 + across * extent, bottom + (down - 0.1) * extent
    extent = extent * (1 + larger)
    grid = torch.zeros(len(pictures), 2, 3)
    grid[:, 0, 0] = grid[:, 1, 1] = extent
    grid[:, 0, 2], grid[:, 1, 2] = 2 * centre_x - 1, 2 * centre_y - 1
    places = F.affine_grid(grid, [len(pictures), 4, side, side], align_corners=False)
    both = torch.cat([pictures, masks], dim=1)
    return F.grid_sample(both, places, padding_mode="border", align_corners=False)


def foot_views(pictures: Tensor, masks: Tensor, side: int) -> list[Tensor]:
    """`foot_view` five times, from a fifth narrower to a fifth wider: their mean is surer than any of them."""
    return [foot_view(pictures, masks, side, (larger, 0.0, 0.0)) for larger in (-0.2, -0.1, 0.0, 0.1, 0.2)]


def shaken_foot_view(pictures: Tensor, masks: Tensor, side: int, generator: torch.Generator) -> Tensor:
    """`foot_view` up to a quarter narrower or wider, and aside: else the same few crops come again and again."""
    shares = torch.rand(3, len(pictures), generator=generator) * 2 - 1
    return foot_view(pictures, masks, side, shares * torch.tensor([[0.25], [0.12], [0.08]]))


def whole_views(pictures: Tensor, masks: Tensor, side: int) -> list[Tensor]:
    return [whole_view(pictures, masks, side)]


def scaled(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] == side:
        return pictures
    return F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True)
