"""A style adapter's settings, and its weight file: what a reference is cut into, how it is read, where it enters."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from . import weights
from .errors import ProductBackgroundError

if TYPE_CHECKING:
    from .style_adapter import StyleAdapter

KIND = "style"

GROUPS = ("style", "layout", "elements")
"""Palette, material and softness; arrangement and light direction; props. In the order of their tokens."""

LATENTS, CLIP_VISION = "latents", "clip_vision"
CELLS = {LATENTS: 8, CLIP_VISION: 14}
"""The front ends, and how many pixels a side one cell of their features covers."""

LayerName = tuple[str, int, int]
"""A transformer block as ComfyUI counts it: "input", "middle" or "output", number, and index within."""

LIMIT = 65536
"""No number of a configuration is larger: a damaged one must not ask for all memory."""


@dataclass(frozen=True)
class StyleConfig:
    """Every number that the adapter's shape depends on. `frame` and `crop` are sides in pixels, shares of the frame."""

    layers: tuple[tuple[str, int, int, int], ...]
    """Part, number, index and channels of each cross-attention layer, in the order they run."""

    front: str = LATENTS
    features: int = 16
    """Channels of the front end: the VAE's latents, or the hidden width of the CLIP vision tower."""
    latent_scale: float = 1.0
    """What a VAE's latents are multiplied by before the UNet sees them; references are read in the UNet's units."""

    frame: int = 128
    """The whole reference is looked at in a square of this side; another shape is stretched to it."""
    crop: int = 48
    crop_share: float = 0.375
    crops: int = 6
    element_share: float = 0.25
    elements: int = 6

    width: int = 128
    style_tokens: int = 4
    """Beside them stands one token of channel statistics."""
    grid: int = 6
    layout_channels: int = 8
    """So few that the layout can't carry the picture itself."""
    element_tokens: int = 8
    depth: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        cell = CELLS.get(self.front)
        if cell is None:
            raise ProductBackgroundError(
                f"Bad style configuration. There is no front end {self.front!r}; known are {', '.join(CELLS)}."
            )
        numbers = {k: v for k, v in dataclasses.asdict(self).items() if isinstance(v, int)}
        numbers |= {f"channels of {layer[:3]}": layer[3] for layer in self.layers}
        bad = [f"{name} {value}" for name, value in numbers.items() if not 0 < value <= LIMIT]
        if not self.layers or bad:
            raise ProductBackgroundError(f"Bad style configuration. Expected layers, and numbers above 0; got {bad}.")
        if self.frame % cell or self.crop % cell or self.width % self.heads:
            raise ProductBackgroundError(
                f"Bad style configuration. frame {self.frame} and crop {self.crop} must be multiples of {cell} pixels, "
                f"width {self.width} of the {self.heads} heads."
            )
        if not 0 < self.latent_scale < LIMIT:
            raise ProductBackgroundError(f"Bad style configuration. latent_scale is {self.latent_scale}.")
        if not (0 < self.crop_share <= 0.5 and 0 < self.element_share <= 0.5):
            raise ProductBackgroundError("Bad style configuration. A crop's share of the frame lies in 0..0.5.")

    @property
    def cell(self) -> int:
        return CELLS[self.front]

    @property
    def tokens(self) -> dict[str, int]:
        """How many tokens each group has."""
        return {"style": self.style_tokens + 1, "layout": self.grid**2, "elements": self.element_tokens}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; `from_dict` is its inverse."""
        return dataclasses.asdict(self) | {"layers": [list(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> StyleConfig:
        """Rebuild a configuration that `to_dict` wrote; unknown fields are an error, not a guess."""
        known = {f.name: f for f in dataclasses.fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ProductBackgroundError(f"Bad style configuration. Unknown fields: {', '.join(unknown)}.")
        try:
            layers = tuple((str(p), int(n), int(i), int(c)) for p, n, i, c in values["layers"])
            kinds = {"str": str, "int": int, "float": float}
            rest = {k: kinds[str(known[k].type)](v) for k, v in values.items() if k != "layers"}
        except (KeyError, TypeError, ValueError) as error:
            raise ProductBackgroundError(
                f"Bad style configuration. {type(error).__name__}: {error}. It must be what the trainer wrote."
            ) from None
        return cls(layers, **rest)


def save_style(
    path: str | os.PathLike[str],
    adapter: StyleAdapter,
    *,
    base: str,
    training: Mapping[str, Any],
    dtype: torch.dtype = torch.float16,
    kind: str = KIND,
) -> None:
    """Write an adapter; `base` is the model family it fits. Files of another `kind` are refused by `load_style`."""
    tensors = {key: tensor.to(dtype) for key, tensor in adapter.state_dict().items()}
    weights.save(path, tensors, kind=kind, base=base, config=adapter.config.to_dict(), training=training)


def check_style(path: str | os.PathLike[str]) -> weights.Header:
    """The header of a style file, after every shape was checked; no tensor is read.

    Raises ProductBackgroundError for anything but a style file of this pack.
    """
    from .style_adapter import StyleAdapter

    try:
        header = weights.read_header(path)
        if header.kind != KIND:
            raise ProductBackgroundError(f"{header.path} holds {header.kind!r} weights. Expected {KIND!r}.")
        config = StyleConfig.from_dict(header.config)
        with torch.device("meta"):  # shapes alone: nothing is allocated for a file that doesn't fit
            empty = StyleAdapter(config)
        weights.check_shapes(header, {key: tuple(tensor.shape) for key, tensor in empty.state_dict().items()})
    except ProductBackgroundError as error:
        raise ProductBackgroundError(f"{error} A style file comes from python -m training.train_style.") from None
    return header


def load_style(path: str | os.PathLike[str]) -> tuple[weights.Header, StyleAdapter]:
    """An adapter in float32 on the CPU, in eval mode; refuses what `check_style` refuses."""
    from .style_adapter import StyleAdapter

    header = check_style(path)
    _, tensors = weights.load_checked(path, KIND)
    adapter = StyleAdapter(StyleConfig.from_dict(header.config))
    adapter.load_state_dict({key: tensor.float() for key, tensor in tensors.items()})
    return header, adapter.eval().requires_grad_(False)
