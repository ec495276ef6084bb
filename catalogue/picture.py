"""Whether a file is a picture that may be sent to a server: known by its content, never by its name."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from .folder import BadFile

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp"}
MAX_PIXELS = 100_000_000


def check_picture(name: str, content: bytes) -> str:
    """The extension that fits the content. Raises BadFile for what is no picture, is broken, or is too large.

    Only the header is read: a small file that would unpack to gigabytes is refused before it does.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=tuple(FORMATS)) as image:
                width, height = image.size
                if width * height > MAX_PIXELS:
                    raise BadFile(
                        f"{name} has {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} megapixels are accepted"
                    )
                kind = FORMATS.get(str(image.format), "jpg")  # MPO: a JPEG with a second picture, of phones
                image.verify()
        return kind
    except BadFile:
        raise
    except UnidentifiedImageError:
        raise BadFile(f"{name} is no picture of a known kind ({', '.join(FORMATS)})") from None
    except Exception as error:  # Pillow's readers raise whatever broken bytes lead them to
        raise BadFile(f"{name} is a broken picture ({type(error).__name__}: {str(error)[:200]})") from None


def check_result(content: bytes) -> None:
    """Whether a downloaded picture is complete. Raises OSError, so that it is fetched again."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
    except Exception as error:
        raise OSError(f"the picture came broken ({type(error).__name__})") from error
