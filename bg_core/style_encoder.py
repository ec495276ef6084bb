"""From a reference's views to tokens: one reader a group, so that a group can say no more than its view shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .resize import area_average
from .style_config import CLIP_VISION, StyleConfig
from .style_views import View, Views

Features = Callable[[Tensor, Tensor], Tensor]
"""A front end: pictures [N,3,s,s] in [0,1] and their holes [N,1,s,s] to features [N,F,s/cell,s/cell]."""

WAVES = (1.0, 2.0, 4.0, 8.0)
POSITION = 4 * len(WAVES)
"""Numbers that say where a place is."""


@dataclass(frozen=True)
class Tokens:
    """One group's tokens `values` [R,T,W] of R references, and which of them count, `kept` [R,T] bool."""

    values: Tensor
    kept: Tensor


def positions(y: Tensor, x: Tensor) -> Tensor:
    """[...,16] from places in shares of the frame, 0..1: waves of half a period over the frame, and shorter ones."""
    angles = torch.stack([y, x], -1)[..., None] * torch.tensor(WAVES, device=y.device) * torch.pi
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(-2)


def grid_positions(height: int, width: int, box: tuple[float, float, float, float] = (0, 0, 1, 1)) -> Tensor:
    """[height*width,16], row by row; `box`: top, left, bottom, right in shares of the frame."""
    top, left, bottom, right = box
    y = top + (torch.arange(height) + 0.5) / height * (bottom - top)
    x = left + (torch.arange(width) + 0.5) / width * (right - left)
    return positions(*torch.meshgrid(y, x, indexing="ij")).flatten(0, 1)


class Stem(nn.Module):
    """Features [N,F,g,g] to cells [N,W,g,g] that know their neighbours."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        # CLIP's hidden states differ in size by orders of magnitude; latents are of unit variance, and mean something
        self.norm = nn.GroupNorm(1, config.features) if config.front == CLIP_VISION else nn.Identity()
        self.first = nn.Conv2d(config.features, config.width, 1)
        self.second = nn.Conv2d(config.width, config.width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.second(F.gelu(self.first(self.norm(x)))))


class ReadingBlock(nn.Module):
    """Queries [B,T,W] attend to cells [B,n,W] where `mask` [B,1,1,n] is True, then to themselves, one by one."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.q = nn.Linear(width, width, bias=False)
        self.kv = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor, cells: Tensor, mask: Tensor) -> Tensor:
        k, v = self.kv(cells).chunk(2, -1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (self.q(self.norm(x)), k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.out(found.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Resampler(nn.Module):
    """A few learned queries read any number of cells without order (arXiv 2103.03206): [B,n,W] to [B,T,W]."""

    def __init__(self, tokens: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(tokens, width) * 0.5)
        # Something to look at where every cell is dropped.
        self.nothing = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(ReadingBlock(width, heads) for _ in range(depth))

    def forward(self, cells: Tensor, seen: Tensor) -> Tensor:
        """`seen` [B,n] bool: cells that may be looked at."""
        batch = len(cells)
        keys = self.norm(torch.cat([self.nothing.expand(batch, 1, -1), cells], 1))
        mask = F.pad(seen, (1, 0), value=True)[:, None, None]
        x = self.queries.expand(batch, -1, -1)
        for block in self.blocks:
            x = block(x, keys, mask)
        return x


class CropReader(nn.Module):
    """Features of crops in any order, [B,K,F,g,g], to tokens [B,T,W]."""

    def __init__(self, config: StyleConfig, tokens: int) -> None:
        super().__init__()
        self.stem = Stem(config)
        self.resampler = Resampler(tokens, config.width, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, features: Tensor, seen: Tensor) -> Tensor:
        batch = len(features)
        cells = self.stem(features.flatten(0, 1)).flatten(2).transpose(1, 2)
        return self.norm(self.resampler(cells.reshape(batch, -1, cells.shape[-1]), seen.reshape(batch, -1)))


class LayoutReader(nn.Module):
    """Features of the frame, [B,F,g,g], to one token with its position for each place of a coarse grid."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.grid = config.grid
        self.stem = Stem(config)
        self.narrow = nn.Linear(config.width, config.layout_channels)
        self.wide = nn.Linear(config.layout_channels, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, features: Tensor, seen: Tensor, place: Tensor) -> Tokens:
        """`seen` [B,g,g] bool; `place` [grid*grid,W] is added to the tokens."""
        weight = seen[:, None].to(features)
        known = area_average(weight, self.grid, self.grid)
        means = area_average(self.stem(features) * weight, self.grid, self.grid) / known.clamp(min=1e-6)
        values = self.norm(self.wide(F.gelu(self.narrow(means.flatten(2).transpose(1, 2)))))
        return Tokens(values + place, (known > 0).flatten(1))


class StyleEncoder(nn.Module):
    """Views of R references to the tokens of each group."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.style = CropReader(config, config.style_tokens)
        self.statistics = nn.Sequential(
            nn.Linear(2 * (config.features + 3), config.width), nn.GELU(), nn.Linear(config.width, config.width),
            nn.LayerNorm(config.width),
        )  # fmt: skip
        self.layout = LayoutReader(config)
        self.elements = CropReader(config, config.element_tokens)
        self.place = nn.Linear(POSITION, config.width, bias=False)
        # As long as the normalised tokens: a place counts as much as what stands there.
        nn.init.normal_(self.place.weight, std=(2 / POSITION) ** 0.5)

    def forward(self, views: Views, front: Features) -> Mapping[str, Tokens]:
        style, style_seen = self._read(views.style, front)
        layout, layout_seen = self._read(views.layout, front)
        elements, elements_seen = self._read(views.elements, front)
        statistics = self.statistics(_statistics(style, style_seen, views.style))[:, None]
        place = self.place(grid_positions(self.config.grid, self.config.grid).to(layout))
        return {
            "style": all_kept(torch.cat([self.style(style, style_seen), statistics], 1)),
            "layout": self.layout(layout[:, 0], layout_seen[:, 0], place),
            "elements": all_kept(self.elements(elements, elements_seen)),
        }

    def _read(self, view: View, front: Features) -> tuple[Tensor, Tensor]:
        """Features [B,K,F,g,g] and which of their cells count."""
        features = front(view.pictures.flatten(0, 1), view.hole.flatten(0, 1))
        return features.unflatten(0, view.pictures.shape[:2]), view.seen(self.config.cell)


def all_kept(values: Tensor) -> Tokens:
    """Tokens [R,T,W] that all count."""
    return Tokens(values, torch.ones(values.shape[:2], dtype=torch.bool, device=values.device))


def _statistics(features: Tensor, seen: Tensor, view: View) -> Tensor:
    """[B,2(F+3)]: mean and deviation of every feature and of red, green and blue, over what is seen of the crops."""
    parts = []
    for values, weight in ((features, seen[:, :, None].to(features)), (view.pictures * 2 - 1, 1 - view.hole)):
        total = weight.sum((1, 3, 4)).clamp(min=1)
        mean = (values * weight).sum((1, 3, 4)) / total
        spread = ((values - mean[:, None, :, None, None]) ** 2 * weight).sum((1, 3, 4)) / total
        parts += [mean, (spread + 1e-6).sqrt()]
    return torch.cat(parts, 1)
