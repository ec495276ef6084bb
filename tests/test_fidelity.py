"""The demonstration's own measurement, and its reading of photographs against the pack's."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from product_background.bg_core.photo import read_photo

from scripts.fidelity import FidelityError, Measured, Placement, measure_product
from scripts.reading import read_colours, read_for_showing

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
BOX, PLACED = (90, 80, 270, 360), (100, 50, 460, 610)


def colours() -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    return np.stack([x * 3, y * 4, (x + y) + 20], -1).astype(np.uint8)


def edited_profile(change: Callable[[bytearray, int, int], None]) -> bytes:
    """sRGB's profile after `change` got to see each of its tags' entry and data."""
    data = bytearray(SRGB)
    for index in range(struct.unpack(">I", data[128:132])[0]):
        entry = 132 + 12 * index
        change(data, entry, struct.unpack(">I", data[entry + 4 : entry + 8])[0])
    return bytes(data)


def swapped_profile() -> bytes:
    """Red and green primaries exchanged, still described as sRGB: what a profile does counts, not its name."""

    def swap(data: bytearray, entry: int, _: int) -> None:
        other = {b"rXYZ": b"gXYZ", b"gXYZ": b"rXYZ"}
        data[entry : entry + 4] = other.get(bytes(data[entry : entry + 4]), data[entry : entry + 4])

    return edited_profile(swap)


def renamed_profile() -> bytes:
    """sRGB under another name."""

    def rename(data: bytearray, entry: int, at: int) -> None:
        if data[entry : entry + 4] == b"desc":
            size = struct.unpack(">I", data[entry + 8 : entry + 12])[0]
            data[at : at + size] = data[at : at + size].replace("sRGB".encode("utf-16-be"), "Shop".encode("utf-16-be"))

    return edited_profile(rename)


def rgb() -> Image.Image:
    return Image.fromarray(colours())


def deep_grey() -> Image.Image:
    return Image.fromarray(np.linspace(0, 65535, 4800).astype(np.uint16).reshape(60, 80))


def float_grey() -> Image.Image:
    return Image.fromarray(np.linspace(0, 1, 4800, dtype=np.float32).reshape(60, 80))


def with_alpha(mode: str) -> Image.Image:
    picture = rgb().convert(mode)
    picture.putalpha(Image.linear_gradient("L").resize(picture.size))
    return picture


def turned(orientation: int) -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda path: rgb().save(path, exif=exif)


FILES: dict[str, Callable[[Path], None]] = {
    "plain.png": lambda path: rgb().save(path),
    "plain.jpg": lambda path: rgb().save(path, quality=90),
    "grey.png": lambda path: rgb().convert("L").save(path),
    "one-bit.png": lambda path: rgb().convert("1").save(path),
    "palette.png": lambda path: rgb().quantize(40).save(path),
    "palette-alpha.png": lambda path: rgb().quantize(40).save(path, transparency=3),
    "grey-alpha.png": lambda path: with_alpha("L").save(path),
    "alpha.png": lambda path: with_alpha("RGB").save(path),
    "alpha.webp": lambda path: with_alpha("RGB").save(path, lossless=True),
    "key-colour.png": lambda path: rgb().save(path, transparency=(0, 0, 20)),
    "sixteen.png": lambda path: deep_grey().save(path),
    "sixteen.tif": lambda path: deep_grey().save(path),
    "float.tif": lambda path: float_grey().save(path),
    "lab.tif": lambda path: Image.merge("LAB", rgb().split()).save(path),
    "lab-profile.tif": lambda path: Image.merge("LAB", rgb().split()).save(path, icc_profile=LAB),
    "cmyk.jpg": lambda path: rgb().convert("CMYK").save(path, quality=95),
    "cmyk.tif": lambda path: rgb().convert("CMYK").save(path),
    "srgb.png": lambda path: rgb().save(path, icc_profile=SRGB),
    "swapped.png": lambda path: rgb().save(path, icc_profile=swapped_profile()),
    "renamed.png": lambda path: rgb().save(path, icc_profile=renamed_profile()),
    "profile-broken.png": lambda path: rgb().save(path, icc_profile=b"no profile at all"),
    "profile-cut.jpg": lambda path: rgb().save(path, icc_profile=SRGB[:300]),
    "profile-in-grey.png": lambda path: rgb().convert("L").save(path, icc_profile=SRGB),
    "profile-in-cmyk.jpg": lambda path: rgb().convert("CMYK").save(path, icc_profile=SRGB),
    "profile-in-palette.png": lambda path: rgb().quantize(40).save(path, icc_profile=swapped_profile()),
    "profile-with-alpha.png": lambda path: with_alpha("RGB").save(path, icc_profile=swapped_profile()),
    "exif-broken.jpg": lambda path: rgb().save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x02\x01\x12"),
    **{f"turned-{orientation}.png": turned(orientation) for orientation in range(1, 9)},
}


@pytest.mark.parametrize("name", FILES)
def test_both_readings_agree(tmp_path: Path, name: str) -> None:
    """Else the demonstration would call a product changed that isn't, or not see that it is."""
    path = tmp_path / name
    FILES[name](path)
    pack = read_photo(path)
    assert np.array_equal(np.asarray(read_colours(path)), pack.rgb)
    shown = read_for_showing(path)
    assert shown.mode == "RGBA"
    if pack.alpha is not None:
        assert np.array_equal(np.asarray(shown.getchannel("A")), pack.alpha)


def test_profiles_do_what_their_names_here_say(tmp_path: Path) -> None:
    read = {}
    for name in ("plain.png", "srgb.png", "swapped.png", "renamed.png"):
        FILES[name](tmp_path / name)
        read[name] = np.asarray(read_colours(tmp_path / name)).astype(int)
    assert np.array_equal(read["srgb.png"], read["plain.png"])
    assert np.array_equal(read["renamed.png"], read["plain.png"])
    assert np.abs(read["swapped.png"] - read["plain.png"]).max() > 50
    assert renamed_profile() != SRGB


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    rng = np.random.default_rng(7)
    pixels = np.full((420, 360, 3), 255, np.uint8)
    pixels[80:360, 90:270] = rng.integers(0, 200, (280, 180, 3))
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def made(photo: Path, tmp_path: Path) -> tuple[Image.Image, Image.Image]:
    """A picture and its mask, right in every pixel, made by hand and saved."""
    with Image.open(photo) as opened:
        product = opened.convert("RGB").crop(BOX).resize((360, 560), Image.Resampling.LANCZOS)
    picture, mask = Image.new("RGB", (768, 768)), Image.new("L", (768, 768))
    picture.paste(product, PLACED)
    mask.paste(255, PLACED)
    picture.save(tmp_path / "picture.png")
    mask.save(tmp_path / "mask.png")
    return picture, mask


def measure(photo: Path) -> Measured:
    folder = photo.parent
    return measure_product(photo, folder / "picture.png", folder / "mask.png", Placement(BOX, PLACED))


def test_measure_sees_one_changed_pixel(photo: Path, made: tuple[Image.Image, Image.Image]) -> None:
    assert measure(photo) == Measured(max_abs_error=0, opaque_share=1.0)
    pixels = np.array(made[0])
    pixels[300, 200, 1] ^= 1
    Image.fromarray(pixels).save(photo.parent / "picture.png")
    assert measure(photo).max_abs_error == 1


def test_measure_says_how_much_it_compared(photo: Path, made: tuple[Image.Image, Image.Image]) -> None:
    mask = Image.new("L", made[1].size)
    mask.paste(255, (100, 50, 136, 610))  # a tenth of the box
    mask.save(photo.parent / "mask.png")
    assert measure(photo) == Measured(max_abs_error=0, opaque_share=0.1)


def test_masks_that_can_not_be_right(photo: Path, made: tuple[Image.Image, Image.Image]) -> None:
    made[1].paste(255, (0, 0, 10, 10))
    made[1].save(photo.parent / "mask.png")
    with pytest.raises(FidelityError, match="outside"):
        measure(photo)
    Image.new("L", (768, 768)).save(photo.parent / "mask.png")
    with pytest.raises(FidelityError, match="no opaque"):
        measure(photo)
    Image.new("L", (76, 76)).save(photo.parent / "mask.png")
    with pytest.raises(FidelityError, match="mask is"):
        measure(photo)


def test_a_photograph_that_can_not_be_read_is_that_photographs_error(
    photo: Path, made: tuple[Image.Image, Image.Image]
) -> None:
    photo.write_bytes(photo.read_bytes()[:500])
    with pytest.raises(FidelityError, match=r"photo\.png"):
        measure(photo)


def test_unreadable_placement_is_an_error() -> None:
    with pytest.raises(FidelityError, match="placement"):
        Placement.parse("None")
