"""References without trained weights in ComfyUI's own samplers: equal to their definition, products left out."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]


@pytest.mark.parametrize(("references", "batch"), [(1, 1), (1, 2), (2, 2)])
def test_prediction_is_the_definitions(
    lab: ModuleType, selves: ModuleType, model: Any, references: int, batch: int
) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    guide = selves.guide_of(references, strength=0.7, mask=lab.soft_mask())
    ours, theirs, plain = (
        lab.predictions(m, texts, batch=batch)
        for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    assert lab.difference(plain[0], theirs[0]) > MATTERS
    assert lab.difference(ours[0], theirs[0]) < TOLERANCE
    assert lab.difference(ours[1], plain[1]) < TOLERANCE / 10


def test_places_of_the_product_are_left_out(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    whole, without = (
        lab.predictions(selves.styled(model, selves.guide_of(hole=hole)), texts)[0] for hole in (False, True)
    )
    assert lab.difference(whole, without) > 10 * TOLERANCE


def test_removed_node_and_end_of_the_run_leave_nothing(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    before = lab.sample(model, positive, negative)
    styled = selves.styled(model, selves.guide_of())
    assert lab.difference(lab.sample(styled, positive, negative), before) > MATTERS
    assert torch.equal(lab.sample(model, positive, negative), before)
    director = styled.get_wrappers("apply_model", "product_background")[0].__self__
    assert not director._prepared and director._guider is None


def test_with_mask_guided_attention_and_trained_references_in_any_order(
    lab: ModuleType, selves: ModuleType, model: Any
) -> None:
    from tests.host import style_lab

    texts, mask = [lab.conditioning(1, *PLACES), lab.conditioning(2)], lab.soft_mask()
    guide, reference = selves.guide_of(mask=mask), style_lab.Reference(model, mask)
    one = selves.styled(reference.styled(lab.guided(model, mask)), guide)
    other = lab.guided(reference.styled(selves.styled(model, guide)), mask)
    ours, theirs, less = (lab.predictions(m, texts)[0] for m in (one, other, reference.styled(model)))
    assert torch.equal(ours, theirs)
    assert lab.difference(ours, less) > MATTERS


def test_sides_run_apart_as_together(
    lab: ModuleType, selves: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    styled = selves.styled(model, selves.guide_of())
    together = lab.sample(styled, positive, negative)
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e30)
    assert lab.difference(together, lab.sample(styled, positive, negative)) < 10 * TOLERANCE


def test_start_and_end(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    late = selves.styled(model, selves.guide_of(start=0.99, end=1.0))
    stock = lab.predictions(model, [positive, negative])[0]
    assert torch.equal(lab.predictions(late, [positive, negative])[0], stock)
    early, whole, without = (
        lab.sample(m, positive, negative, steps=4)
        for m in (
            selves.styled(model, selves.guide_of(start=0.0, end=0.5)),
            selves.styled(model, selves.guide_of()),
            model,
        )
    )
    assert lab.difference(early, whole) > 10 * TOLERANCE and lab.difference(early, without) > 10 * TOLERANCE


@pytest.mark.parametrize(("size", "reference"), [((13, 19), (12, 12)), ((16, 12), (9, 14)), ((9, 9), (15, 11))])
def test_odd_sizes_of_picture_and_reference_are_the_definitions(
    lab: ModuleType, selves: ModuleType, model: Any, size: tuple[int, int], reference: tuple[int, int]
) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    guide = selves.guide_of(size=reference, mask=lab.soft_mask(size[0] * 8, size[1] * 8))
    ours, theirs, plain = (
        lab.predictions(m, texts, size)[0]
        for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_inpainting_model_knows_all_of_the_reference(lab: ModuleType, selves: ModuleType) -> None:
    model = lab.new_model(in_channels=9)
    model.model.set_inpaint()
    texts, guide = [lab.conditioning(1), lab.conditioning(2)], selves.guide_of(2, mask=lab.soft_mask())
    ours, theirs, plain = (
        lab.predictions(m, texts, batch=2)[0]
        for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_what_a_text_says_beside_its_tokens_is_read_too(lab: ModuleType, selves: ModuleType) -> None:
    """Stable Diffusion XL's pooled text and sizes; each positive's reference is read with its own."""
    import comfy.model_base

    model = lab.new_model(family=comfy.model_base.SDXL, adm_in_channels=2816, num_classes="sequential")
    entries, negative = lab.conditioning(1) + lab.conditioning(3), lab.conditioning(2)
    for number, (_, extra) in enumerate(entries + negative):
        extra["pooled_output"] = torch.randn(1, 1280, generator=torch.Generator().manual_seed(number))
    guide = selves.guide_of(2, mask=lab.soft_mask())
    ours, theirs, plain = (
        lab.predictions(m, [entries, negative], batch=2)[0]
        for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


def test_models_that_read_something_else_are_refused(lab: ModuleType, selves: ModuleType) -> None:
    """InstructPix2Pix has channels for a picture to edit, which a reference hasn't."""
    model = lab.new_model(in_channels=8)
    with pytest.raises(ProductBackgroundError, match=r"reads 8 channels.*a reference has 4"):
        lab.predictions(selves.styled(model, selves.guide_of()), [lab.conditioning(1), lab.conditioning(2)])


def test_perturbed_attention_guidance_keeps_its_own_patch(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    positive, negative, guide = lab.conditioning(1), lab.conditioning(2), selves.guide_of()
    before, after, alone = (
        lab.sample(m, positive, negative)
        for m in (
            selves.styled(PerturbedAttentionGuidance.execute(model, 3.0).args[0], guide),
            PerturbedAttentionGuidance.execute(selves.styled(model, guide), 3.0).args[0],
            selves.styled(model, guide),
        )
    )
    assert torch.equal(before, after)
    assert lab.difference(before, alone) > 10 * TOLERANCE


def tome(model: Any) -> Any:
    from comfy_extras.nodes_tomesd import TomePatchModel

    return TomePatchModel.execute(model, 0.5).args[0]


def hyper_tile(model: Any) -> Any:
    from comfy_extras.nodes_hypertile import HyperTile

    return HyperTile.execute(model, 256, 1, 0, False)[0]


@pytest.mark.parametrize("peer", [tome, hyper_tile], ids=lambda peer: peer.__name__)
def test_merged_and_cut_places_are_refused_by_name(lab: ModuleType, selves: ModuleType, model: Any, peer: Any) -> None:
    texts, guide = [lab.conditioning(1), lab.conditioning(2)], selves.guide_of()
    for together in (peer(selves.styled(model, guide)), selves.styled(peer(model), guide)):
        with pytest.raises(ProductBackgroundError, match=r"Apply Style Reference expected 2 rows of 4096.*HyperTile"):
            lab.predictions(together, texts, (64, 64))
