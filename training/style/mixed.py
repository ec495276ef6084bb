"""The baseline of suite `style`: a reference without groups, as IP-Adapter reads one (arXiv 2308.06721).

One resampler reads the whole frame, colours, places and all, into tokens that have one strength together. Everything
else is the style adapter's, its training and what is cut out of the reference too, so that only the groups differ.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bg_core import weights
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import StyleConfig, save_style
from bg_core.style_encoder import POSITION, Features, Resampler, Stem, Tokens, all_kept, grid_positions
from bg_core.style_views import View, Views, elements_view, layout_view

KIND = "style_mixed"
TOKENS = 16


class MixedReader(nn.Module):
    """Views of R references, of which `style` is the whole frame, to tokens under the group `style`."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Stem(config)
        self.place = nn.Linear(POSITION, config.width, bias=False)
        nn.init.normal_(self.place.weight, std=(2 / POSITION) ** 0.5)
        self.resampler = Resampler(TOKENS, config.width, config.depth, config.heads)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, views: Views, front: Features) -> Mapping[str, Tokens]:
        picture, hole = views.style.pictures[:, 0], views.style.hole[:, 0]
        cells = self.stem(front(picture, hole))
        place = self.place(grid_positions(*cells.shape[-2:]).to(cells))
        seen = views.style.seen(self.config.cell)[:, 0].flatten(1)
        values = self.norm(self.resampler(cells.flatten(2).transpose(1, 2) + place, seen))
        return {"style": all_kept(values)}


class MixedAdapter(StyleAdapter):
    """A style adapter with one reader for everything."""

    def __init__(self, config: StyleConfig) -> None:
        super().__init__(config)
        self.encoder = MixedReader(config)  # type: ignore[assignment]


def whole_view(pictures: Tensor, hole: Tensor) -> View:
    """The frame as the only crop."""
    return View(pictures[:, None], hole[:, None])


def mixed_views(pictures: Tensor, hole: Tensor, config: StyleConfig) -> Views:
    """`standard_views` for this baseline."""
    return Views(whole_view(pictures, hole), layout_view(pictures, hole), elements_view(pictures, hole, config))


def save_mixed(path: str | os.PathLike[str], adapter: StyleAdapter, *, base: str, training: Mapping[str, Any]) -> None:
    """Write the baseline; ComfyUI's nodes refuse the file, which is meant for figures alone."""
    save_style(path, adapter, base=base, training=training, kind=KIND)


def load_mixed(path: Path) -> tuple[weights.Header, MixedAdapter]:
    """The baseline in float32, in eval mode."""
    adapter = MixedAdapter(StyleConfig.from_dict(weights.read_header(path).config))
    expected = {key: tuple(tensor.shape) for key, tensor in adapter.state_dict().items()}
    header, tensors = weights.load_checked(path, KIND, expected=expected)
    adapter.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return header, adapter.eval().requires_grad_(False)
