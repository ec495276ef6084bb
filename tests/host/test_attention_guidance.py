"""Mask-guided attention in ComfyUI's own samplers: equal to its definition, and to nothing where it must do nothing."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

TOLERANCE = 1e-4  # in standard deviations
MATTERS = 1e-2  # what a comparison must be able to see, or it compares nothing


def test_prediction_is_the_definitions(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, 5, 6, 7), lab.conditioning(2), lab.soft_mask()
    expected = lab.by_definition(model, lambda side, row: [([5, 6, 7], mask[0])] if side == 0 else [])
    plain = lab.predictions(model, [positive, negative])
    ours = lab.predictions(lab.guided(model, mask), [positive, negative])
    theirs = lab.predictions(expected, [positive, negative])
    assert lab.difference(plain[0], theirs[0]) > MATTERS
    assert lab.difference(ours[0], theirs[0]) < TOLERANCE
    # Rows without an identifier run the stock code, if in a batch of their own.
    assert lab.difference(ours[1], plain[1]) < TOLERANCE / 10


def test_removed_node_leaves_nothing_behind(lab: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1, 5, 6, 7), lab.conditioning(2)
    before = lab.sample(model, positive, negative)
    with_node = lab.sample(lab.guided(model, lab.left_half()), positive, negative)
    assert lab.difference(before, with_node) > MATTERS
    assert torch.equal(lab.sample(model, positive, negative), before)


@pytest.mark.parametrize("case", ["whole mask", "no identifier", "strength 0", "conditioning's strength 0"])
def test_what_changes_nothing_is_stock_bit_for_bit(lab: ModuleType, model: Any, case: str) -> None:
    positive, negative, mask = lab.conditioning(1, 5, 6), lab.conditioning(2), lab.left_half()
    if case == "whole mask":
        mask = torch.ones(1, 128, 96)
    if case == "no identifier":
        positive = lab.conditioning(1)
    if case == "conditioning's strength 0":
        positive = lab.conditioning(1, 5, 6, strength=0.0)
    guided = lab.guided(model, mask, 0.0 if case == "strength 0" else 1.0)
    assert torch.equal(lab.sample(guided, positive, negative), lab.sample(model, positive, negative))


def test_strength_of_half_is_the_definitions(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, 5), lab.conditioning(2), lab.left_half()
    expected = lab.by_definition(model, lambda side, row: [([5], mask[0])] if side == 0 else [], strength=0.25)
    conditioned = lab.conditioning(1, 5, strength=0.5)
    ours = lab.predictions(lab.guided(model, mask, 0.5), [conditioned, negative])
    assert lab.difference(ours[0], lab.predictions(expected, [positive, negative])[0]) < TOLERANCE


def test_groups_each_have_their_mask(lab: ModuleType, model: Any) -> None:
    from product_background.bg_core.region_plan import Guide
    from product_background.nodes import attention_patch

    mask = lab.soft_mask()
    positive, negative = lab.conditioning(1, 5, 6, groups={"product": [2, 3]}), lab.conditioning(2)
    ours = attention_patch.guided(model, Guide({"identifier": mask, "product": 1 - mask}))
    expected = lab.by_definition(
        model, lambda side, row: [([5, 6], mask[0]), ([2, 3], 1 - mask[0])] if side == 0 else []
    )
    found, wanted = (lab.predictions(m, [positive, negative])[0] for m in (ours, expected))
    assert lab.difference(found, wanted) < TOLERANCE
    only_background = lab.predictions(lab.guided(model, mask), [positive, negative])[0]
    assert lab.difference(only_background, wanted) > MATTERS


def test_batch_with_a_mask_for_each_picture(lab: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1, 5, 6), lab.conditioning(2)
    masks = torch.cat([lab.left_half(), lab.soft_mask(), 1 - lab.left_half()])
    expected = lab.by_definition(model, lambda side, row: [([5, 6], masks[row % 3])] if side == 0 else [])
    for batch in (3, 6):
        ours = lab.predictions(lab.guided(model, masks), [positive, negative], batch=batch)[0]
        theirs = lab.predictions(expected, [positive, negative], batch=batch)[0]
        assert lab.difference(ours, theirs) < TOLERANCE
    with pytest.raises(ProductBackgroundError, match="a batch of 3, the latents a batch of 4"):
        lab.predictions(lab.guided(model, masks), [positive, negative], batch=4)


def test_one_mask_for_a_batch(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, 5, 6), lab.conditioning(2), lab.soft_mask()
    expected = lab.by_definition(model, lambda side, row: [([5, 6], mask[0])] if side == 0 else [])
    ours = lab.predictions(lab.guided(model, mask), [positive, negative], batch=4)[0]
    assert lab.difference(ours, lab.predictions(expected, [positive, negative], batch=4)[0]) < TOLERANCE


def test_sides_run_apart_as_together(lab: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """When memory is short, ComfyUI runs conditionings one by one, in any order."""
    positive, negative = lab.conditioning(1, 5, 6), lab.conditioning(2)
    guided = lab.guided(model, lab.left_half())
    together = lab.sample(guided, positive, negative)
    calls: list[int] = []
    run = type(model.model)._apply_model

    def counted(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(len(x))
        return run(self, x, *args, **kwargs)

    monkeypatch.setattr(type(model.model), "_apply_model", counted)
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e30)
    apart = lab.sample(guided, positive, negative)
    assert set(calls) == {1}
    assert lab.difference(together, apart) < TOLERANCE


@pytest.mark.parametrize("negative_length", [154, 231])
def test_longer_negative_repeats_the_positive(lab: ModuleType, model: Any, negative_length: int) -> None:
    positive, negative = lab.conditioning(1, 5, 76), lab.conditioning(2, length=negative_length)
    mask = lab.soft_mask()
    expected = lab.by_definition(model, lambda side, row: [([5, 76], mask[0])] if side == 0 else [])
    ours = lab.predictions(lab.guided(model, mask), [positive, negative])
    theirs = lab.predictions(expected, [positive, negative])
    short = lab.predictions(lab.guided(model, mask), [positive, lab.conditioning(2)])
    assert lab.difference(ours[0], theirs[0]) < TOLERANCE
    assert lab.difference(ours[0], short[0]) < TOLERANCE, "repeating the text doesn't change what it says"


def test_identifiers_on_both_sides_and_several_a_side(lab: ModuleType, model: Any) -> None:
    """ConditioningCombine: each text keeps its own positions, whichever row of whichever batch it runs in."""
    positive = lab.conditioning(1, 5, 6) + lab.conditioning(3, 9) + lab.conditioning(4)
    negative = lab.conditioning(2, 30, 31)
    mask = lab.soft_mask()
    guided = lab.guided(model, mask)
    ours = lab.predictions(guided, [positive, negative])
    alone = [lab.predictions(guided, [[entry], negative])[0] for entry in positive]
    assert lab.difference(ours[0], torch.stack(alone).mean(0)) < TOLERANCE
    expected = lab.by_definition(model, lambda side, row: [([30, 31], mask[0])] if side == 1 else [])
    assert lab.difference(ours[1], lab.predictions(expected, [lab.conditioning(1), negative])[1]) < TOLERANCE


def test_masked_conditionings(lab: ModuleType, model: Any) -> None:
    """ConditioningSetMask keeps the whole picture's size: the regions stay as they are."""
    (first,), (second,) = lab.conditioning(1, 5, 6), lab.conditioning(3, 9)
    negative, guided = lab.conditioning(2), lab.guided(model, lab.soft_mask())
    halves = [lab.left_half(16, 12), 1 - lab.left_half(16, 12)]
    masked = [
        [text[0], {**text[1], "mask": half, "mask_strength": 1.0, "set_area_to_bounds": False}]
        for text, half in zip((first, second), halves, strict=True)
    ]
    ours = lab.predictions(guided, [masked, negative])[0]
    alone = [lab.predictions(guided, [[text], negative])[0] for text in (first, second)]
    expected = sum(half[:, None] * one for half, one in zip(halves, alone, strict=True))
    assert lab.difference(ours, expected) < TOLERANCE


@pytest.mark.parametrize("area", [(8, 8, 4, 2), (8, 12, 8, 0), (20, 20, 6, 5), ("percentage", 0.5, 0.5, 0.5, 0.25)])
def test_area_conditionings_get_their_part_of_the_mask(lab: ModuleType, model: Any, area: tuple[Any, ...]) -> None:
    """The model then sees a part of the latents only, and nothing in the call says which."""
    mask = lab.soft_mask()
    (text,) = lab.conditioning(1, 5, 6)
    positive = [[text[0], {**text[1], "area": area, "strength": 1.0}]]
    if area[0] == "percentage":
        height, width, top, left = (round(share * side) for share, side in zip(area[1:], (16, 12) * 2, strict=True))
    else:
        height, width, top, left = area
    height, width = min(height, 16 - top), min(width, 12 - left)
    part = mask[0, top * 8 : (top + height) * 8, left * 8 : (left + width) * 8]
    expected = lab.by_definition(model, lambda side, row: [([5, 6], part)] if side == 0 else [])
    negative = lab.conditioning(2)
    ours, theirs, plain = (
        lab.predictions(m, [positive, negative])[0] for m in (lab.guided(model, mask), expected, model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_texts_that_comfyui_puts_into_a_borrowed_area(lab: ModuleType, model: Any) -> None:
    """For an area on one side ComfyUI makes one on the other: this one's keys, with the other side's text put in."""
    (text,) = lab.conditioning(1, 5, 6)
    area = {"area": (8, 12, 8, 0), "strength": 1.0}
    with_area, negative, mask = [[text[0], {**text[1], **area}]], lab.conditioning(2), lab.soft_mask()
    ours, plain = (lab.predictions(m, [with_area, negative])[1] for m in (lab.guided(model, mask), model))
    assert lab.difference(ours, plain) < TOLERANCE / 10, "the copy has the positive's keys, but no identifier"

    (other,) = lab.conditioning(2)
    negative = [[other[0], {**other[1], **area}]]
    part = mask[0, 64:]
    expected = lab.by_definition(
        model,
        # The rows of the whole picture and of the area run apart, and differ in size.
        lambda side, row: [([5, 6], part)] if side == 0 else [],
    )
    positive = [[text[0], {**text[1], "start_percent": 0.9}]]  # the whole picture's own row stays out of the first step
    ours, theirs, plain = (
        lab.predictions(m, [positive, negative])[0] for m in (lab.guided(model, mask), expected, model)
    )
    assert lab.difference(ours, theirs) < TOLERANCE
    assert lab.difference(plain, theirs) > MATTERS


@pytest.mark.parametrize("size", [(13, 19), (19, 13), (26, 38), (9, 9)])
def test_sizes_whose_latents_are_odd(lab: ModuleType, model: Any, size: tuple[int, int]) -> None:
    mask = lab.soft_mask(size[0] * 8, size[1] * 8)
    positive, negative = lab.conditioning(1, 5, 6), lab.conditioning(2)
    expected = lab.by_definition(model, lambda side, row: [([5, 6], mask[0])] if side == 0 else [])
    ours, theirs, plain = (
        lab.predictions(m, [positive, negative], size)[0] for m in (lab.guided(model, mask), expected, model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_second_sampler_on_another_size(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, 5, 6), lab.conditioning(2), lab.soft_mask()
    guided = lab.guided(model, mask)
    first = [lab.sample(guided, positive, negative, size) for size in ((16, 12), (24, 18), (16, 12))]
    fresh = lab.sample(lab.guided(model, mask), positive, negative, (24, 18))
    assert torch.equal(first[0], first[2]) and torch.equal(first[1], fresh)


def test_two_nodes_in_a_row_multiply_their_masks(lab: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1, 5, 6), lab.conditioning(2)
    one, other = lab.left_half(), 1 - torch.cat([lab.left_half(64), 1 - lab.left_half(64)], 1)
    both = lab.guided(lab.guided(model, one), other)
    swapped = lab.guided(lab.guided(model, other), one)
    ours = lab.predictions(both, [positive, negative])[0]
    assert lab.difference(ours, lab.predictions(swapped, [positive, negative])[0]) < TOLERANCE
    expected = lab.by_definition(model, lambda side, row: [([5, 6], one[0]), ([5, 6], other[0])] if side == 0 else [])
    assert lab.difference(ours, lab.predictions(expected, [positive, negative])[0]) < TOLERANCE
    single = lab.predictions(lab.guided(model, one), [positive, negative])[0]
    assert lab.difference(ours, single) > MATTERS
    assert len(both.get_wrappers("apply_model", "product_background")) == 1


def test_start_and_end(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, 5, 6), lab.conditioning(2), lab.left_half()
    stock = lab.sample(model, positive, negative, steps=4)
    whole = lab.sample(lab.guided(model, mask), positive, negative, steps=4)
    late = lab.guided(model, mask, start=0.99, end=1.0)
    early = lab.guided(model, mask, start=0.0, end=0.5)
    assert torch.equal(lab.predictions(late, [positive, negative])[0], lab.predictions(model, [positive, negative])[0])
    ours = lab.predictions(early, [positive, negative])[0]
    assert lab.difference(ours, lab.predictions(lab.guided(model, mask), [positive, negative])[0]) == 0
    result = lab.sample(early, positive, negative, steps=4)
    assert lab.difference(result, whole) > 10 * TOLERANCE and lab.difference(result, stock) > 10 * TOLERANCE


def test_mask_of_another_shape_is_refused(lab: ModuleType, model: Any) -> None:
    with pytest.raises(ProductBackgroundError, match="64x64 pixels, the latents are 12x16"):
        lab.sample(lab.guided(model, torch.zeros(1, 64, 64)), lab.conditioning(1, 5), lab.conditioning(2))


def test_masks_are_not_copied_by_later_nodes(lab: ModuleType, model: Any) -> None:
    """ModelPatcher.clone() deep-copies model_options: nothing of ours may lie there."""
    guided = lab.guided(model, lab.left_half())
    clone = guided.clone()
    (wrapper,) = clone.get_wrappers("apply_model", "product_background")
    (original,) = guided.get_wrappers("apply_model", "product_background")
    assert wrapper.__self__ is original.__self__
    assert guided.model_options == model.model_options
    assert copy.deepcopy(wrapper.__self__) is wrapper.__self__
    assert not any(wrapper_list for key, wrapper_list in model.wrappers.items()), (
        "the model before the node is as it was"
    )


def test_nothing_is_kept_after_a_run(lab: ModuleType, model: Any) -> None:
    guided = lab.guided(model, lab.left_half())
    lab.sample(guided, lab.conditioning(1, 5), lab.conditioning(2))
    director = guided.get_wrappers("apply_model", "product_background")[0].__self__
    assert not director._prepared and director._scene is None


def test_regions_are_made_once_for_all_steps(lab: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from product_background.bg_core import region_plan

    made: list[tuple[int, int]] = []
    average = region_plan.region_of

    def counted(mask: Any, height: int, width: int, box: Any = None) -> Any:
        made.append((height, width))
        return average(mask, height, width, box)

    monkeypatch.setattr(region_plan, "region_of", counted)
    counts = []
    for steps in (1, 5):
        made.clear()
        lab.sample(lab.guided(model, lab.soft_mask()), lab.conditioning(1, 5), lab.conditioning(2), steps=steps)
        counts.append(len(made))
    assert counts[0] == counts[1] > 0
    assert len(set(made)) >= 4


def test_patches_are_the_same_objects_in_every_step(lab: ModuleType, model: Any) -> None:
    seen: list[list[Any]] = []

    def note(executor: Any, *args: Any, **kwargs: Any) -> Any:
        options = next(value for value in args if isinstance(value, dict) and "patches_replace" in value)
        seen.append(list(options["patches_replace"]["attn2"].values()))
        return executor(*args, **kwargs)

    guided = lab.guided(model, lab.left_half())
    guided.add_wrapper("diffusion_model", note)
    lab.sample(guided, lab.conditioning(1, 5), lab.conditioning(2), steps=3)
    assert len(seen) == 3 and len(seen[0]) == lab.LAYERS
    assert all(one is other for step in seen[1:] for one, other in zip(seen[0], step, strict=True))


def test_other_models_are_refused_by_name(lab: ModuleType) -> None:
    from types import SimpleNamespace

    from product_background.nodes import attention_patch

    flux = SimpleNamespace(diffusion_model=torch.nn.Linear(2, 2))
    with pytest.raises(ProductBackgroundError, match=r"\(Linear\) has no cross-attention.*Stable Diffusion"):
        attention_patch.cross_attention_layers(flux)


def test_layers_are_found_in_the_order_they_run(lab: ModuleType, model: Any) -> None:
    from product_background.nodes import attention_patch

    layers = attention_patch.cross_attention_layers(model.model)
    assert len(layers) == lab.LAYERS
    seen = []

    def note(q: Any, k: Any, v: Any, options: dict[str, Any]) -> Any:
        seen.append((*options["block"], options["block_index"]))
        return q

    noting = model.clone()
    for part, number, _ in layers:
        noting.set_model_attn2_replace(note, part, number)
    lab.predictions(noting, [lab.conditioning(1), lab.conditioning(2)])
    assert tuple(seen[: lab.LAYERS]) == layers
