"""Was the product left alone? Measured on the saved picture, by code that shares nothing with the pack.

The photograph is read again with Pillow, cut and resized by the placement that the graph reported, and compared with
the saved picture wherever the saved mask is fully opaque.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from .reading import UNREADABLE, read_colours

Box = tuple[int, int, int, int]


class FidelityError(RuntimeError):
    """The picture can't be measured: placement, mask and picture don't fit together."""


@dataclass(frozen=True)
class Placement:
    """Where the product came from and went to, as left, top, right, bottom in pixels."""

    source_box: Box
    placed_box: Box

    @classmethod
    def parse(cls, text: str) -> Placement:
        """Read the placement of the first picture from the text that the graph's Placement node shows."""
        try:
            values = json.loads(text)
            first = values[0] if isinstance(values, list) else values
            return cls(_box(first["source_box"]), _box(first["placed_box"]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise FidelityError(f"The graph reported no readable placement ({error!r}): {text[:200]!r}") from error


def _box(values: list[int]) -> Box:
    left, top, right, bottom = (int(value) for value in values)
    return left, top, right, bottom


@dataclass(frozen=True)
class Measured:
    max_abs_error: int
    """The largest difference, in 8-bit steps, between the picture and the photograph on opaque product pixels."""
    opaque_share: float
    """Opaque pixels as a share of the product's box. Near 0 the error says next to nothing: little was compared."""


def measure_product(photo: Path, picture: Path, mask: Path, placement: Placement) -> Measured:
    try:
        return _measure(photo, picture, mask, placement)
    except UNREADABLE as error:
        raise FidelityError(f"{photo.name} and its picture can't be compared: {error}") from error


def _measure(photo: Path, picture: Path, mask: Path, placement: Placement) -> Measured:
    with Image.open(picture) as opened:
        painted = np.asarray(opened.convert("RGB")).astype(int)
    with Image.open(mask) as opened:
        opaque = np.asarray(opened.convert("L")) == 255
    if opaque.shape != painted.shape[:2]:
        raise FidelityError(f"The mask is {opaque.shape[::-1]}, the picture {painted.shape[1::-1]} pixels.")
    left, top, right, bottom = placement.placed_box
    inside = opaque[top:bottom, left:right]
    if not inside.any():
        raise FidelityError("The mask holds no opaque product pixel.")
    if inside.sum() != opaque.sum():
        raise FidelityError(f"The mask is opaque outside the place of the product, {placement.placed_box}.")
    source = read_colours(photo).crop(placement.source_box)
    expected = np.asarray(source.resize((right - left, bottom - top), Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(painted[top:bottom, left:right] - expected)
    return Measured(int(difference[inside].max()), round(float(inside.mean()), 3))
