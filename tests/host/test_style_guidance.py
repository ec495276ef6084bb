"""Style references in ComfyUI's own samplers: equal to their definition, and to nothing where they must do nothing."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

TOLERANCE = 1e-4  # in standard deviations
MATTERS = 1e-2
PLACES = [5, 6, 7]


def test_prediction_is_the_definitions(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    texts, reference = [lab.conditioning(1), lab.conditioning(2)], styles.Reference(model, lab.soft_mask())
    plain, ours, theirs = (
        lab.predictions(m, texts)
        for m in (model, reference.styled(model), styles.by_definition(model, styles.on_positive(reference)))
    )
    assert lab.difference(plain[0], theirs[0]) > MATTERS
    assert lab.difference(ours[0], theirs[0]) < TOLERANCE
    assert lab.difference(ours[1], plain[1]) < TOLERANCE / 10, "no reference acts on the negative"


def test_strength_0_and_the_removed_node_are_stock_bit_for_bit(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    reference = styles.Reference(model)
    before = lab.sample(model, positive, negative)
    assert lab.difference(lab.sample(reference.styled(model), positive, negative), before) > MATTERS
    nothing = reference.styled(model, {"style": 0.0, "layout": 0.0, "elements": 0.0})
    assert torch.equal(lab.sample(nothing, positive, negative), before)
    assert torch.equal(lab.sample(model, positive, negative), before)


@pytest.mark.parametrize("batch", [1, 2])
def test_with_mask_guided_attention_in_both_orders(lab: ModuleType, styles: ModuleType, model: Any, batch: int) -> None:
    texts, mask = [lab.conditioning(1, *PLACES), lab.conditioning(2)], lab.soft_mask()
    reference = styles.Reference(model, mask)
    before, after = (
        lab.predictions(m, texts, batch=batch)
        for m in (lab.guided(reference.styled(model), mask), reference.styled(lab.guided(model, mask)))
    )
    guided = lab.by_definition(model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])
    expected = lab.predictions(styles.by_definition(guided, styles.on_positive(reference)), texts, batch=batch)
    for side in (0, 1):
        assert torch.equal(before[side], after[side])
        assert lab.difference(before[side], expected[side]) < TOLERANCE
    alone = lab.predictions(reference.styled(model), texts, batch=batch)
    assert lab.difference(alone[0], expected[0]) > MATTERS
    both = reference.styled(lab.guided(model, mask))
    assert len(both.get_wrappers("apply_model", "product_background")) == 1


def test_two_references_in_two_regions_add_up(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    texts, left = [lab.conditioning(1), lab.conditioning(2)], lab.left_half()
    one, other = styles.Reference(model, left, seed=9), styles.Reference(model, 1 - left, seed=10)
    ours, swapped = (
        lab.predictions(m, texts)[0] for m in (other.styled(one.styled(model)), one.styled(other.styled(model)))
    )
    expected = lab.predictions(styles.by_definition(model, styles.on_positive(one, other)), texts)[0]
    assert lab.difference(ours, expected) < TOLERANCE
    assert lab.difference(swapped, expected) < TOLERANCE
    assert lab.difference(lab.predictions(one.styled(model), texts)[0], expected) > MATTERS


def test_a_reference_for_each_picture(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    masks = torch.cat([lab.left_half(), lab.soft_mask()])
    reference = styles.Reference(model, masks, references=2)
    expected = styles.by_definition(model, styles.on_positive(reference))
    for batch in (2, 4):
        ours, theirs = (lab.predictions(m, texts, batch=batch)[0] for m in (reference.styled(model), expected))
        assert lab.difference(ours, theirs) < TOLERANCE
    with pytest.raises(ProductBackgroundError, match="reference is a batch of 2, the latents a batch of 3"):
        lab.predictions(reference.styled(model), texts, batch=3)


@pytest.mark.parametrize("size", [(13, 19), (9, 9)])
def test_sizes_whose_latents_are_odd(lab: ModuleType, styles: ModuleType, model: Any, size: tuple[int, int]) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    reference = styles.Reference(model, lab.soft_mask(size[0] * 8, size[1] * 8))
    expected = styles.by_definition(model, styles.on_positive(reference))
    ours, theirs = (lab.predictions(m, texts, size)[0] for m in (reference.styled(model), expected))
    assert lab.difference(ours, theirs) < TOLERANCE


def test_area_conditionings_get_their_part_of_mask_and_places(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    (text,), negative = lab.conditioning(1), lab.conditioning(2)
    positive = [[text[0], {**text[1], "area": (8, 8, 4, 2), "strength": 1.0}]]
    reference, box = styles.Reference(model, lab.soft_mask()), (4 / 16, 2 / 12, 12 / 16, 10 / 12)
    part = reference.mask[0, 32:96, 16:80]
    expected = styles.by_definition(model, lambda side, row: [(reference, part, box)] if side == 0 else [])
    ours, theirs, plain = (
        lab.predictions(m, [positive, negative])[0] for m in (reference.styled(model), expected, model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_several_positives_and_masked_ones(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    negative, styled = lab.conditioning(2), styles.Reference(model, lab.soft_mask()).styled(model)
    entries = lab.conditioning(1) + lab.conditioning(3, 9) + lab.conditioning(4)
    together = lab.predictions(styled, [entries, negative])[0]
    alone = [lab.predictions(styled, [[entry], negative])[0] for entry in entries]
    assert lab.difference(together, torch.stack(alone).mean(0)) < TOLERANCE
    half = lab.left_half(16, 12)
    masked = [[entries[0][0], {**entries[0][1], "mask": half, "mask_strength": 1.0, "set_area_to_bounds": False}]]
    rest = [[entries[2][0], {**entries[2][1], "mask": 1 - half, "mask_strength": 1.0, "set_area_to_bounds": False}]]
    ours = lab.predictions(styled, [masked + rest, negative])[0]
    assert lab.difference(ours, half[:, None] * alone[0] + (1 - half[:, None]) * alone[2]) < TOLERANCE


def test_sides_run_apart_as_together(
    lab: ModuleType, styles: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    styled = styles.Reference(model).styled(model)
    together = lab.sample(styled, positive, negative)
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e30)
    assert lab.difference(together, lab.sample(styled, positive, negative)) < TOLERANCE


def test_longer_negative_and_second_sampler(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    positive, styled = lab.conditioning(1), styles.Reference(model, lab.soft_mask()).styled(model)
    short, long = (lab.predictions(styled, [positive, lab.conditioning(2, length=n)])[0] for n in (77, 154))
    assert lab.difference(short, long) < TOLERANCE
    first = [lab.sample(styled, positive, lab.conditioning(2), size) for size in ((16, 12), (24, 18), (16, 12))]
    assert torch.equal(first[0], first[2])


def test_start_and_end(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    stock, whole, early = (
        lab.sample(m, positive, negative, steps=4)
        for m in (
            model,
            styles.Reference(model).styled(model),
            styles.Reference(model, start=0.0, end=0.5).styled(model),
        )
    )
    assert lab.difference(early, whole) > 10 * TOLERANCE and lab.difference(early, stock) > 10 * TOLERANCE
    late = styles.Reference(model, start=0.99, end=1.0).styled(model)
    assert torch.equal(lab.predictions(late, [positive, negative])[0], lab.predictions(model, [positive, negative])[0])


def test_guiders_that_put_the_positive_elsewhere(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    """DualCFGGuider asks for the negative first; PerpNegGuider for a second, empty negative."""
    import comfy_extras.nodes_custom_sampler as stock
    from comfy_extras.nodes_perpneg import Guider_PerpNeg

    reference, positive, negative = styles.Reference(model), lab.conditioning(1), lab.conditioning(2)
    for kind, sides in ((stock.Guider_DualCFG, (positive, positive, negative)), (Guider_PerpNeg, None)):

        def run(patched: Any, kind: Any = kind, sides: Any = sides) -> torch.Tensor:
            guider = kind(patched)
            if sides:
                guider.set_conds(*sides)
                guider.set_cfg(3.0, 2.0)
            else:
                guider.set_conds(positive, negative, negative)
                guider.set_cfg(3.0, 1.0)
            latent = torch.zeros(1, 4, 16, 12)
            noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(0))
            sampler = lab.comfy.samplers.KSampler(patched, steps=2, device="cpu", sampler="euler", scheduler="normal")
            euler = lab.comfy.samplers.ksampler("euler")
            return guider.sample(noise, latent, euler, sampler.sigmas, disable_pbar=True, seed=0)

        def rows(side: int, row: int, kind: Any = kind) -> Any:
            acts = side != 0 if kind is stock.Guider_DualCFG else side == 0
            return [(reference, None, styles.WHOLE)] if acts else []

        ours, expected = run(reference.styled(model)), run(styles.by_definition(model, rows))
        assert lab.difference(ours, run(model)) > MATTERS, kind
        assert lab.difference(ours, expected) < 10 * TOLERANCE, kind


def test_keys_are_made_once_a_run_and_nothing_is_kept(
    lab: ModuleType, styles: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from product_background.bg_core import style_plan

    made: list[int] = []
    make = style_plan.layer_keys

    def counted(*args: Any) -> Any:
        made.append(1)
        return make(*args)

    monkeypatch.setattr(style_plan, "layer_keys", counted)
    styled = styles.Reference(model).styled(model)
    lab.sample(styled, lab.conditioning(1), lab.conditioning(2), steps=4)
    assert len(made) == lab.LAYERS
    director = styled.get_wrappers("apply_model", "product_background")[0].__self__
    assert not director._keys and not director._prepared and director._scene is None and director._guider is None


def test_weights_are_registered_with_the_host_once(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    reference = styles.Reference(model)
    twice = lab.guided(reference.styled(reference.styled(model)), lab.left_half())
    assert [patcher.model for patcher in twice.get_additional_models()] == [reference.adapter]
    assert not model.get_additional_models()


def test_patches_are_the_same_objects_in_every_step(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    seen: list[list[Any]] = []

    def note(executor: Any, *args: Any, **kwargs: Any) -> Any:
        options = next(value for value in args if isinstance(value, dict) and "patches_replace" in value)
        seen.append(list(options["patches_replace"]["attn2"].values()))
        return executor(*args, **kwargs)

    styled = styles.Reference(model).styled(model)
    styled.add_wrapper("diffusion_model", note)
    lab.sample(styled, lab.conditioning(1), lab.conditioning(2), steps=3)
    assert len(seen) == 3 and len(seen[0]) == lab.LAYERS
    assert all(one is other for step in seen[1:] for one, other in zip(seen[0], step, strict=True))
