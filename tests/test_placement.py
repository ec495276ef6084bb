"""Canvas sizes, placement, and the pixel contract against an independent reading with Pillow."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from product_background.bg_core import canvas as sizes
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.placement import Arrangement, place, product_box
from product_background.bg_core.prepare import prepare_product
from product_background.bg_core.resize import area_average, lanczos_footprint_all

SMALL, PAINT = (256, 320), (64, 80)


def blob(width: int, height: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy photo uint8 [H, W, 3] and a soft mask uint8 [H, W] of random shape."""
    rng = np.random.default_rng(seed)
    rgb = rng.integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    centre = rng.uniform(0.35, 0.65, 2) * (height, width)
    radii = rng.uniform(0.15, 0.6, 2) * (height, width)
    distance = np.hypot((y - centre[0]) / radii[0], (x - centre[1]) / radii[1])
    mask = ((1 - distance) * rng.uniform(2, 40)).clip(0, 1)
    mask[int(centre[0]), int(centre[1])] = 1
    return rgb, (mask * 255).astype(np.uint8)


def tensors(rgb: np.ndarray, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(rgb.astype(np.float32) / 255)[None], torch.from_numpy(mask.astype(np.float32) / 255)[None]


@settings(max_examples=40, deadline=None)
@given(
    width=st.integers(16, 400),
    height=st.integers(16, 400),
    seed=st.integers(0, 10_000),
    scale=st.floats(0.1, 0.9),
    horizontal=st.floats(0, 1),
    vertical=st.floats(0, 1),
)
def test_opaque_pixels_are_the_photograph(width, height, seed, scale, horizontal, vertical):
    rgb, mask = blob(width, height, seed)
    arrangement = Arrangement(scale, horizontal, vertical, 0.04)
    ready = prepare_product(*tensors(rgb, mask), SMALL, PAINT, arrangement)
    placement = ready.placements[0]
    left, top, right, bottom = placement.placed_box
    size = (right - left, bottom - top)
    independent = Image.fromarray(rgb).crop(placement.source_box).resize(size, Image.Resampling.LANCZOS)
    expected = np.asarray(independent).astype(np.float32) / 255.0
    opaque = ready.product_mask[0, top:bottom, left:right].numpy() == 1.0
    found = ready.canvas[0, top:bottom, left:right].numpy()
    assert np.array_equal(found[opaque], expected[opaque])
    # Outside its box there is no product; inside, alpha is the resized mask up to its cap and its ringing.
    outside = ready.product_mask[0].clone()
    outside[top:bottom, left:right] = 0
    assert not outside.any()
    resized = np.asarray(Image.fromarray(mask).crop(placement.source_box).resize(size, Image.Resampling.LANCZOS))
    levels = (ready.product_mask[0, top:bottom, left:right].numpy() * 255).round().astype(int)
    assert np.abs(levels - resized).max() <= 3
    border = int(np.ceil(0.04 * 256))
    assert left >= border and top >= border and right <= 256 - border and bottom <= 320 - border


@settings(max_examples=40, deadline=None)
@given(size=st.integers(8, 60), target=st.integers(4, 150), seed=st.integers(0, 1000))
def test_footprint_is_pillows_own(size, target, seed):
    """Pixels outside the footprint may take any value without changing what the resize gives inside."""
    rng = np.random.default_rng(seed)
    where = np.ones((size, size), bool)
    where[rng.integers(0, size), rng.integers(0, size)] = False
    solid = lanczos_footprint_all(where, target, target)
    rgb = rng.integers(0, 256, (size, size), np.uint8)
    other = np.where(where, rgb, 255 - rgb).astype(np.uint8)
    first, second = (
        np.asarray(Image.fromarray(p).resize((target, target), Image.Resampling.LANCZOS)) for p in (rgb, other)
    )
    assert np.array_equal(first[solid], second[solid])


def test_masks_add_up_and_paint_inputs_are_area_averages():
    rgb, mask = blob(150, 180, 5)
    ready = prepare_product(*tensors(rgb, mask), SMALL, PAINT, Arrangement())
    assert ready.canvas.shape == (1, 320, 256, 3) and ready.paint_canvas.shape == (1, 80, 64, 3)
    assert torch.equal(ready.background_mask, 1 - ready.product_mask)
    pooled = torch.nn.functional.avg_pool2d(ready.background_mask[None], 4)[0]
    assert torch.allclose(ready.paint_mask, pooled, atol=1e-5)
    alpha = ready.product_mask[..., None]
    flat = (ready.canvas * alpha + 0.5 * (1 - alpha)).movedim(-1, 1)
    pooled = torch.nn.functional.avg_pool2d(flat, 4).movedim(1, -1)
    assert torch.allclose(ready.paint_canvas, pooled, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100))
def test_area_average_keeps_the_mean(size, target, seed):
    picture = torch.from_numpy(np.random.default_rng(seed).random((1, size, size)).astype(np.float32))
    assert area_average(picture, target, target).mean().item() == pytest.approx(picture.mean().item(), abs=1e-5)


def test_presets_and_paint_sizes():
    for preset in sizes.PRESETS:
        canvas = sizes.canvas_size(preset, 1, 1)
        assert canvas[0] % 8 == canvas[1] % 8 == 0
        for painter in sizes.PAINTERS:
            paint = sizes.paint_size(painter, canvas)
            assert paint[0] % 16 == paint[1] % 16 == 0
            assert sizes.stretch(paint, canvas) <= sizes.MAX_STRETCH
    assert sizes.paint_size("Demonstration base (192)", (768, 768)) == (192, 192)
    assert sizes.paint_size("SDXL (1024)", (768, 768)) == (1024, 1024)
    assert sizes.paint_size(sizes.CANVAS_PAINTER, (776, 808)) == (776, 808)


@settings(max_examples=60, deadline=None)
@given(st.integers(32, 512), st.integers(32, 512), st.sampled_from(list(sizes.PAINTERS)))
def test_any_custom_canvas_can_be_painted(columns, rows, painter):
    canvas = sizes.canvas_size(sizes.CUSTOM, columns * 8, rows * 8)
    paint = sizes.paint_size(painter, canvas)
    side = sizes.PAINTERS[painter][0]
    assert paint[0] % 8 == paint[1] % 8 == 0
    assert 0.7 < paint[0] * paint[1] / side**2 < 1.45
    # A shape beyond 6:1 leaves the small base no room to round; up to there Composite Product's limit is kept.
    if max(columns, rows) / min(columns, rows) < 6:
        assert sizes.stretch(paint, canvas) < 0.03


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: sizes.canvas_size("Postcard", 0, 0), "Postcard.*Square 768x768"),
        (lambda: sizes.paint_size("Flux", (768, 768)), "Flux.*SDXL"),
        (lambda: sizes.canvas_size("Custom", 1001, 768), "width is 1001.*nearest is 1000"),
        (lambda: sizes.canvas_size("Custom", 768, 8192), "height is 8192.*4096"),
        (lambda: Arrangement(scale=1.5), "scale is 1.5"),
        (lambda: Arrangement(margin=float("nan")), "margin is nan"),
        (lambda: place((0, 0, 100, 100), (768, 768), (192, 192), Arrangement(scale=1.0)), "larger than the canvas"),
    ],
)
def test_choices_that_are_refused(call, words):
    with pytest.raises(ProductBackgroundError, match=words):
        call()


def test_refused_scale_names_one_that_fits():
    with pytest.raises(ProductBackgroundError, match=r"Set scale to (0\.\d+)") as caught:
        place((0, 0, 100, 60), (768, 512), (192, 128), Arrangement(scale=1.0))
    scale = float(str(caught.value).split("Set scale to ")[1].split()[0])
    place((0, 0, 100, 60), (768, 512), (192, 128), Arrangement(scale=scale))


def test_placement_as_json():
    placement = place((1, 2, 30, 40), (768, 768), (192, 192), Arrangement())
    again = json.loads(json.dumps(placement.to_json()))
    assert again["source_box"] == [1, 2, 30, 40] and again["canvas_size"] == [768, 768]
    assert list(placement.placed_box) == again["placed_box"]


def test_product_box_ignores_a_faint_veil():
    alpha = np.full((50, 60), 3, np.uint8)
    alpha[10:20, 30:40] = 255
    assert product_box(alpha) == (28, 8, 42, 22)


def photo(height: int = 96, width: int = 128, batch: int = 1) -> torch.Tensor:
    return torch.full((batch, height, width, 3), 0.5)


def box_mask(height: int = 96, width: int = 128, batch: int = 1) -> torch.Tensor:
    mask = torch.zeros(batch, height, width)
    mask[:, 30:70, 40:90] = 1
    return mask


@pytest.mark.parametrize(
    "image, mask, words",
    [
        (photo(), box_mask(90, 128), r"128x90 pixels, the photo 128x96"),
        (photo(), torch.zeros(1, 96, 128), "empty"),
        (photo(), 1 - box_mask(), "inverted"),
        (photo(batch=3), box_mask(batch=2), "batch of 2, the photo a batch of 3"),
        (photo(), box_mask() * float("nan"), "product_mask holds NaN"),
        (photo() * float("nan"), box_mask(), "photo holds NaN"),
        (photo(1, 1), None, "1x1 pixels"),
        (torch.zeros(1, 96, 128, 4), None, "photo has an alpha channel"),
        (torch.zeros(1, 96, 128, 2), None, "photo has the shape"),
        (photo(), torch.zeros(1, 1, 96, 128), "product_mask has the shape"),
    ],
)
def test_bad_input_gets_its_message(image, mask, words):
    with pytest.raises(ProductBackgroundError, match=words):
        prepare_product(image, mask, SMALL, PAINT, Arrangement())


def packshot() -> torch.Tensor:
    picture = torch.ones(1, 96, 128, 3)
    picture[:, 30:70, 40:90] = torch.tensor([0.8, 0.1, 0.2])
    return picture


@pytest.mark.parametrize("mask", [None, torch.zeros(1, 64, 64)])
def test_no_mask_means_cutting_out(mask):
    ready = prepare_product(packshot(), mask, SMALL, PAINT, Arrangement())
    left, top, right, bottom = ready.placements[0].source_box
    assert abs(left - 40) <= 3 and abs(top - 30) <= 3 and abs(right - 90) <= 3 and abs(bottom - 70) <= 3
    soft = (ready.product_mask > 0) & (ready.product_mask < 1)
    # The soft edge holds the product's red and none of the white around it.
    assert (ready.canvas[soft] - torch.tensor([0.8, 0.1, 0.2])).abs().max() < 0.04


def test_batches():
    pictures = torch.cat([packshot(), packshot().flip(2), packshot().flip(1)])
    for mask in (None, box_mask(), torch.cat([box_mask(), box_mask().flip(2), box_mask().flip(1)])):
        ready = prepare_product(pictures, mask, SMALL, PAINT, Arrangement())
        assert ready.canvas.shape == (3, 320, 256, 3) and len(ready.placements) == 3
    alone = prepare_product(pictures[1:2], box_mask().flip(2), SMALL, PAINT, Arrangement())
    assert torch.equal(alone.canvas[0], ready.canvas[1])
    assert alone.placements[0] == ready.placements[1]
