"""Photographs read by the rules that the Load Product Photo help page states, written apart from the pack.

`fidelity.py` measures with it, so that a mistake in the pack's own reading shows. Upright by EXIF; 16-bit and float
grey scaled, not clipped; an ICC profile converted to sRGB, relative colorimetric with black point compensation, unless
it moves no colour by more than one level; a profile that is broken or of another colour space ignored.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms

UNREADABLE = (OSError, ValueError, SyntaxError, ImageCms.PyCMSError, Image.DecompressionBombError)

# EXIF orientation -> mirrored first?, then quarter turns to the left
_TURNS = {2: (True, 0), 3: (False, 2), 4: (True, 2), 5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1)}


def read_colours(path: Path) -> Image.Image:
    """The photograph in 8-bit sRGB, upright; its alpha, if it has one, is left out. Raises one of UNREADABLE."""
    with Image.open(path) as image:
        return _in_srgb(_eight_bit(_upright(image)), image.info.get("icc_profile"))


def read_for_showing(path: Path) -> Image.Image:
    """The same with its alpha, as RGBA."""
    picture = read_colours(path)
    with Image.open(path) as image:
        if image.has_transparency_data and not image.mode.startswith("I"):
            picture.putalpha(_upright(image).convert("RGBA").getchannel("A"))
    return picture.convert("RGBA")


def _upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        mirrored, turns = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1), (False, 0))
    except (*UNREADABLE, LookupError, TypeError, struct.error):  # its EXIF data is broken: as it lies
        return image
    seen = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image
    return seen.rotate(90 * turns, expand=True)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode to L, RGB or CMYK."""
    if image.mode == "F" or image.mode.startswith("I"):
        values = np.asarray(image)
        levels = values * np.float32(255) if image.mode == "F" else values / 257
        if not (levels.min() >= 0 and levels.max() <= 255):
            raise ValueError("its values are neither within 0..1 (float) nor within 16 bits")
        return Image.fromarray(np.floor(levels + 0.5).astype(np.uint8))
    if image.mode == "LAB":
        lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        return _converted(image, lab, ImageCms.Intent.PERCEPTUAL, ImageCms.Flags.NONE)
    if image.mode in ("L", "RGB", "CMYK"):
        return image
    # By way of RGBA, because palettes and premultiplied modes know no other.
    return image.convert("L") if image.mode in ("1", "LA") else image.convert("RGBA").convert("RGB")


def _in_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc:
        try:
            profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            if profile.profile.xcolor_space.strip() == {"L": "GRAY"}.get(image.mode, image.mode):
                return image if image.mode == "RGB" and _changes_nothing(profile) else _by_profile(image, profile)
        except UNREADABLE:
            pass  # a broken profile says nothing about the colours
    return image.convert("RGB")


def _changes_nothing(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether the way to sRGB moves no colour of a 9x9x9 lattice by more than one level: that is rounding alone."""
    steps = np.arange(9) * 255 // 8
    lattice = np.array([[(red, green, blue) for blue in steps for green in steps] for red in steps], np.uint8)
    there = np.asarray(_by_profile(Image.fromarray(lattice), profile))
    return bool(np.abs(there.astype(int) - lattice).max() <= 1)


def _by_profile(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    relative, compensated = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    return _converted(image, profile, relative, compensated)


def _converted(
    image: Image.Image, source: ImageCms.ImageCmsProfile, intent: ImageCms.Intent, flags: ImageCms.Flags
) -> Image.Image:
    srgb = ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, source, srgb, intent, outputMode="RGB", flags=flags)
    assert converted is not None
    return converted
