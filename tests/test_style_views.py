"""A reference's views: nothing of its product is left in any of them, whatever front end looks at them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bg_core.covering import dilated
from bg_core.style_config import StyleConfig
from bg_core.style_views import cleared, filled, lattice_corners, layout_view, salient_corners, standard_views

CONFIG = StyleConfig((("input", 1, 0, 64),))


def scene(seed: int = 0, height: int = 200, width: int = 160) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(seed))


def disc(height: int = 200, width: int = 160) -> Tensor:
    """A soft-edged product a little left of the middle."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    distance = ((y - height * 0.6) ** 2 + (x - width * 0.45) ** 2) ** 0.5
    return ((40 - distance) / 3).clamp(0, 1)[None, None]


@pytest.mark.parametrize("radius", [0.0, 0.004, 0.01, 0.05, 0.08, 0.3, 1.5])
def test_a_mask_grows_to_the_largest_value_within_a_square(radius: float) -> None:
    mask = torch.rand(2, 1, 96, 96, generator=torch.Generator().manual_seed(0)) ** 8
    pixels = round(radius * 96)
    looked_up = torch.nn.functional.max_pool2d(mask, 2 * pixels + 1, 1, pixels)
    assert torch.equal(dilated(mask, radius), looked_up)


@pytest.mark.parametrize("product", [0.0, 1.0, "noise"])
def test_another_product_leaves_the_views_bit_equal(product: float | str) -> None:
    background, mask = scene(), disc()
    other = scene(1) if product == "noise" else torch.full_like(background, float(product))
    swapped = torch.where(mask > 0.02, other, background)
    views = [
        standard_views(*cleared(picture, mask, CONFIG.frame, CONFIG.frame), CONFIG) for picture in (background, swapped)
    ]
    for name in ("style", "layout", "elements"):
        ours, theirs = (getattr(view, name) for view in views)
        assert torch.equal(ours.pictures, theirs.pictures), name
        assert torch.equal(ours.hole, theirs.hole), name


def test_outside_the_hole_the_picture_is_its_own() -> None:
    picture = scene(height=128, width=128)
    cleared_picture, hole = cleared(picture, disc(128, 128), 128, 128)
    outside = (hole == 0).expand_as(picture)
    torch.testing.assert_close(cleared_picture[outside], picture[outside], atol=1e-6, rtol=0)
    whole, none = cleared(picture, None, 128, 128)
    assert not none.any()
    torch.testing.assert_close(whole, picture, atol=1e-6, rtol=0)


def test_hole_reaches_beyond_rim_and_shadow() -> None:
    mask = disc(128, 128)
    _, hole = cleared(scene(height=128, width=128), mask, 128, 128)
    grown = torch.nn.functional.max_pool2d((mask > 0.02).float(), 9, 1, 4)
    assert bool((hole >= grown).all())
    bottom = int((mask[0, 0] > 0.5).any(1).nonzero().max())
    assert bool((hole[0, 0, bottom + 8, 30:80] == 1).all()), "the shadow on the ground"


def test_filling_continues_the_surroundings() -> None:
    ramp = torch.linspace(0, 1, 64).view(1, 1, 1, 64).expand(1, 3, 64, 64)
    hole = torch.zeros(1, 1, 64, 64)
    hole[..., 20:44, 20:44] = 1
    out = filled(ramp, hole)
    assert float((out - ramp).abs().max()) < 0.15
    assert torch.equal(out[..., :20], ramp[..., :20])
    nothing = filled(ramp, torch.ones_like(hole))
    torch.testing.assert_close(nothing, torch.full_like(ramp, 0.5))


def test_style_crops_keep_away_from_the_product_and_cover_the_frame() -> None:
    hole = torch.zeros(2, 1, 128, 128)
    hole[0, :, 40:90, 40:90] = 1
    view = standard_views(torch.rand(2, 3, 128, 128), hole, CONFIG).style
    assert view.pictures.shape == (2, 6, 3, 48, 48)
    assert float(view.hole[0].mean()) < float(hole[0].mean())
    corners = lattice_corners(CONFIG)
    assert corners.min() == 0 and corners.max() == 128 - 48 and len(corners.unique(dim=0)) == 9


def test_layout_view_has_no_colour_and_no_detail() -> None:
    picture = torch.rand(2, 3, 128, 128)
    view = layout_view(picture, torch.zeros(2, 1, 128, 128))
    assert torch.equal(view.pictures[:, 0, 0], view.pictures[:, 0, 2])
    assert float(view.pictures.std()) < 0.3 * float(picture.std())
    darker = layout_view(picture, torch.zeros(2, 1, 128, 128), gamma=torch.tensor([1.0, 2.0]).view(2, 1, 1, 1))
    assert torch.equal(darker.pictures[0], view.pictures[0]) and darker.pictures[1].mean() < view.pictures[1].mean()


def test_elements_are_found_where_something_stands_out() -> None:
    picture, hole = torch.full((1, 3, 128, 128), 0.6), torch.zeros(1, 1, 128, 128)
    picture[..., 90:106, 12:28] = torch.tensor([0.9, 0.1, 0.1]).view(3, 1, 1)
    picture[..., 50:70, 50:70] = 0.0
    hole[..., 45:75, 45:75] = 1
    y, x = salient_corners(picture, hole, 32, 1)[0, 0].tolist()
    assert y <= 90 + 8 and y + 32 >= 106 - 8 and x <= 12 + 8 and x + 32 >= 28 - 8
    several = salient_corners(torch.rand(3, 3, 128, 128), torch.zeros(3, 1, 128, 128), 30, 6)
    assert several.shape == (3, 6, 2) and several.max() <= 128 - 30


def test_seen_cells_touch_no_hole() -> None:
    hole = torch.zeros(1, 1, 128, 128)
    hole[..., 63, 64] = 1
    seen = layout_view(torch.rand(1, 3, 128, 128), hole).seen(8)
    assert int((~seen).sum()) == 1 and not seen[0, 0, 7, 8]
