"""The product over the painted background: exact inside, no halo at the edge, whatever the sizes and batches."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from product_background.bg_core.composite import background_only, composite_product, fill
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.placement import Arrangement
from product_background.bg_core.prepare import prepare_product

RED, BLUE = torch.tensor([200 / 255, 20 / 255, 30 / 255]), torch.tensor([20 / 255, 40 / 255, 220 / 255])


def disc(side: int, radius: float) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(side) + 0.5, torch.arange(side) + 0.5, indexing="ij")
    return (radius + 0.5 - torch.hypot(x - side / 2, y - side / 2)).clamp(0, 1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000), shrink=st.sampled_from([1, 2, 4]))
def test_inside_is_bit_exact_and_outside_on_the_grid(seed, shrink):
    rng = np.random.default_rng(seed)
    canvas = torch.from_numpy(rng.integers(0, 256, (2, 64, 48, 3)).astype(np.float32) / 255)
    mask = torch.from_numpy((rng.random((2, 64, 48)) * 3 - 1).clip(0, 1).astype(np.float32))
    background = torch.from_numpy(rng.random((2, 64 // shrink, 48 // shrink, 3)).astype(np.float32) * 1.2 - 0.1)
    image = composite_product(background, canvas, mask)
    assert image.dtype == torch.float32 and image.min() >= 0 and image.max() <= 1
    assert torch.equal(image[mask == 1], canvas[mask == 1])
    levels = image.numpy() * 255
    # What SaveImage writes: np.clip(255 * x, 0, 255).astype(uint8).
    assert np.array_equal(levels.astype(np.uint8), levels.round().astype(np.uint8))


@pytest.mark.parametrize("paint", [64, 256])
def test_no_halo_of_the_old_background(paint):
    """A red disc photographed on white goes over blue: every edge pixel lies between red and blue."""
    cover = disc(200, 60)[None, ..., None]
    photo = ((RED * cover + (1 - cover)) * 255).round() / 255
    ready = prepare_product(photo, None, (256, 256), (paint, paint), Arrangement())
    # The painter has painted blue, and its own blurry idea of the product.
    painted = ready.paint_canvas * (1 - ready.paint_mask[..., None]) + BLUE * ready.paint_mask[..., None]
    image = composite_product(painted, ready.canvas, ready.product_mask)
    line = BLUE - RED
    along = ((image - RED) @ line / (line @ line)).clamp(0, 1)[..., None]
    off = (image - (RED + along * line)).abs().amax(-1)
    assert off.max() < 0.035
    assert (image[0, 0, 0] - BLUE).abs().max() < 0.01


def test_painted_product_does_not_bleed():
    mask = disc(256, 70)
    small = torch.nn.functional.avg_pool2d(mask[None], 4)[0][..., None]
    painted = BLUE * (1 - small) + torch.tensor([1.0, 1.0, 0.0]) * small
    alone = background_only(painted, mask)
    assert alone.shape == (256, 256, 3)
    assert (alone - BLUE).abs().max() < 0.02


def test_contact_shadow_stays():
    mask = torch.zeros(256, 256)
    mask[80:180, 90:170] = 1
    painted = torch.full((64, 64, 3), 0.8)
    painted[46:50, 20:46] = 0.3
    alone = background_only(painted, mask)
    assert alone[188:196, 100:160].max() < 0.45 and alone[182:186, 110:150].max() < 0.5


def test_fill_keeps_what_is_known():
    picture, known = torch.rand(1, 3, 33, 20), (torch.rand(1, 1, 33, 20) > 0.7).float()
    known[..., 0, 0] = 1
    filled = fill(picture, known)
    assert torch.equal(filled * known, picture * known)
    assert filled.min() >= 0 and filled.max() <= 1


def test_a_product_that_covers_everything_is_no_error():
    canvas = torch.rand(1, 64, 64, 3)
    assert torch.equal(composite_product(torch.rand(1, 16, 16, 3), canvas, torch.ones(1, 64, 64)), canvas)


@pytest.mark.parametrize("backgrounds, canvases", [(1, 3), (3, 1), (3, 3), (4, 2)])
def test_batches(backgrounds, canvases):
    background, canvas, mask = (
        torch.rand(backgrounds, 16, 16, 3),
        torch.rand(canvases, 32, 32, 3),
        torch.rand(canvases, 32, 32),
    )
    image = composite_product(background, canvas, mask)
    assert len(image) == max(backgrounds, canvases)
    for i in range(len(image)):
        b, c = i % backgrounds, i % canvases
        alone = composite_product(background[b : b + 1], canvas[c : c + 1], mask[c : c + 1])
        assert torch.equal(image[i], alone[0])


@pytest.mark.parametrize(
    "background, canvas, mask, words",
    [
        (torch.rand(1, 16, 20, 3), torch.rand(1, 64, 64, 3), torch.rand(1, 64, 64), "20x16 pixels, the canvas 64x64"),
        (torch.rand(1, 16, 16, 3) / 0 * 0, torch.rand(1, 64, 64, 3), torch.rand(1, 64, 64), "background holds NaN"),
        (torch.rand(1, 16, 16, 3), torch.rand(1, 64, 64, 3), torch.rand(1, 64, 32), "product_mask has the shape"),
        (torch.rand(1, 16, 16, 3), torch.rand(1, 64, 64, 3), torch.full((1, 64, 64), torch.nan), "product_mask holds"),
        (
            torch.rand(3, 16, 16, 3),
            torch.rand(2, 64, 64, 3),
            torch.rand(2, 64, 64),
            "batch of 3, the canvas a batch of 2",
        ),
        (torch.rand(16, 16, 3), torch.rand(1, 64, 64, 3), torch.rand(1, 64, 64), "background has the shape"),
    ],
)
def test_bad_input_gets_its_message(background, canvas, mask, words):
    with pytest.raises(ProductBackgroundError, match=words):
        composite_product(background, canvas, mask)
