"""Whether a file is a picture that may be sent to a server: known by its content, never by its name."""

from __future__ import annotations

import io
import threading
import warnings

from PIL import Image, UnidentifiedImageError

from .folder import BadFile

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}
MAX_PIXELS = 100_000_000
_UNPACK = 25_000_000  # pixels at most that are unpacked to see whether a file is whole; larger ones the server reads
_opening = threading.Lock()  # the filters of warnings belong to the process, not to a thread


def check_picture(name: str, content: bytes) -> str:
    """The extension that fits the content. Raises BadFile for what is no picture, is broken, moves, or is too large.

    The header comes first: a small file that would unpack to gigabytes is refused before it does.
    """
    try:
        with _open(content) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise BadFile(_too_large(name, f"{width}x{height}"))
            kind = str(image.format)  # MPO: a JPEG with a second picture, of phones
            if kind in ("PNG", "WEBP") and (frames := getattr(image, "n_frames", 1)) > 1:
                raise BadFile(f"{name} holds {frames} frames; a still picture is needed")
            if kind == "PNG":
                image.verify()
            elif kind in ("JPEG", "MPO"):
                image.draft("L", (max(width // 8, 1), max(height // 8, 1)))  # quick, and it reads the whole file
                image.load()
            elif width * height <= _UNPACK:
                image.load()
        return FORMATS.get(kind, "jpg")
    except BadFile:
        raise
    except UnidentifiedImageError:
        raise BadFile(f"{name} is no picture of a known kind ({', '.join(FORMATS)})") from None
    except Image.DecompressionBombError:
        raise BadFile(_too_large(name, "far more")) from None
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
        raise BadFile(f"{name} is a broken picture ({type(error).__name__}: {str(error)[:200]})") from None


def _open(content: bytes) -> Image.Image:
    with _opening, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures, where MAX_PIXELS decides, and of broken ones
        return Image.open(io.BytesIO(content), formats=tuple(FORMATS))


def _too_large(name: str, found: str) -> str:
    return f"{name} has {found} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are accepted"


def check_result(content: bytes) -> None:
    """Whether a downloaded picture is complete. Raises OSError, so that it is fetched again."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    except Exception as error:
        raise OSError(f"the picture came broken ({type(error).__name__})") from error
