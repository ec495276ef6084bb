"""Files as scanners, archives and damaged cameras write them: TIFF of every kind, and EXIF data that is broken."""

import logging
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.photo import read_photo

WIDTH, HEIGHT = 40, 24
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8
UNSIGNED, SIGNED, FLOAT = 1, 2, 3


@pytest.fixture
def colours() -> np.ndarray:
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, (x + y) * 3 + 20], -1).astype(np.uint8)


def write_tiff(path, values: np.ndarray, meaning: int, extra: dict[int, int] | None = None) -> None:
    """Writes [HEIGHT, WIDTH] or [HEIGHT, WIDTH, channels] of any number type, as Pillow can't."""
    channels = values.size // (HEIGHT * WIDTH)
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    sample = {"u": UNSIGNED, "i": SIGNED, "f": FLOAT}[values.dtype.kind]
    fields = {
        256: [WIDTH],
        257: [HEIGHT],
        258: [values.itemsize * 8] * channels,
        259: [1],
        262: [meaning],
        273: [0],
        277: [channels],
        278: [HEIGHT],
        279: [len(data)],
        339: [sample] * channels,
    } | {tag: [value] for tag, value in (extra or {}).items()}
    behind = 8 + 2 + 12 * len(fields) + 4
    fields[273] = [behind + sum(2 * len(field) for field in fields.values() if len(field) > 2)]
    entries, overflow = b"", b""
    for tag, field in sorted(fields.items()):
        raw = struct.pack(f"<{len(field)}H", *field)
        if len(raw) > 4:
            raw, overflow = struct.pack("<I", behind + len(overflow)), overflow + raw
        entries += struct.pack("<HHI", tag, 3, len(field)) + raw.ljust(4, b"\0")
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(fields)) + entries + bytes(4) + overflow + data)


def ramp(first: float, last: float, kind: str) -> np.ndarray:
    return np.linspace(first, last, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(kind)


def test_float_grey_is_scaled(tmp_path):
    values = ramp(0, 1, "f4")
    write_tiff(tmp_path / "a.tif", values, BLACK_IS_ZERO)
    photo = read_photo(tmp_path / "a.tif")
    assert np.array_equal(photo.rgb[..., 0], np.round(values * 255)) and photo.alpha is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (ramp(0, 4, "f4"), "from 0 to 4. Accepted are 0 to 1"),
        (ramp(-1, 1, "f4"), "from -1 to 1"),
        (np.full((HEIGHT, WIDTH), np.nan, "f4"), "nan"),
        (ramp(0, 2**31, "u4"), "Accepted are 0 to 65535"),
        (ramp(-5, 300, "i2"), "from -5 to 300"),
        (np.zeros((HEIGHT, WIDTH, 3), "f4"), "TIFF .8 or 16 whole bits a channel"),
        (np.zeros((HEIGHT, WIDTH), "f8"), "TIFF .8 or 16 whole bits a channel"),
    ],
)
def test_numbers_that_are_no_brightness_are_refused(tmp_path, values, message):
    write_tiff(tmp_path / "a.tif", values, RGB if values.ndim == 3 else BLACK_IS_ZERO)
    with pytest.raises(ProductBackgroundError, match=rf"'a\.tif'.*{message}"):
        read_photo(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["u1", "u2"])
def test_white_is_zero(tmp_path, kind):
    values = ramp(0, np.iinfo(kind).max, kind)
    write_tiff(tmp_path / "a.tif", values, WHITE_IS_ZERO)
    found = read_photo(tmp_path / "a.tif").rgb[..., 0]
    assert np.abs(found - (255 - values * (255 / np.iinfo(kind).max))).max() <= 0.51


def test_sixteen_bit_colours(tmp_path, colours):
    write_tiff(tmp_path / "a.tif", colours.astype(np.uint16) * 257, RGB)
    assert np.array_equal(read_photo(tmp_path / "a.tif").rgb, colours)
    inks = np.zeros((HEIGHT, WIDTH, 4), np.uint16)
    inks[..., 1:3] = 65535
    write_tiff(tmp_path / "a.tif", inks, CMYK)
    assert read_photo(tmp_path / "a.tif").rgb[5, 5].tolist() == [255, 0, 0]


def test_premultiplied_alpha_is_taken_out_of_the_colour(tmp_path, colours):
    alpha = np.full((HEIGHT, WIDTH, 1), 128, np.uint8)
    darkened = (colours.astype(int) * 128 // 255).astype(np.uint8)
    write_tiff(tmp_path / "a.tif", np.concatenate([darkened, alpha], -1), RGB, {338: 1})
    photo = read_photo(tmp_path / "a.tif")
    assert np.abs(photo.rgb.astype(int) - colours).max() <= 2 and (photo.alpha == 128).all()


@pytest.mark.parametrize(
    ("lab", "expected"),
    [
        ((100, 0, 0), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 0)),
        ((53.5, 0, 0), (127, 127, 127)),
        ((54.3, 81, 70), (255, 0, 0)),
        ((87.8, -79, 81), (0, 255, 0)),
        ((29.6, 68, -112), (0, 0, 255)),
    ],
)
def test_lab(tmp_path, lab, expected):
    lightness, a, b = lab
    values = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    values[:] = [round(lightness * 2.55), a % 256, b % 256]
    write_tiff(tmp_path / "a.tif", values, LAB)
    # Lab's steps are coarse where a channel is dark.
    assert np.abs(read_photo(tmp_path / "a.tif").rgb[5, 5].astype(int) - expected).max() <= 24


def test_labs_own_profile_is_no_cause_for_a_warning(tmp_path, colours, caplog):
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    image = ImageCms.applyTransform(Image.fromarray(colours), ImageCms.buildTransform(srgb, lab, "RGB", "LAB"))
    image.save(tmp_path / "a.tif", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    with caplog.at_level(logging.WARNING):
        found = read_photo(tmp_path / "a.tif").rgb
    assert np.abs(found.astype(int) - colours).mean() < 3
    assert caplog.text == ""


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("orientation", [1, 6, 8])
def test_tiff_is_turned_once(tmp_path, colours, orientation, compression):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(colours, {1: 0, 6: 1, 8: -1}[orientation])
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.tif", exif=exif, compression=compression)
    assert np.array_equal(read_photo(tmp_path / "a.tif").rgb, colours)


def exif_block(*entries: bytes) -> bytes:
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)


def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack("<HHI", tag, kind, count) + value.ljust(4, b"\0")


TURN_RIGHT = entry(0x0112, 3, 1, b"\6\0")
OUT_OF_FILE = struct.pack("<I", 2**31 - 1)
BROKEN = {
    "no TIFF header": b"Exif\0\0" + b"\xff" * 60,
    "nothing": b"Exif\0\0",
    "directory out of the file": b"Exif\0\0II*\0\xff\xff\xff\x7f",
    "cut off": exif_block(TURN_RIGHT)[:-12],
    "no such turn": exif_block(entry(0x0112, 3, 1, b"\x09\0")),
    "a turn in words": exif_block(entry(0x0112, 2, 2, b"6\0")),
    "a turn divided by zero": exif_block(entry(0x0112, 5, 1, struct.pack("<I", 26)), TURN_RIGHT[:8]),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_broken_exif_leaves_the_picture_as_it_lies(tmp_path, colours, case):
    Image.fromarray(colours).save(tmp_path / "a.png", exif=BROKEN[case])
    assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)


@pytest.mark.parametrize(
    "broken",
    [
        entry(0x8769, 4, 1, OUT_OF_FILE),
        entry(0x8825, 4, 1, OUT_OF_FILE),
        entry(0x010F, 2, 900, OUT_OF_FILE),
        entry(0x9999, 77, 5, b""),
    ],
    ids=["camera data", "GPS", "maker", "unknown type"],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_what_else_is_broken_in_exif_does_not_lay_the_picture_down(tmp_path, colours, broken):
    stored = np.ascontiguousarray(np.rot90(colours, 1))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif_block(TURN_RIGHT, broken))
    assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)
