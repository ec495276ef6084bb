"""Was the product left alone? Measured on the saved picture, by code that shares nothing with the pack.

The photograph is read again with Pillow, cut and resized by the placement that the graph reported, and compared with
the saved picture wherever the saved mask is fully opaque.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

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


def read_photograph(path: Path) -> Image.Image:
    """The photograph upright and in 8-bit sRGB."""
    with Image.open(path) as image:
        profile = image.info.get("icc_profile")
        upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I"):
        upright = Image.fromarray(np.round(np.asarray(upright) / 257).astype(np.uint8))
    if upright.mode not in ("RGB", "CMYK", "L"):
        upright = upright.convert("RGBA").convert("RGB")
    return _in_srgb(upright, profile)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile is None:
        return image.convert("RGB")
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    if image.mode == "RGB" and "sRGB" in ImageCms.getProfileDescription(source):
        return image  # converting sRGB to sRGB would only add rounding
    converted = ImageCms.profileToProfile(
        image,
        source,
        ImageCms.createProfile("sRGB"),
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    assert converted is not None
    return converted


def product_max_abs_error(photo: Path, picture: Path, mask: Path, placement: Placement) -> int:
    """The largest difference, in 8-bit steps, between the picture and the photograph on opaque product pixels."""
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
    size = (right - left, bottom - top)
    source = read_photograph(photo).crop(placement.source_box)
    expected = np.asarray(source.resize(size, Image.Resampling.LANCZOS)).astype(int)
    difference = np.abs(painted[top:bottom, left:right] - expected)
    return int(difference[inside].max())
