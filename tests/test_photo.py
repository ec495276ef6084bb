"""Every kind of file that sellers bring, made here, and every one that is refused."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.photo import photo_tensors, read_photo

WIDTH, HEIGHT = 40, 24


@pytest.fixture
def colours() -> np.ndarray:
    """uint8 [HEIGHT, WIDTH, 3] without symmetry, so that a wrong turn shows."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 6, y * 10, (x + y) * 3 + 20], -1).astype(np.uint8)


def png16(path, values: np.ndarray) -> None:
    """Writes uint16 [H, W] or [H, W, 3] as a PNG; Pillow can't write 16-bit RGB."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def test_plain_rgb_is_kept_on_the_eight_bit_grid(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    image, mask = photo_tensors(photo)
    assert image.shape == (1, HEIGHT, WIDTH, 3) and image.dtype == torch.float32
    assert np.array_equal(image[0].numpy(), colours.astype(np.float32) / 255.0)
    assert mask.shape == (1, 64, 64) and not mask.any()


def test_alpha_becomes_the_product_mask(tmp_path, colours):
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[5:15, 10:30] = 255
    alpha[15, 10:30] = 100
    Image.fromarray(np.dstack([colours, alpha])).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert np.array_equal(photo.rgb, colours) and np.array_equal(photo.alpha, alpha)
    assert np.array_equal(photo_tensors(photo)[1][0].numpy(), alpha.astype(np.float32) / 255.0)


def test_opaque_alpha_is_no_alpha(tmp_path, colours):
    Image.fromarray(np.dstack([colours, np.full((HEIGHT, WIDTH), 255, np.uint8)])).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").alpha is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, colours, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    # What the camera's sensor holds for an upright picture `colours`.
    stored = {
        1: colours,
        2: colours[:, ::-1],
        3: colours[::-1, ::-1],
        4: colours[::-1],
        5: colours.transpose(1, 0, 2),
        6: np.rot90(colours, 1),
        7: colours[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(colours, -1),
    }[orientation]
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)


def swapped_profile() -> bytes:
    """sRGB with its red and green primaries exchanged: a profile whose effect can't be missed."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    for i in range(count):
        at = 132 + 12 * i
        if data[at : at + 4] in (b"rXYZ", b"gXYZ"):
            data[at : at + 4] = b"gXYZ" if data[at : at + 4] == b"rXYZ" else b"rXYZ"
    return bytes(data)


def test_icc_profile_is_applied(tmp_path, colours):
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=swapped_profile())
    found = read_photo(tmp_path / "a.png").rgb.astype(int)
    assert np.abs(found - colours[..., [1, 0, 2]]).max() <= 2


def test_srgb_profile_changes_no_pixel(tmp_path, colours):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=profile)
    assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)


@pytest.mark.parametrize("profile", [b"no profile at all", b"\0" * 200])
def test_broken_profile_keeps_pixels_and_warns(tmp_path, colours, profile, caplog):
    Image.fromarray(colours).save(tmp_path / "a.png", icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)
    assert "a.png" in caplog.text and "profile" in caplog.text


def test_profile_of_another_colour_space_keeps_pixels(tmp_path, colours, caplog):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(colours[..., 0]).save(tmp_path / "a.png", icc_profile=profile)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_photo(tmp_path / "a.png").rgb[..., 1], colours[..., 0])
    assert "RGB profile" in caplog.text


def test_sixteen_bit_grey_is_scaled(tmp_path):
    values = np.linspace(0, 65535, WIDTH * HEIGHT).astype(np.uint16).reshape(HEIGHT, WIDTH)
    png16(tmp_path / "a.png", values)
    Image.fromarray(values).save(tmp_path / "a.tif")
    for name in ("a.png", "a.tif"):
        found = read_photo(tmp_path / name).rgb
        assert np.abs(found[..., 0] - values / 257.0).max() <= 0.5
        assert (found[..., 0] == found[..., 2]).all()


def test_sixteen_bit_rgb(tmp_path, colours):
    png16(tmp_path / "a.png", colours.astype(np.uint16) * 257)
    assert np.array_equal(read_photo(tmp_path / "a.png").rgb, colours)


def test_cmyk_tiff_and_inverted_adobe_jpeg(tmp_path):
    cmyk = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    cmyk.save(tmp_path / "a.tif")
    cmyk.save(tmp_path / "a.jpg", quality=95)
    for name in ("a.tif", "a.jpg"):
        red, green, blue = read_photo(tmp_path / name).rgb[5, 5].astype(int)
        assert red > 240 and green < 15 and blue < 15


def cmyk_profile() -> bytes:
    """A printing profile made by hand, in which cyan ink is red and black ink is grey: its effect can't be missed."""
    inks = np.array(np.meshgrid(*[[0, 1]] * 4, indexing="ij")).reshape(4, 16)  # cyan varies slowest
    lab = np.full((16, 3), [255, 128, 128])
    lab[inks[0] == 1] = [136, 208, 195]  # sRGB's red
    lab[inks[3] == 1] = [137, 128, 128]  # grey 128
    ramp = bytes(range(256))
    identity = struct.pack(">9i", *[65536 * (i % 4 == 0) for i in range(9)])
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramp * 4 + lab.astype(np.uint8).tobytes() + ramp * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, body = b"", b""
    for name, data in ((b"A2B0", table), (b"wtpt", white)):
        tags += struct.pack(">4sII", name, 128 + 4 + 2 * 12 + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = 128 + 4 + len(tags) + len(body)
    header = struct.pack(">I4sI4s4s4s", size, b"lcms", 0x02400000, b"prtr", b"CMYK", b"Lab ") + bytes(12) + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 2) + tags + body


@pytest.mark.parametrize("kind", ["tif", "jpg"])
def test_cmyk_goes_through_its_profile(tmp_path, kind):
    path, profile = tmp_path / f"a.{kind}", cmyk_profile()
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 0, 0, 0): (255, 0, 0), (0, 0, 0, 255): (128, 128, 128)}
    for ink, colour in inks.items():
        Image.new("CMYK", (WIDTH, HEIGHT), ink).save(path, icc_profile=profile, quality=98)
        assert np.abs(read_photo(path).rgb[5, 5].astype(int) - colour).max() <= 12, ink
    # Without the profile the same file is cyan.
    Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(path, quality=98)
    assert np.abs(read_photo(path).rgb[5, 5].astype(int) - (0, 255, 255)).max() <= 12


def test_cmyk_with_a_profile_for_rgb_is_converted_without_it(tmp_path, caplog):
    Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0)).save(tmp_path / "a.tif", icc_profile=swapped_profile())
    with caplog.at_level(logging.WARNING):
        assert read_photo(tmp_path / "a.tif").rgb[5, 5].tolist() == [255, 0, 0]
    assert "RGB profile in a CMYK picture" in caplog.text


def test_palette_with_transparency(tmp_path):
    image = Image.new("P", (WIDTH, HEIGHT), 0)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(1, (10, 5, 30, 15))
    image.save(tmp_path / "a.png", transparency=0)
    photo = read_photo(tmp_path / "a.png")
    assert photo.alpha[0, 0] == 0 and photo.alpha[10, 20] == 255
    assert photo.rgb[10, 20].tolist() == [0, 0, 255]


def test_grey_with_alpha_and_one_bit(tmp_path):
    grey = Image.new("LA", (WIDTH, HEIGHT), (90, 0))
    grey.paste((200, 255), (10, 5, 30, 15))
    grey.save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.rgb[10, 20].tolist() == [200, 200, 200] and photo.alpha[0, 0] == 0
    one = Image.new("1", (WIDTH, HEIGHT), 1)
    one.paste(0, (0, 0, 5, 5))
    one.save(tmp_path / "b.png")
    rgb = read_photo(tmp_path / "b.png").rgb
    assert rgb[0, 0].tolist() == [0, 0, 0] and rgb[10, 20].tolist() == [255, 255, 255]


def test_rgb_with_a_transparent_colour(tmp_path, colours):
    colours[:4] = (1, 2, 3)
    Image.fromarray(colours).save(tmp_path / "a.png", transparency=(1, 2, 3))
    photo = read_photo(tmp_path / "a.png")
    assert (photo.alpha[:4] == 0).all() and (photo.alpha[4:] == 255).all()


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "tiff"])
def test_animations_and_pages_are_refused(tmp_path, colours, kind):
    frames = [Image.fromarray(np.roll(colours, 5 * i, axis=1)) for i in range(3)]
    path = tmp_path / f"a.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(ProductBackgroundError, match="3 frames or pages"):
        read_photo(path)


def test_camera_mpo_gives_its_first_picture(tmp_path, colours):
    first, second = Image.fromarray(colours), Image.new("RGB", (WIDTH, HEIGHT))
    first.save(tmp_path / "a.mpo", save_all=True, append_images=[second], quality=98)
    assert np.abs(read_photo(tmp_path / "a.mpo").rgb.astype(int) - colours).mean() < 8


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_truncated_file_is_refused(tmp_path, kind):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    path = tmp_path / f"a.{kind}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ProductBackgroundError, match="a\\." + kind):
        read_photo(path)


def test_not_an_image_and_missing_file(tmp_path):
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(ProductBackgroundError, match="not an image"):
        read_photo(tmp_path / "a.png")
    with pytest.raises(ProductBackgroundError, match="no file"):
        read_photo(tmp_path / "b.png")


def header_only_png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, "PNG")
    data = bytearray(buffer.getvalue())
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    return bytes(data)


@pytest.mark.parametrize("size", [(1, 1), (15, 400)])
def test_tiny_pictures_are_refused(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "a.png")
    with pytest.raises(ProductBackgroundError, match=f"{size[0]}x{size[1]} pixels.*at least 16"):
        read_photo(tmp_path / "a.png")


@pytest.mark.parametrize("size", [(20_000, 20_000), (9_000, 9_000), (17_000, 100)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_huge_pictures_are_refused_before_decoding(tmp_path, size):
    (tmp_path / "a.png").write_bytes(header_only_png(*size))
    with pytest.raises(ProductBackgroundError, match=r"too large.*64 megapixels"):
        read_photo(tmp_path / "a.png")


def test_transparent_everywhere_is_empty(tmp_path):
    Image.new("RGBA", (WIDTH, HEIGHT), (255, 0, 0, 0)).save(tmp_path / "a.png")
    with pytest.raises(ProductBackgroundError, match="empty"):
        read_photo(tmp_path / "a.png")
