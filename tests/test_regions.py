"""Masks on their way to regions."""

from __future__ import annotations

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

from bg_core.regions import MAX_BORDER, check_shape, checked_mask, moved_border, region_of
from bg_core.resize import area_average


def product(height: int = 40, width: int = 60) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    return mask


def test_good_masks_pass_as_they_are() -> None:
    assert torch.equal(checked_mask(1 - product(), "m", background=True), 1 - product())
    assert torch.equal(checked_mask(product()[0], "m", background=False), product())
    ones = torch.ones(2, 8, 8)
    assert torch.equal(checked_mask(ones, "m", background=True), ones), "a full mask is no mask, and no error"
    assert checked_mask(torch.full((1, 4, 4), 1.5), "m", background=True).max() == 1


@pytest.mark.parametrize(
    ("mask", "background", "message"),
    [
        (torch.zeros(1, 64, 64), True, "background_mask is empty.*Prepare Product"),
        (torch.zeros(1, 64, 64), False, "is empty"),
        (product(), True, "looks inverted.*1 on the background.*background_mask"),
        (1 - product(), False, "looks inverted.*1 on the product"),
        (torch.cat([1 - product(), torch.zeros(1, 40, 60)]), True, r"empty \(item 1 of the batch\)"),
        (torch.full((1, 8, 8), torch.nan), True, "NaN"),
        (torch.ones(1, 8, 8, 3), True, r"\[1, 8, 8, 3\].*MASK"),
        (torch.ones(0, 8, 8), True, "shape"),
    ],
)
def test_bad_masks_are_refused(mask: torch.Tensor, background: bool, message: str) -> None:
    with pytest.raises(ProductBackgroundError, match=f"(?s){message}"):
        checked_mask(mask, "background_mask", background=background)


def test_border_moves_by_so_many_pixels() -> None:
    mask = product(80, 80)
    for grow, side in ((5, 50), (-5, 30), (0, 40)):
        moved = moved_border(mask, grow, 0)
        assert float(moved.sum()) == side**2
    background = moved_border(1 - mask, 5, 0)
    assert float((1 - background).sum()) == 30**2, "the background grows into the product"


def test_feather_takes_about_so_many_pixels_and_leaves_the_middle_of_the_way() -> None:
    mask = torch.zeros(1, 64, 64)
    mask[..., 32:] = 1
    row = moved_border(mask, 0, 16)[0, 32]
    soft = (row > 0.02) & (row < 0.98)
    assert 12 <= int(soft.sum()) <= 20
    assert bool((row.diff() >= -1e-6).all()) and abs(float(row[31] + row[32]) - 1) < 1e-4


@pytest.mark.parametrize(("grow", "feather"), [(0, 7), (30, 30), (-9, 0)])
def test_whole_masks_stay_whole(grow: int, feather: int) -> None:
    ones = torch.ones(1, 33, 20)
    torch.testing.assert_close(moved_border(ones, grow, feather), ones, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("grow", "feather"), [(MAX_BORDER + 1, 0), (0, -1), (0, MAX_BORDER + 1)])
def test_borders_out_of_bounds_are_refused(grow: int, feather: int) -> None:
    with pytest.raises(ProductBackgroundError, match="Accepted are"):
        moved_border(product(), grow, feather)


@pytest.mark.parametrize(("height", "width"), [(104, 152), (13, 19), (52, 76)])
def test_shapes_that_show_the_same_picture(height: int, width: int) -> None:
    check_shape(torch.ones(1, 832, 1216), "m", height, width)
    check_shape(torch.ones(1, 830, 1210), "m", height, width)
    with pytest.raises(ProductBackgroundError, match=f"1000x1000 pixels.*{width}x{height} cells"):
        check_shape(torch.ones(1, 1000, 1000), "m", height, width)


def test_region_is_the_mean_of_each_place() -> None:
    mask = torch.zeros(1, 6, 4)
    mask[:, 3:] = 1
    assert region_of(mask, 2, 2).tolist() == [[0, 0, 1, 1]]
    torch.testing.assert_close(region_of(mask, 5, 1), torch.tensor([[0, 0, 0.5, 1, 1]]))
    torch.testing.assert_close(region_of(torch.rand(1, 13, 19), 1, 1), torch.rand(1, 1), atol=1, rtol=0)


def test_region_of_a_part_is_the_part_of_the_region() -> None:
    torch.manual_seed(0)
    mask = torch.rand(2, 64, 96)
    whole = region_of(mask, 8, 12).view(2, 8, 12)
    part = region_of(mask, 4, 6, (2 / 8, 3 / 12, 6 / 8, 9 / 12)).view(2, 4, 6)
    torch.testing.assert_close(part, whole[:, 2:6, 3:9])


def test_area_average_of_a_part_covers_fractions_of_pixels() -> None:
    line = torch.tensor([[[0.0, 1.0, 2.0]]])
    torch.testing.assert_close(area_average(line, 1, 1, (0, 0.5, 1, 2.0)), torch.tensor([[[(0 * 0.5 + 1) / 1.5]]]))
