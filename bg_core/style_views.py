"""What a reference is cut into before it is looked at: its product is gone, and each view lacks what it may not say.

- **style**: crops of the background in any order: palette, material and softness, but no places.
- **layout**: the whole frame in grey, blurred: arrangement and light direction, but no colours.
- **elements**: crops at what stands out: props, but not where they stood.

The product, its rim and its shadow are filled from the surroundings, with nothing of their own: another product under
the same mask gives the same views, bit for bit. A hole says where it was, so that its cells can be dropped as well:
dropping alone would leak, because encoders mix neighbours.

Pictures [B,3,H,W] in [0,1]; masks and holes [B,1,H,W], 1 = product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .covering import covering
from .resize import area_average
from .style_config import StyleConfig

RADIUS = 0.04
"""How far a reference's product is dilated, as a share of the frame."""

EDGE = 0.02
"""A mask above this is product: soft edges hold its colour."""

BLUR = 4
"""By how much the layout view is reduced and enlarged again."""

LUMINANCE = (0.299, 0.587, 0.114)

LATTICE = (0, 2, 6, 8, 1, 7, 3, 5, 4)
"""Places of a 3 by 3 lattice of crops, those first that a product in the middle covers least."""


@dataclass(frozen=True)
class View:
    """`pictures` [B,K,3,s,s] in [0,1], filled; `hole` [B,K,1,s,s], 1 where the product was."""

    pictures: Tensor
    hole: Tensor

    def seen(self, cell: int) -> Tensor:
        """[B,K,s/cell,s/cell] bool: the cells of features that no part of the hole touches."""
        covered = F.max_pool2d(self.hole.flatten(0, 1), cell)
        return (covered == 0).unflatten(0, self.hole.shape[:2])[:, :, 0]


@dataclass(frozen=True)
class Views:
    style: View
    layout: View
    elements: View

    def to(self, device: torch.device) -> Views:
        views = (self.style, self.layout, self.elements)
        return Views(*(View(view.pictures.to(device), view.hole.to(device)) for view in views))

    def chosen(self, rows: Sequence[int]) -> Views:
        views, which = (self.style, self.layout, self.elements), list(rows)
        return Views(*(View(view.pictures[which], view.hole[which]) for view in views))


def cleared(
    pictures: Tensor, masks: Tensor | None, height: int, width: int, radius: float = RADIUS
) -> tuple[Tensor, Tensor]:
    """The pictures without their products, [B,3,height,width], and the holes [B,1,height,width] of zeros and ones.

    `masks`: of the pictures' size, or None where there is no product. `radius`: how far a product is dilated, as a
    share of the frame.
    """
    if masks is None:
        whole = area_average(pictures, height, width)
        return whole, torch.zeros_like(whole[:, :1])
    product = (masks > EDGE).to(pictures)
    hole = hole_of(product, height, width, radius)
    # Products are taken out before the size changes: no pixel of theirs is ever averaged in.
    return filled(area_average(pictures * (1 - product), height, width), hole), hole


def hole_of(product: Tensor, height: int, width: int, radius: float = RADIUS) -> Tensor:
    """[B,1,height,width]: 1 on every pixel that product (zeros and ones), its rim or its shadow touches."""
    side = max(height, width)
    square = covering((area_average(product, side, side) > 0).to(product), radius)
    return square if height == width else (area_average(square, height, width) > 0).to(product)


def filled(pictures: Tensor, hole: Tensor) -> Tensor:
    """The pictures with holes filled from their surroundings: means of ever larger neighbourhoods, blended.

    What lies in the hole has no part in it, bit for bit, and what lies outside stays as it is. All hole: mid grey.
    """
    levels = [(pictures * (1 - hole), 1 - hole)]  # colours weighed by how much of a pixel is known
    while max(levels[-1][1].shape[-2:]) > 1:
        levels.append(_halved(*levels[-1]))
    colour, known = levels.pop()
    found = colour + (1 - known) * 0.5
    for colour, known in reversed(levels):
        coarse = F.interpolate(found, size=known.shape[-2:], mode="bilinear")
        found = colour + (1 - known) * coarse
    return found


def _halved(colour: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Half the size; a pixel of which anything is known becomes known, up to twice as well as its parts."""
    colour, known = (F.avg_pool2d(t, 2, ceil_mode=True) for t in (colour, known))
    better = (known * 2).clamp(max=1)
    return colour / known.clamp(min=1e-6) * better, better


def crops(pictures: Tensor, hole: Tensor, corners: Tensor, size: int, side: int) -> View:
    """Squares of `size` pixels whose top left corners are `corners` [B,K,2] (y, x), each scaled to `side`."""
    both = torch.cat([pictures, hole], 1)
    cut = torch.stack(
        [
            picture[:, y : y + size, x : x + size]
            for picture, places in zip(both, corners.tolist(), strict=True)
            for y, x in places
        ]
    )
    # Nearest for the hole: a pixel of it must stay one, whatever the scale.
    scaled, where = cut[:, :3], cut[:, 3:]
    if size != side:
        scaled = F.interpolate(scaled, size=(side, side), mode="bilinear", antialias=True)
        where = (area_average(where, side, side) > 0).to(where)
    shape = corners.shape[:2]
    return View(scaled.unflatten(0, shape), where.unflatten(0, shape))


def lattice_corners(config: StyleConfig) -> Tensor:
    """[9,2]: the corners of nine crops that cover the frame, in the order of `LATTICE`."""
    free = config.frame - round(config.crop_share * config.frame)
    return torch.tensor([(place // 3 * free // 2, place % 3 * free // 2) for place in LATTICE])


def style_corners(hole: Tensor, config: StyleConfig, candidates: Tensor | None = None) -> Tensor:
    """[B,crops,2]: of `candidates` [B,n,2], or the lattice's, those of which the hole covers least."""
    if candidates is None:
        candidates = lattice_corners(config).expand(len(hole), -1, -1)
    share = covered_share(hole, candidates, round(config.crop_share * config.frame))
    order = share.argsort(dim=1, stable=True)[:, : config.crops]
    return candidates.gather(1, order[..., None].expand(-1, -1, 2))


def covered_share(hole: Tensor, corners: Tensor, size: int) -> Tensor:
    """[B,n]: how much of each square the hole covers, 0..1."""
    sums = F.pad(hole[:, 0].double().cumsum(1).cumsum(2), (1, 0, 1, 0)).cpu()
    row = torch.arange(len(hole))[:, None]
    y, x = corners[..., 0].cpu(), corners[..., 1].cpu()
    area = sums[row, y + size, x + size] - sums[row, y, x + size] - sums[row, y + size, x] + sums[row, y, x]
    return area / size**2


def style_view(pictures: Tensor, hole: Tensor, config: StyleConfig, candidates: Tensor | None = None) -> View:
    corners = style_corners(hole, config, candidates)
    return crops(pictures, hole, corners, round(config.crop_share * config.frame), config.crop)


def layout_view(pictures: Tensor, hole: Tensor, gamma: float | Tensor = 1.0, blur: int = BLUR) -> View:
    """`gamma` a number or [B,1,1,1]; `blur`: by how much the frame is reduced and enlarged again."""
    weights = torch.tensor(LUMINANCE).to(pictures).view(1, 3, 1, 1)
    grey = (pictures * weights).sum(1, keepdim=True).clamp(1e-4, 1) ** gamma
    size = grey.shape[-2:]
    soft = F.interpolate(area_average(grey, size[0] // blur, size[1] // blur), size=size, mode="bilinear")
    return View(soft.expand(-1, 3, -1, -1)[:, None], hole[:, None])


def salient_corners(pictures: Tensor, hole: Tensor, size: int, count: int) -> Tensor:
    """[B,count,2]: squares of `size` pixels that differ most from their surroundings, hardly overlapping."""
    step = max(1, size // 4)
    cells = pictures.shape[-2] // step, pictures.shape[-1] // step
    small = area_average(pictures, *cells)
    coarse = F.interpolate(F.avg_pool2d(small, 4, ceil_mode=True), size=small.shape[-2:], mode="bilinear")
    contrast = (small - coarse).abs().mean(1, keepdim=True)
    contrast = contrast * (area_average(hole, *cells) == 0)
    score = F.avg_pool2d(contrast, 4, stride=1)[:, 0]
    height, width = score.shape[-2:]
    y, x = torch.arange(height).view(-1, 1), torch.arange(width).view(1, -1)
    score, chosen = score.cpu().clone(), []
    for _ in range(count):
        best = score.flatten(1).argmax(1)
        top, left = best // width, best % width
        chosen.append((torch.stack([top, left], 1) * step).clamp(max=pictures.shape[-1] - size))
        near = ((y - top.view(-1, 1, 1)).abs() < 3) & ((x - left.view(-1, 1, 1)).abs() < 3)
        score = score.masked_fill(near, -1.0)
    return torch.stack(chosen, 1)


def elements_view(pictures: Tensor, hole: Tensor, config: StyleConfig, scale: float = 1.0) -> View:
    """`scale` of the crops' share of the frame."""
    size = min(config.frame // 2, max(4, round(config.element_share * scale * config.frame)))
    return crops(pictures, hole, salient_corners(pictures, hole, size, config.elements), size, config.crop)


def standard_views(pictures: Tensor, hole: Tensor, config: StyleConfig) -> Views:
    """The views of cleared pictures [B,3,frame,frame] in use; training draws its own."""
    style = style_view(pictures, hole, config)
    return Views(style, layout_view(pictures, hole), elements_view(pictures, hole, config))
