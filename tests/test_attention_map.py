"""Recording of attention shares, and their picture."""

from __future__ import annotations

import copy

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

from bg_core.attention_map import Record, averaged, coloured, overlay, resized, summary


def record() -> Record:
    found = Record()
    for value in (0.2, 0.4):
        found.add("input 1.0", (2, 3), ["identifier", "product"], torch.full((1, 2, 6), value))
        found.add("middle 0.0", (1, 1), ["identifier"], torch.full((1, 1, 1), value * 2))
    return found


def test_shares_are_means_over_the_steps_by_layer() -> None:
    shares = record().shares("identifier")
    assert {name: tuple(share.shape) for name, share in shares.items()} == {
        "input 1.0": (1, 2, 3),
        "middle 0.0": (1, 1, 1),
    }
    torch.testing.assert_close(shares["input 1.0"], torch.full((1, 2, 3), 0.3))
    torch.testing.assert_close(averaged(shares), torch.full((1, 2, 3), 0.45))
    assert list(record().shares("product")) == ["input 1.0"]


def test_layer_that_changes_its_size_begins_anew() -> None:
    found = record()
    found.add("input 1.0", (4, 6), ["identifier"], torch.ones(1, 1, 24))
    assert found.shares("identifier")["input 1.0"].shape == (1, 4, 6)
    assert float(found.shares("identifier")["input 1.0"].mean()) == 1


def test_what_was_given_is_not_kept_or_changed() -> None:
    found, share = Record(), torch.zeros(1, 1, 4)
    found.add("a", (2, 2), ["identifier"], share)
    found.add("a", (2, 2), ["identifier"], torch.ones(1, 1, 4))
    assert not share.any()
    assert copy.deepcopy(found) is found, "nodes that clone a model must not part the record from its map"


def test_empty_record_and_unknown_group_say_what_to_do() -> None:
    with pytest.raises(ProductBackgroundError, match=r"Nothing was recorded.*change the seed"):
        Record().shares("identifier")
    cleared = record()
    cleared.clear()
    with pytest.raises(ProductBackgroundError, match="Nothing was recorded"):
        cleared.shares("identifier")
    with pytest.raises(ProductBackgroundError, match=r"no token group 'mug'\. It has: identifier, product"):
        record().shares("mug")


def test_colours_grow_brighter() -> None:
    brightness = coloured(torch.linspace(0, 1, 50)).sum(-1)
    assert bool((brightness.diff() > 0).all())
    assert torch.equal(coloured(torch.tensor([-1.0, 2.0])), coloured(torch.tensor([0.0, 1.0])))


def test_overlay_shows_place_and_amount() -> None:
    pictures = torch.full((2, 8, 8, 3), 0.5)
    share = torch.zeros(1, 2, 2)
    share[0, 0, 0] = 0.4
    drawn = overlay(pictures, share, 0.0, 1.0)
    assert drawn.shape == (2, 8, 8, 3)
    torch.testing.assert_close(drawn[0, 0, 0], coloured(torch.tensor(1.0)))
    torch.testing.assert_close(drawn[1, 7, 7], coloured(torch.tensor(0.0)))
    half = overlay(pictures, share, 0.8, 1.0)
    torch.testing.assert_close(half[0, 0, 0], coloured(torch.tensor(0.5)))
    assert torch.equal(overlay(pictures, share, 0.0, 0.0), pictures)


@pytest.mark.parametrize(("pictures", "maps"), [(3, 2), (1, 2)])
def test_other_batches_are_refused(pictures: int, maps: int) -> None:
    with pytest.raises(ProductBackgroundError, match=f"a batch of {pictures}, the sampled latents were {maps}"):
        overlay(torch.zeros(pictures, 4, 4, 3), torch.zeros(maps, 2, 2), 0.0, 0.5)


def test_summary_tells_background_and_product_apart() -> None:
    share = torch.tensor([[[0.2, 0.0], [0.2, 0.0]]])
    mask = torch.zeros(1, 8, 8)
    mask[..., :4] = 1
    lines = summary("identifier", {"input 1.0": share}, mask).splitlines()
    assert "identifier" in lines[0]
    assert lines[1] == "input 1.0: 10.00% (background 20.00%, product 0.00%)"
    assert lines[2].startswith("mean of all")
    assert "product" not in summary("identifier", {"a": share})


def test_resized_keeps_the_mean() -> None:
    share = torch.rand(1, 4, 4)
    torch.testing.assert_close(resized(share, 32, 32).mean(), share.mean(), atol=0.02, rtol=0)
