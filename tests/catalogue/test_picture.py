"""Pictures are known by their content; what is broken, moves or would unpack to gigabytes is refused by name."""

from __future__ import annotations

import io
import struct
import threading
import tracemalloc
import warnings
import zlib

import pytest
from PIL import Image

from catalogue.folder import BadFile
from catalogue.picture import check_picture, check_result


def saved(kind: str, size: tuple[int, int] = (40, 30), **options: object) -> bytes:
    content = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(content, kind, **options)
    return content.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(width: int, height: int) -> bytes:
    """A whole PNG of one colour: kilobytes that unpack to gigabytes."""
    row = zlib.compressobj(9)
    data = b"".join(row.compress(b"\0" * (width // 8 + 1)) for _ in range(height)) + row.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "ending"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp"), ("TIFF", "tif"), ("BMP", "bmp")]
)
def test_kinds(kind: str, ending: str) -> None:
    content = saved(kind)
    assert check_picture("shoe.gif", content) == check_picture("dot", saved(kind, (1, 1))) == ending
    if kind != "BMP":
        with pytest.raises(BadFile, match=r"shoe\.png is a broken picture"):
            check_picture("shoe.png", content[: len(content) * 2 // 3])


def test_a_telephones_second_picture_is_no_animation() -> None:
    content = saved("MPO", save_all=True, append_images=[Image.new("RGB", (40, 30))])
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "MPO" and image.n_frames == 2
    assert check_picture("a.jpg", content) == "jpg"


NO_PICTURES = {
    "nothing": b"",
    "zeros": bytes(5000),
    "text": b"not a picture",
    "page": b"<!doctype html><title>404</title>",
    "drawing": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "document": b"%PDF-1.7\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "gif": saved("GIF"),
    "icon": saved("ICO"),
}


@pytest.mark.parametrize("case", NO_PICTURES)
def test_what_is_no_picture(case: str) -> None:
    with pytest.raises(BadFile, match=r"shoe\.png is no picture of a known kind \(JPEG, PNG"):
        check_picture("shoe.png", NO_PICTURES[case])


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_animations(kind: str) -> None:
    content = saved(kind, save_all=True, append_images=[Image.effect_noise((40, 30), 20).convert("RGB")])
    with pytest.raises(BadFile, match=r"shoe\.png holds 2 frames"):
        check_picture("shoe.png", content)


@pytest.mark.parametrize(("side", "found"), [(11_000, "11000x11000"), (20_000, "far more")])
def test_a_bomb_is_not_unpacked(side: int, found: str) -> None:
    content = bomb(side, side)
    assert len(content) < 200_000
    tracemalloc.start()
    with pytest.raises(BadFile, match=rf"shoe\.png has {found} pixels; at most 100 megapixels"):
        check_picture("shoe.png", content)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_threads_leave_the_warnings_as_they_were() -> None:
    before, content = list(warnings.filters), saved("PNG")
    threads = [threading.Thread(target=lambda: [check_picture("a", content) for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


def test_a_result_must_have_come_whole() -> None:
    content = saved("PNG")
    check_result(content)
    for broken in (content[:-30], b"", b"<html>"):
        with pytest.raises(OSError, match="the picture came broken"):
            check_result(broken)
