"""Packshots drawn here, with the truth known: discs, boxes and labels on studio backgrounds."""

import io

import numpy as np
import pytest
from PIL import Image
from product_background.bg_core.cutout import cut_out
from product_background.bg_core.edge import decontaminate, holds_background
from product_background.bg_core.errors import ProductBackgroundError
from scipy import ndimage

SIDE = 200
Y, X = np.mgrid[:SIDE, :SIDE] + 0.5


def disc(x: float, y: float, radius: float) -> np.ndarray:
    """Anti-aliased coverage [SIDE, SIDE] in 0..1."""
    return (radius + 0.5 - np.hypot(X - x, Y - y)).clip(0, 1)


def over(picture: np.ndarray, colour, cover: np.ndarray) -> np.ndarray:
    return picture * (1 - cover[..., None]) + np.asarray(colour, float) * cover[..., None]


def plain(colour) -> np.ndarray:
    return np.ones((SIDE, SIDE, 3)) * np.asarray(colour, float)


def photograph(picture: np.ndarray, noise: float = 0.0, quality: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(1)
    rgb = (picture + rng.normal(0, 1, picture.shape) * noise).round().clip(0, 255).astype(np.uint8)
    if quality:
        buffer = io.BytesIO()
        Image.fromarray(rgb).save(buffer, "JPEG", quality=quality)
        rgb = np.asarray(Image.open(buffer).convert("RGB"))
    return rgb


def overlap(alpha: np.ndarray, truth: np.ndarray) -> float:
    found, true = alpha >= 128, truth >= 0.5
    return (found & true).sum() / (found | true).sum()


@pytest.mark.parametrize("background", [(255, 255, 255), (128, 128, 128), (70, 110, 180), (20, 20, 20)])
@pytest.mark.parametrize("noise, quality", [(0.0, None), (2.0, None), (0.0, 80)])
def test_disc_on_plain_backgrounds(background, noise, quality):
    cover = disc(100, 105, 60)
    rgb = photograph(over(plain(background), (200, 40, 30), cover), noise, quality)
    alpha = cut_out(rgb)
    assert overlap(alpha, cover) > 0.97
    assert alpha[:20].max() == 0 and alpha[105, 100] == 255


def test_lighting_falls_off():
    light = 1 - 0.25 * ((X - 60) ** 2 + (Y - 40) ** 2) / SIDE**2
    cover = disc(100, 100, 55)
    rgb = photograph(over(plain((215, 218, 222)) * light[..., None], (30, 90, 40), cover), noise=1.5)
    assert overlap(cut_out(rgb), cover) > 0.97


def test_white_label_inside_is_no_hole():
    cover = disc(100, 100, 70)
    picture = over(plain((255, 255, 255)), (20, 60, 160), cover)
    picture = over(picture, (255, 255, 255), disc(100, 100, 45))
    alpha = cut_out(photograph(picture, quality=85))
    assert alpha[60:140, 60:140].min() == 255


def test_white_box_on_white():
    box = (np.abs(X - 100) < 45) & (np.abs(Y - 100) < 70)
    rgb = photograph(over(plain((255, 255, 255)), (243, 243, 243), box.astype(float)))
    assert overlap(cut_out(rgb), box) > 0.97


def test_white_margin_beside_a_print_is_product():
    """A white carton on white: its edge stays straight where dark print comes close to it."""
    box = ((np.abs(X - 100) < 45) & (np.abs(Y - 100) < 75)).astype(float)
    picture = over(plain((255, 255, 255)), (240, 240, 240), box)
    bars = (X > 90) & (X < 142) & (np.abs(Y - 100) < 60) & (Y // 8 % 2 == 0)
    picture = over(picture, (190, 20, 30), bars.astype(float))
    alpha = cut_out(photograph(picture, noise=0.5))
    edges = np.argmax(alpha[45:155, ::-1] >= 128, axis=1)
    assert np.abs(SIDE - edges - 145).max() <= 1 and edges.std() < 0.5


def test_pale_outline_is_smoothed_and_a_sure_one_is_kept():
    wave = np.sin(np.arctan2(Y - 100, X - 100) * 40)
    cover = (60 + 1.5 * wave + 0.5 - np.hypot(X - 100, Y - 100)).clip(0, 1)
    for colour, least, most in (((252, 247, 236), 0.0, 1.0), ((30, 30, 120), 1.3, 1.6)):
        alpha = cut_out(photograph(over(plain((255, 255, 255)), colour, cover), noise=0.7))
        amplitude = (alpha / 255 * wave).sum() / (60 * np.pi)
        assert overlap(alpha, cover) > 0.95
        assert least <= amplitude < most


def test_soft_shadow_goes():
    cover = disc(100, 90, 50)
    shade = ndimage.gaussian_filter(disc(112, 132, 36), 9) * 0.45
    picture = over(plain((235, 235, 235)), (0, 0, 0), shade)
    rgb = photograph(over(picture, (190, 60, 20), cover), noise=1.0)
    alpha = cut_out(rgb)
    shadow_only = (cover == 0) & (shade > 0.05)
    assert (alpha[shadow_only] >= 128).mean() < 0.08
    assert overlap(alpha, cover) > 0.95


@pytest.mark.parametrize("scale", [1, 3])
def test_mirror_image_on_a_glossy_floor_goes(scale):
    rng = np.random.default_rng(4)
    print_ = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE, SIDE, 3)), (2, 2, 0)) * 400 + (150, 110, 60)
    picture = plain((255, 255, 255))
    picture[30:150, 60:140] = print_[30:150, 60:140].clip(0, 215)
    fade = np.linspace(0.5, 0.1, 30)[:, None, None]
    mirrored = picture.copy()
    mirrored[150:180] = 255 + fade * (picture[120:150][::-1] - 255)
    for shown in (mirrored, picture):
        alpha = cut_out(photograph(shown.repeat(scale, axis=0).repeat(scale, axis=1), noise=1.0))
        rows = np.nonzero((alpha >= 128)[:, 70 * scale : 130 * scale].any(axis=1))[0]
        assert abs(rows[0] - 30 * scale) <= 2 * scale and abs(rows[-1] + 1 - 150 * scale) <= 2 * scale


def test_mirror_symmetric_product_stays_whole():
    """As strong below as above: an ornament, not a reflection."""
    rng = np.random.default_rng(4)
    picture = plain((255, 255, 255))
    half = (ndimage.gaussian_filter(rng.normal(0, 1, (70, 80, 3)), (2, 2, 0)) * 400 + (150, 110, 60)).clip(0, 215)
    picture[30:170, 60:140] = np.concatenate([half, half[::-1]])
    box = (Y > 30) & (Y < 170) & (X > 60) & (X < 140)
    assert overlap(cut_out(photograph(picture, noise=1.0)), box) > 0.97


def test_product_that_is_cut_off_by_the_border():
    cover = ((np.abs(X - 100) < 40) & (Y > 40)).astype(float)
    rgb = photograph(over(plain((250, 250, 250)), (180, 30, 60), cover), noise=1.0)
    assert overlap(cut_out(rgb), cover) > 0.97


def test_several_pieces_are_kept_and_dust_is_not():
    cover = np.maximum(disc(60, 100, 35), disc(150, 100, 30))
    picture = over(plain((255, 255, 255)), (40, 120, 40), cover)
    picture = over(picture, (120, 120, 120), disc(20, 20, 1.5))
    alpha = cut_out(photograph(picture))
    assert overlap(alpha, cover) > 0.97 and alpha[:30, :30].max() == 0


def test_large_photograph_is_solved_at_its_own_resolution():
    small = disc(100, 100, 60)
    cover = np.asarray(Image.fromarray((small * 255).astype(np.uint8)).resize((1600, 1600), Image.Resampling.BICUBIC))
    rgb = (255 - np.array([40, 180, 190]) * (cover[..., None] / 255.0)).round().astype(np.uint8)
    alpha = cut_out(rgb)
    assert alpha.shape == (1600, 1600)
    assert np.abs(alpha.astype(int) - cover).mean() < 2


def test_backgrounds_that_cannot_be_cut_off():
    rng = np.random.default_rng(3)
    with pytest.raises(ProductBackgroundError, match=r"plain.*mask"):
        cut_out(rng.integers(0, 255, (100, 100, 3), np.uint8))
    stripes = np.where((X // 5 % 2)[..., None] == 0, 60, 190) * np.ones(3)
    with pytest.raises(ProductBackgroundError, match="plain"):
        cut_out(photograph(over(stripes, (200, 20, 20), disc(100, 100, 50)), noise=12))


def test_nothing_there():
    with pytest.raises(ProductBackgroundError, match="nothing differs"):
        cut_out(np.full((80, 80, 3), 200, np.uint8))


def test_decontaminate_inverts_the_mixing():
    cover = disc(100, 100, 60)
    rgb = photograph(over(plain((255, 255, 255)), (200, 30, 40), cover))
    alpha = (cover * 255).round().astype(np.uint8)
    colour = decontaminate(rgb, alpha, np.array([255.0, 255.0, 255.0], np.float32))
    assert np.abs(colour.astype(int) - [200, 30, 40]).max() <= 3
    assert np.array_equal(colour[alpha == 255], rgb[alpha == 255])


def test_clean_and_mixed_edges_are_told_apart():
    cover = disc(100, 100, 60)
    alpha = (cover * 255).round().astype(np.uint8)
    white = np.full((SIDE, SIDE, 3), 255, np.float32)
    mixed = photograph(over(plain((255, 255, 255)), (200, 30, 40), cover))
    clean = photograph(np.where(cover[..., None] > 0, np.array([200.0, 30.0, 40.0]), 255.0))
    assert holds_background(mixed, alpha, white)
    assert not holds_background(clean, alpha, white)
