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


@pytest.fixture(scope="module")
def patch(lab: ModuleType) -> ModuleType:
    from product_background.nodes import attention_patch

    return attention_patch


def guide_of(lab: ModuleType, references: int = 1, hole: bool = True, seed: int = 6, **settings: Any) -> Any:
    from product_background.bg_core.self_reference import SelfGuide

    generator = torch.Generator().manual_seed(seed)
    where = torch.zeros(references, 96, 96)
    for i in range(references if hole else 0):
        where[i, 32 : 64 + 8 * i, 32:64] = 1
    return SelfGuide(torch.randn(references, 4, 12, 12, generator=generator), where, **settings)


def by_definition(lab: ModuleType, model: Any, guide: Any) -> Any:
    """The reference's hidden states recorded by stock means at the first step's noise, and joined by hand."""
    from product_background.bg_core.regions import region_of
    from product_background.nodes import unet_layers

    kept: dict[Any, tuple[torch.Tensor, torch.Tensor]] = {}
    layers = unet_layers.cross_attention_layers(model.model)

    def recorder(layer: Any) -> Any:
        def attend(q: Any, k: Any, v: Any, options: dict[str, Any]) -> Any:
            kept[layer] = k, v
            return softmax(q, k, v, options["n_heads"])

        return attend

    def softmax(q: Any, k: Any, v: Any, heads: int) -> Any:
        q, k, v = (t.double().unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(2).float()

    def joined(layer: Any) -> Any:
        def attend(q: Any, k: Any, v: Any, options: dict[str, Any]) -> Any:
            sides, size = options["cond_or_uncond"], tuple(options["activations_shape"][-2:])
            batch, heads = len(q) // len(sides), options["n_heads"]
            out = softmax(q, k, v, heads)
            k_ref, v_ref = kept[layer]
            side = round((k_ref.shape[1]) ** 0.5)
            for i in range(len(q)):
                if sides[i // batch] == 0:
                    of = (i % batch) % len(k_ref)
                    clear = region_of(guide.hole[of : of + 1], side, side)[0] == 0
                    row = slice(i, i + 1)
                    both = (torch.cat([t[row], r[of : of + 1, clear]], 1) for t, r in ((k, k_ref), (v, v_ref)))
                    change = (softmax(q[row], *both, heads) - out[row]) * guide.strength
                    if guide.mask is not None:
                        change = change * lab.area_means(guide.mask[i % batch % len(guide.mask)], *size)[:, None]
                    out[row] = out[row] + change
            return out

        return attend

    def run_first(executor: Any, x: Any, t: Any, c_concat: Any, c_crossattn: Any, *rest: Any, **more: Any) -> Any:
        inner = executor.class_obj
        noise = torch.randn(guide.latents.shape, generator=torch.Generator().manual_seed(0))
        sides = rest[1]["cond_or_uncond"]
        first = sides.index(0) * (len(x) // len(sides))
        noisy = inner.model_sampling.noise_scaling(t[:1].view(1, 1, 1, 1), noise, guide.latents)
        count = len(noisy)
        options = {"patches_replace": {"attn1": {layer: recorder(layer) for layer in layers}}}
        inner._apply_model(noisy, t[:1].expand(count), None, c_crossattn[first : first + 1].expand(count, -1, -1),
                           transformer_options=options)  # fmt: skip
        return executor(x, t, c_concat, c_crossattn, *rest, **more)

    defined = model.clone()
    for layer in layers:
        defined.set_model_attn1_replace(joined(layer), *layer[:2])
    defined.add_wrapper("apply_model", run_first)
    return defined


@pytest.mark.parametrize(("references", "batch"), [(1, 1), (1, 2), (2, 2)])
def test_prediction_is_the_definitions(
    lab: ModuleType, patch: ModuleType, model: Any, references: int, batch: int
) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    guide = guide_of(lab, references, strength=0.7, mask=lab.soft_mask())
    ours, theirs, plain = (
        lab.predictions(m, texts, batch=batch)
        for m in (patch.styled(model, guide), by_definition(lab, model, guide), model)
    )
    assert lab.difference(plain[0], theirs[0]) > MATTERS
    assert lab.difference(ours[0], theirs[0]) < TOLERANCE
    assert lab.difference(ours[1], plain[1]) < TOLERANCE / 10


def test_places_of_the_product_are_left_out(lab: ModuleType, patch: ModuleType, model: Any) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    whole, without = (
        lab.predictions(patch.styled(model, guide_of(lab, hole=hole)), texts)[0] for hole in (False, True)
    )
    assert lab.difference(whole, without) > 10 * TOLERANCE


def test_removed_node_and_end_of_the_run_leave_nothing(lab: ModuleType, patch: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    before = lab.sample(model, positive, negative)
    styled = patch.styled(model, guide_of(lab))
    assert lab.difference(lab.sample(styled, positive, negative), before) > MATTERS
    assert torch.equal(lab.sample(model, positive, negative), before)
    director = styled.get_wrappers("apply_model", "product_background")[0].__self__
    assert not director._prepared and director._guider is None


def test_with_mask_guided_attention_and_trained_references_in_any_order(
    lab: ModuleType, patch: ModuleType, model: Any
) -> None:
    from tests.host import style_lab

    texts, mask = [lab.conditioning(1, *PLACES), lab.conditioning(2)], lab.soft_mask()
    guide, reference = guide_of(lab, mask=mask), style_lab.Reference(model, mask)
    one = patch.styled(reference.styled(lab.guided(model, mask)), guide)
    other = lab.guided(reference.styled(patch.styled(model, guide)), mask)
    ours, theirs, less = (lab.predictions(m, texts)[0] for m in (one, other, reference.styled(model)))
    assert torch.equal(ours, theirs)
    assert lab.difference(ours, less) > MATTERS


def test_sides_run_apart_as_together(
    lab: ModuleType, patch: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    styled = patch.styled(model, guide_of(lab))
    together = lab.sample(styled, positive, negative)
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e30)
    assert lab.difference(together, lab.sample(styled, positive, negative)) < 10 * TOLERANCE


def test_start_and_end_and_odd_sizes(lab: ModuleType, patch: ModuleType, model: Any) -> None:
    texts = [lab.conditioning(1), lab.conditioning(2)]
    late = patch.styled(model, guide_of(lab, start=0.99, end=1.0))
    assert torch.equal(lab.predictions(late, texts)[0], lab.predictions(model, texts)[0])
    odd = lab.predictions(patch.styled(model, guide_of(lab)), texts, (13, 19))[0]
    assert lab.difference(odd, lab.predictions(model, texts, (13, 19))[0]) > MATTERS


def test_perturbed_attention_guidance_keeps_its_own_patch(lab: ModuleType, patch: ModuleType, model: Any) -> None:
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    positive, negative, guide = lab.conditioning(1), lab.conditioning(2), guide_of(lab)
    before, after, alone = (
        lab.sample(m, positive, negative)
        for m in (
            patch.styled(PerturbedAttentionGuidance.execute(model, 3.0).args[0], guide),
            PerturbedAttentionGuidance.execute(patch.styled(model, guide), 3.0).args[0],
            patch.styled(model, guide),
        )
    )
    assert torch.equal(before, after)
    assert lab.difference(before, alone) > 10 * TOLERANCE


def test_merged_tokens_are_refused_by_name(lab: ModuleType, patch: ModuleType, model: Any) -> None:
    merged = patch.styled(model, guide_of(lab))
    merged.set_model_attn1_patch(lambda n, k, v, options: (n[:, ::2], k, v))
    with pytest.raises(ProductBackgroundError, match="token merging"):
        lab.predictions(merged, [lab.conditioning(1), lab.conditioning(2)])
