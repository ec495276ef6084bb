"""Which rows of a batch get which bias."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

from bg_core.region_attention import region_logits
from bg_core.region_plan import Chunk, Guide, Plan, Span, TokenGroups
from bg_core.regions import region_of

SIZE = (8, 6)


def text(*places: int, strength: float = 1.0, name: str = "identifier") -> TokenGroups:
    return TokenGroups.read({"length": 77, "groups": {name: list(places)}, "strength": strength})


def chunk(*places: int, **settings: Any) -> Chunk:
    return Chunk(text(*places, **settings), 77)


PLAIN = Chunk(None, 77)


def guide(strength: float = 1.0, rows: int = 1) -> Guide:
    torch.manual_seed(3)
    return Guide({"identifier": torch.rand(rows, 64, 48)}, strength)


def plan(chunks: list[Chunk], batch: int = 1, guides: list[Guide] | None = None, keys: int = 77) -> Plan:
    return Plan(chunks, batch, keys, [guide()] if guides is None else guides, SIZE, SIZE)


def test_rows_without_groups_get_no_bias() -> None:
    assert plan([PLAIN, chunk(5), PLAIN], 2).spans == (Span(2, 4),)
    assert plan([chunk(5), chunk(7), PLAIN], 2).spans == (Span(0, 4),)
    assert plan([chunk(5), PLAIN, chunk(7)]).spans == (Span(0, 1), Span(2, 3))
    assert plan([PLAIN, PLAIN]).spans == ()


@pytest.mark.parametrize(
    "nothing",
    [
        Guide({"identifier": torch.ones(1, 64, 48)}),
        Guide({"identifier": torch.zeros(1, 64, 48)}, 0.0),
        Guide({"product": torch.zeros(1, 64, 48)}),
    ],
    ids=["whole region", "strength 0", "other group"],
)
def test_what_changes_nothing_makes_no_bias(nothing: Guide) -> None:
    assert plan([chunk(5), PLAIN], guides=[nothing]).spans == ()
    assert plan([chunk(5)], guides=[]).spans == ()


def test_strength_of_the_conditioning_multiplies_the_guides() -> None:
    assert plan([chunk(5, strength=0)]).spans == ()
    (half,) = plan([chunk(5, strength=0.5)]).at(*SIZE)
    (other,) = plan([chunk(5)], guides=[guide(0.5)]).at(*SIZE)
    assert torch.equal(half, other)


def test_bias_is_made_for_every_size_and_once() -> None:
    planned = plan([chunk(5, 6)])
    (mask,) = guide().masks.values()
    for height, width in (SIZE, (4, 3), (2, 2), (1, 1), (5, 5)):
        (bias,) = planned.at(height, width)
        expected = torch.zeros(height * width, 77)
        expected[:, [5, 6]] = region_logits(region_of(mask, height, width))[0, :, None]
        torch.testing.assert_close(bias[0, 0], expected)
        assert planned.at(height, width)[0] is bias


def test_single_mask_takes_a_single_row_and_several_take_turns() -> None:
    assert plan([chunk(5)], 4).at(*SIZE)[0].shape[0] == 1
    assert plan([chunk(5), chunk(5)], 4).at(*SIZE)[0].shape[0] == 1
    (bias,) = plan([chunk(5), chunk(5)], 4, [guide(rows=2)]).at(*SIZE)
    assert bias.shape[0] == 8
    assert torch.equal(bias[:2].repeat(4, 1, 1, 1), bias) and not torch.equal(bias[0], bias[1])
    (bias,) = plan([chunk(5), chunk(7, 8)], 2).at(*SIZE)
    assert bias.shape[0] == 4
    assert [sorted(set(row[0].nonzero()[:, 1].tolist())) for row in bias] == [[5], [5], [7, 8], [7, 8]]


def test_batches_of_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ProductBackgroundError, match="a batch of 3, the latents a batch of 4"):
        plan([chunk(5)], 4, [guide(rows=3)])


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(ProductBackgroundError, match="64x64 pixels"):
        plan([chunk(5)], guides=[Guide({"identifier": torch.zeros(1, 64, 64)})])


def test_two_guides_multiply() -> None:
    first, second = guide(), Guide({"identifier": torch.rand(1, 32, 24)}, 0.7)
    (both,) = plan([chunk(5)], guides=[first, second]).at(*SIZE)
    parts = [plan([chunk(5)], guides=[one]).at(*SIZE)[0] for one in (first, second)]
    torch.testing.assert_close(both, parts[0] + parts[1])


def test_text_repeated_to_a_longer_one_keeps_its_positions_in_every_copy() -> None:
    (bias,) = plan([Chunk(text(5, 76), 77), Chunk(None, 154)], keys=154).at(*SIZE)
    assert sorted(set(bias[0, 0].nonzero()[:, 1].tolist())) == [5, 76, 82, 153]


def test_text_that_something_was_appended_to_keeps_its_own_positions_only() -> None:
    (bias,) = plan([Chunk(text(5), 154)], keys=308).at(*SIZE)
    assert sorted(set(bias[0, 0].nonzero()[:, 1].tolist())) == [5, 159]


@pytest.mark.parametrize(("tokens", "keys"), [(60, 60), (77, 100)])
def test_texts_that_were_cut_are_refused(tokens: int, keys: int) -> None:
    with pytest.raises(ProductBackgroundError, match="changes the text's length"):
        plan([Chunk(text(5), tokens)], keys=keys)


def test_part_of_the_picture_gets_its_part_of_the_mask() -> None:
    (mask,) = guide().masks.values()
    box = (2 / 8, 1 / 6, 6 / 8, 4 / 6)
    planned = Plan([Chunk(text(5), 77, box)], 1, 77, [guide()], SIZE, (4, 3))
    expected = region_logits(region_of(mask, *SIZE).view(*SIZE)[2:6, 1:4].flatten())
    torch.testing.assert_close(planned.at(4, 3)[0][0, 0, :, 5], expected)


def test_part_that_holds_no_product_gets_no_bias() -> None:
    mask = torch.ones(1, 64, 48)
    mask[:, 32:] = 0
    boxed = [Chunk(text(5), 77, (0.0, 0.0, 0.5, 1.0))]
    assert Plan(boxed, 1, 77, [Guide({"identifier": mask})], SIZE, (4, 6)).spans == ()


def test_conditionings_with_other_numbers_of_groups_share_a_span() -> None:
    two = TokenGroups.read({"length": 77, "groups": {"identifier": [4], "product": [2, 3]}})
    product = torch.rand(1, 64, 48)
    guides = [Guide({"identifier": 1 - product, "product": product})]
    (bias,) = plan([Chunk(two, 77), chunk(9)], guides=guides).at(*SIZE)
    torch.testing.assert_close(bias[0, 0, :, 2], region_logits(region_of(product, *SIZE))[0])
    torch.testing.assert_close(bias[1, 0, :, 9], region_logits(region_of(1 - product, *SIZE))[0])
    assert not bias[1, 0][:, [2, 3, 4]].any() and not bias[0, 0][:, 9].any()


def test_watched_chunks() -> None:
    (watched,) = plan([PLAIN, chunk(5), chunk(6)], 2).watched([True, True, False])
    assert (watched.start, watched.stop, watched.names) == (2, 4, ("identifier",))
    assert watched.members.nonzero().tolist() == [[0, 5]]


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"length": 77},
        {"length": 77, "groups": [1]},
        {"length": 77, "groups": {"identifier": [77]}},
        {"length": 77, "groups": {"identifier": [-1]}},
        {"length": 77, "groups": {"identifier": ["x"]}},
        {"length": 77, "groups": {}, "strength": float("nan")},
    ],
)
def test_unreadable_positions_are_refused(value: Any) -> None:
    with pytest.raises(ProductBackgroundError, match="token positions"):
        TokenGroups.read(value)
