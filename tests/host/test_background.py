"""What the bundled base paints is a background: it follows seed and words, and is neither mush nor one colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from product_background.bg_core import checkpoint, weights
from product_background.bg_core.base import BASE_NAME

from catalogue.client import ComfyClient
from catalogue.graph import find_node, load_graph, with_inputs

ROOT = Path(__file__).resolve().parent.parent.parent
BUNDLED = ROOT / "models" / "checkpoints" / "product_background_demo_base.safetensors"

SIDE = 192  # what the base paints; the rest is enlarging
# Contrast: standard deviation of the lightness; 95 of 100 rendered scenes lie above 15, a base after a third of its
# training (mush) reached 12. Detail: the steepest twentieth of its slopes, in levels a pixel; 95 of 100 scenes lie
# above 4.4, a gradient over the whole picture below 1.
CONTRAST, DETAIL = 14.0, 3.0

Painting = tuple[np.ndarray, np.ndarray]
"""Picture int [H,W,3] and product mask int [H,W], both 0..255."""
Painter = Callable[[str, int], Painting]


def scene(colour: str) -> str:
    return f"a photo of a perfume on a dark walnut table, a plain {colour} plaster wall, hard sunlight from the left"


@pytest.fixture(scope="module")
def paint(client: ComfyClient, packshot: Path) -> Painter:
    """Paints with the shared graph as it is, but for the photograph, the words and the seed."""
    graph = load_graph(ROOT / "workflows" / "api" / "product_background.json")
    photo = client.upload_image(packshot)

    @cache
    def painted(prompt: str, seed: int) -> Painting:
        changes = {"Product photo": {"image": photo}, "Background prompt": {"text": prompt}, "Sampler": {"seed": seed}}
        result = client.run(with_inputs(graph, changes))

        def saved(title: str, mode: str) -> np.ndarray:
            (file,) = result.images(find_node(graph, title))
            return np.asarray(Image.open(io.BytesIO(client.download(file))).convert(mode)).astype(int)

        return saved("Save picture", "RGB"), saved("Save product mask", "L")

    return painted


def mean_colour(painting: Painting) -> np.ndarray:
    picture, mask = painting
    return picture[mask == 0].mean(axis=0)


def contrast_and_detail(painting: Painting) -> tuple[float, float]:
    """Of the background at the size it was painted, well away from the product, whose own edge must not count."""
    picture, mask = painting
    grey = Image.fromarray(picture.astype(np.uint8)).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    near = Image.fromarray(mask.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BOX)
    background = np.asarray(near.filter(ImageFilter.MaxFilter(13))) == 0
    lightness = np.asarray(grey).astype(float)
    slope = np.hypot(*np.gradient(lightness))
    return float(lightness[background].std()), float(np.percentile(slope[background], 95))


def test_bundled_base_is_trained_and_says_where_it_comes_from() -> None:
    header, tensors = weights.load_checked(BUNDLED, checkpoint.KIND, BASE_NAME)
    assert header.training["licence"] == "Apache-2.0"
    assert header.training["steps"] > 0
    assert header.training["data"] not in ("", "none")
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_another_seed_paints_another_background_and_leaves_the_product(paint: Painter) -> None:
    (first, mask), (second, other_mask) = paint(scene("white"), 1), paint(scene("white"), 2)
    assert np.array_equal(mask, other_mask)
    opaque = mask == 255
    assert opaque.any() and np.array_equal(first[opaque], second[opaque])
    assert np.abs(first - second)[mask == 0].mean() > 2


def test_a_colour_in_the_words_is_a_colour_in_the_background(paint: Painter) -> None:
    cold, warm = (mean_colour(paint(scene(name), 1)) for name in ("sky blue", "terracotta"))
    assert (cold[2] - cold[0]) - (warm[2] - warm[0]) > 15  # blue less red


def test_the_background_is_a_scene(paint: Painter) -> None:
    for seed in (1, 2):
        contrast, detail = contrast_and_detail(paint(scene("white"), seed))
        assert contrast > CONTRAST and detail > DETAIL, f"seed {seed}: contrast {contrast:.1f}, detail {detail:.1f}"


def test_flat_colours_gradients_and_mush_are_no_scene() -> None:
    rng = np.random.default_rng(0)
    mush = Image.fromarray(rng.normal(128, 20, (16, 16, 3)).clip(0, 255).astype(np.uint8))
    pictures = {
        "flat": np.full((768, 768, 3), 200),
        "gradient": np.tile(np.linspace(40, 220, 768).astype(int)[None, :, None], (768, 1, 3)),
        "grain": rng.normal(128, 12, (768, 768, 3)).clip(0, 255).astype(int),
        "mush": np.asarray(mush.resize((768, 768), Image.Resampling.BICUBIC)).astype(int),
    }
    for name, picture in pictures.items():
        contrast, detail = contrast_and_detail((picture, np.zeros((768, 768), int)))
        assert contrast <= CONTRAST or detail <= DETAIL, f"{name}: contrast {contrast:.1f}, detail {detail:.1f}"
