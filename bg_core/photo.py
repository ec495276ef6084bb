"""Reading a product photograph as cameras and sellers make them.

Every accepted file becomes 8-bit sRGB, upright, with its alpha apart. What can't be meant (animations, icons,
gigapixel scans) is refused by name before its pixels are decoded.
"""

import contextlib
import io
import logging
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from .errors import ProductBackgroundError

logger = logging.getLogger(__name__)

MIN_SIDE = 16
MAX_SIDE = 16_384
MAX_PIXELS = 64_000_000

# What Pillow's decoders raise on broken files; they don't agree on one class.
_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TIFF_SUBFILE_TYPE, _TIFF_PHOTOMETRIC = 254, 262
_WHITE_IS_ZERO = 0
_PROFILE_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}


@dataclass(frozen=True)
class Photo:
    """A decoded photograph.

    rgb: uint8 [H, W, 3], sRGB. alpha: uint8 [H, W], 255 = opaque = product; None when the file has no alpha or an
    alpha that is opaque everywhere, because such an alpha says nothing about the product.
    """

    rgb: np.ndarray
    alpha: np.ndarray | None


def read_photo(path: str | os.PathLike) -> Photo:
    """Reads one image file.

    Raises ProductBackgroundError for: a missing file, not an image, truncated or broken data, an animation or several
    pages, a size outside MIN_SIDE..MAX_SIDE or above MAX_PIXELS, an alpha channel that is transparent everywhere.
    """
    name = os.path.basename(os.fspath(path))
    with _open(path, name) as image:
        check_size(image.size, f"'{name}'")
        _check_single_picture(image, name)
        try:
            with _refusing_truncated_files():
                image.load()
        except Image.DecompressionBombError as error:
            raise ProductBackgroundError(_too_large(f"'{name}'", str(error))) from error
        except _DECODE_ERRORS as error:
            raise ProductBackgroundError(
                f"'{name}' is truncated or broken ({error}). Export or download the photograph again."
            ) from error
        upright = _upright(image, name)
        colour, alpha = _split_alpha(_to_eight_bit(upright, name))
        # Lab says its colours by itself, and has become sRGB already.
        profile = None if image.mode == "LAB" else image.info.get("icc_profile")
        rgb = np.asarray(_to_srgb(colour, profile, name))
    if alpha is not None:
        if not alpha.any():
            raise ProductBackgroundError(
                f"'{name}' is empty: its alpha channel is transparent everywhere. Save the photograph with the "
                "product opaque, or without an alpha channel."
            )
        if alpha.min() == 255:
            alpha = None
    return Photo(rgb, alpha)


def photo_tensors(photo: Photo) -> tuple[torch.Tensor, torch.Tensor]:
    """A photo as ComfyUI's IMAGE [1, H, W, 3], float32 on the 8-bit grid, and product MASK [1, H, W], 1 = product.

    Without alpha the mask is [1, 64, 64] zeros, which means "none" as it does for ComfyUI's own loader.
    """
    image = torch.from_numpy(photo.rgb.astype(np.float32) / 255.0)[None]
    if photo.alpha is None:
        return image, torch.zeros(1, 64, 64)
    return image, torch.from_numpy(photo.alpha.astype(np.float32) / 255.0)[None]


def _open(path: str | os.PathLike, name: str) -> Image.Image:
    try:
        return Image.open(path)
    except FileNotFoundError as error:
        raise ProductBackgroundError(f"There is no file '{os.fspath(path)}'. Choose or upload a photograph.") from error
    except Image.DecompressionBombError as error:
        raise ProductBackgroundError(_too_large(f"'{name}'", str(error))) from error
    except UnidentifiedImageError as error:
        raise ProductBackgroundError(
            f"'{name}' is not an image that can be read here, or its header is broken. "
            "Accepted are JPEG, PNG, WebP, TIFF (8 or 16 whole bits a channel), BMP and other still images that Pillow "
            "reads."
        ) from error
    except _DECODE_ERRORS as error:
        raise ProductBackgroundError(f"'{name}' can't be opened as an image: {error}.") from error


def _too_large(what: str, found: str) -> str:
    return (
        f"{what} is too large: {found}. Accepted are up to {MAX_PIXELS // 1_000_000} megapixels and "
        f"{MAX_SIDE:,} pixels a side. Scale the photograph down first."
    )


def check_size(size: tuple[int, int], what: str) -> None:
    """Raises ProductBackgroundError where no photograph may have this (width, height); `what` names it."""
    width, height = size
    if min(size) < MIN_SIDE:
        raise ProductBackgroundError(
            f"{what} is {width}x{height} pixels. A product photograph needs at least {MIN_SIDE} pixels a side."
        )
    if max(size) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ProductBackgroundError(_too_large(what, f"{width}x{height} pixels"))


def _check_single_picture(image: Image.Image, name: str) -> None:
    """Refuses animations and multi-page files; leaves the image at its first frame."""
    # An MPO is a photograph: cameras and phones keep a preview, a depth map or a second eye behind the first picture.
    if image.format == "MPO":
        return
    try:
        frames = getattr(image, "n_frames", 1)
        if image.format == "TIFF" and frames > 1:
            frames = 1 + sum(not _is_tiff_thumbnail(image, page) for page in range(1, frames))
            image.seek(0)
    except _DECODE_ERRORS as error:
        raise ProductBackgroundError(f"'{name}' is truncated or broken ({error}). Export it again.") from error
    if frames > 1:
        raise ProductBackgroundError(
            f"'{name}' holds {frames} frames or pages ({image.format}). A product photograph is one still picture: "
            "save the frame you want as PNG or JPEG."
        )


def _is_tiff_thumbnail(image: Image.Image, page: int) -> bool:
    image.seek(page)
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_TIFF_SUBFILE_TYPE, 0) & 1)


@contextlib.contextmanager
def _refusing_truncated_files() -> Iterator[None]:
    """Another pack may have told Pillow to fill truncated files with grey; a product must never be half grey."""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _upright(image: Image.Image, name: str) -> Image.Image:
    """Turned as its EXIF data says. Reads that one tag alone, whatever else is broken there."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except _DECODE_ERRORS as error:
        logger.warning("'%s': its EXIF data is broken (%s); the picture is taken as it lies.", name, error)
        return image
    return image if turn is None else image.transpose(turn)


def _to_eight_bit(image: Image.Image, name: str) -> Image.Image:
    """Any Pillow mode to L, LA, RGB, RGBA or CMYK, eight bits a channel."""
    mode = image.mode
    if mode.startswith("I") or mode == "F":
        return _scale_deep_grey(image, name)
    transparent = "transparency" in image.info or mode in ("PA", "RGBa", "La")
    if mode in ("1", "L", "LA", "La"):
        return image.convert("LA" if transparent or mode == "LA" else "L")
    if mode in ("RGBA", "CMYK") or (mode == "RGB" and not transparent):
        return image
    if mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        transform = ImageCms.buildTransform(lab, ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return _transformed(image, transform)
    return image.convert("RGBA" if transparent else "RGB")


def _scale_deep_grey(image: Image.Image, name: str) -> Image.Image:
    """16-bit (and float) grey to 8 bits by scaling; Pillow's own conversion clips everything above 255 to white."""
    values = np.asarray(image)
    white = 1 if image.mode == "F" else 65535
    lowest, highest = values.min(), values.max()
    # NaN is neither.
    if not (lowest >= 0 and highest <= white):
        raise ProductBackgroundError(
            f"'{name}' is one grey channel with values from {lowest:g} to {highest:g}. Accepted are 0 to {white}. Save "
            "it with 8 or 16 bits a channel."
        )
    grey = values.astype(np.float64) * (255 / white)
    if getattr(image, "tag_v2", {}).get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        grey = 255 - grey  # Pillow does it for 8 bits only
    scaled = Image.fromarray((grey + 0.5).astype(np.uint8))
    key = image.info.get("transparency")
    if isinstance(key, int):
        scaled.putalpha(Image.fromarray(np.where(values == key, 0, 255).astype(np.uint8)))
    return scaled


def _split_alpha(image: Image.Image) -> tuple[Image.Image, np.ndarray | None]:
    if image.mode not in ("LA", "RGBA"):
        return image, None
    return image.convert(image.mode[:-1]), np.asarray(image.getchannel("A"))


def _to_srgb(image: Image.Image, profile: bytes | None, name: str) -> Image.Image:
    """L, RGB or CMYK to sRGB through the embedded profile; a broken or foreign profile is ignored with a warning."""
    if profile:
        try:
            transform = _srgb_transform(image.mode, profile)
            if transform is None:
                return image.convert("RGB")
            return _transformed(image, transform)
        except (ImageCms.PyCMSError, *_DECODE_ERRORS) as error:
            logger.warning("'%s': its colour profile can't be used (%s); taken as sRGB.", name, error)
    return image.convert("RGB")


def _transformed(image: Image.Image, transform: ImageCms.ImageCmsTransform) -> Image.Image:
    # Pillow's signature allows None for its in-place variant.
    return ImageCms.applyTransform(image, transform) or image


def _srgb_transform(mode: str, profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The transform to sRGB, or None where it would only shift values by rounding: then the pixels are kept."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    space = source.profile.xcolor_space.strip()
    if space != _PROFILE_SPACES[mode]:
        raise ValueError(f"a {space} profile in a {mode} picture")
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "RGB":
        levels = np.linspace(0, 255, 9).astype(np.uint8)
        lattice = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(9, 81, 3)
        moved = np.asarray(ImageCms.applyTransform(Image.fromarray(lattice), transform)).astype(int) - lattice
        if np.abs(moved).max() <= 1:
            return None
    return transform
