"""Mask-guided attention beside what else users hang on a model: order doesn't matter, and nobody's work is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]

Patch = Callable[[Any], Any]


def compare(lab: ModuleType, model: Any, peer: Patch, mask: torch.Tensor, batch: int = 1) -> None:
    """Peer before and after our node, and both against the definition with the peer on it."""
    texts = [lab.conditioning(1, *PLACES), lab.conditioning(2)]
    defined = lab.by_definition(model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])
    stock, alone, before, after, expected = (
        lab.predictions(m, texts, batch=batch)
        for m in (
            model,
            peer(model),
            lab.guided(peer(model), mask),
            peer(lab.guided(model, mask)),
            peer(defined),
        )
    )
    for side in (0, 1):
        assert lab.difference(alone[side], stock[side]) > MATTERS, "the peer does nothing here"
        assert lab.difference(before[side], expected[side]) < TOLERANCE
        assert torch.equal(before[side], after[side])
    assert lab.difference(alone[0], expected[0]) > MATTERS, "our node does nothing here"


def lora(model: Any) -> Any:
    import comfy.sd

    generator = torch.Generator().manual_seed(7)
    weights = {}
    for name, weight in model.model.state_dict().items():
        if "attn2.to_" in name and name.endswith("weight"):
            key = "lora_unet_" + name.removeprefix("diffusion_model.").removesuffix(".weight").replace(".", "_")
            weights[f"{key}.lora_up.weight"] = torch.randn(weight.shape[0], 4, generator=generator) * 0.2
            weights[f"{key}.lora_down.weight"] = torch.randn(4, weight.shape[1], generator=generator) * 0.2
    return comfy.sd.load_lora_for_models(model, None, weights, 1.0, 0.0)[0]


def free_u(model: Any) -> Any:
    from comfy_extras.nodes_freelunch import FreeU

    return FreeU().patch(model, 1.3, 1.4, 0.9, 0.2)[0]


def deep_shrink(model: Any) -> Any:
    """It changes the size of the layers in the middle of the model, in some steps."""
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale

    return PatchModelAddDownscale.execute(model, 3, 1.7, 0.0, 0.35, True, "bicubic", "bicubic").args[0]


@pytest.mark.parametrize("peer", [lora, free_u, deep_shrink], ids=lambda peer: peer.__name__)
def test_stock_nodes_before_and_after(lab: ModuleType, model: Any, peer: Patch) -> None:
    compare(lab, model, peer, lab.soft_mask())


def test_perturbed_attention_guidance(lab: ModuleType, model: Any) -> None:
    """It runs the positive a second time from inside a step."""
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    positive, negative, mask = lab.conditioning(1, *PLACES), lab.conditioning(2), lab.soft_mask()

    def pag(model: Any) -> Any:
        return PerturbedAttentionGuidance.execute(model, 3.0).args[0]

    defined = lab.by_definition(model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])
    before, after, expected, stock = (
        lab.sample(m, positive, negative)
        for m in (lab.guided(pag(model), mask), pag(lab.guided(model, mask)), pag(defined), pag(model))
    )
    assert torch.equal(before, after)
    assert lab.difference(stock, expected) > 10 * TOLERANCE
    assert lab.difference(before, expected) < TOLERANCE


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_ipadapter_in_both_orders(lab: ModuleType, peers: ModuleType, model: Any, which: str, batch: int) -> None:
    """The output is IPAdapter's, computed with the tensors it knows, plus the difference that the masks make."""
    if which == "real" and peers.IPADAPTER not in os.environ:
        pytest.skip(f"{peers.IPADAPTER} names no checkout of IPAdapter_plus")
    apply = peers.stand_in_ipadapter if which == "stand-in" else peers.real_ipadapter
    adapter = peers.ImageAdapter(model.model.diffusion_model, lab.WIDTH)
    texts, mask = [lab.conditioning(1, *PLACES), lab.conditioning(2)], lab.soft_mask()

    def peer(model: Any) -> Any:
        return apply(model, adapter, 0.7)

    stock, alone, before, after = (
        lab.predictions(m, texts, batch=batch)
        for m in (model, peer(model), lab.guided(peer(model), mask), peer(lab.guided(model, mask)))
    )
    twice = peer(lab.guided(peer(model), mask))  # IPAdapter adds to the object that it finds in the slot
    expected = with_difference(lab, peer(model), mask)
    wanted = lab.predictions(expected, texts, batch=batch)
    for side in (0, 1):
        assert torch.equal(before[side], after[side])
        assert lab.difference(before[side], wanted[side]) < TOLERANCE
    assert lab.difference(alone[0], stock[0]) > MATTERS
    assert lab.difference(alone[0], wanted[0]) > MATTERS
    again = lab.predictions(with_difference(lab, peer(peer(model)), mask), texts, batch=batch)
    assert lab.difference(lab.predictions(twice, texts, batch=batch)[0], again[0]) < TOLERANCE


def with_difference(lab: ModuleType, peer_model: Any, mask: torch.Tensor) -> Any:
    """The peer's patches, each with the definition less the plain attention added by hand."""
    from comfy.ldm.modules.attention import optimized_attention

    defined = lab.by_definition(peer_model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])
    slots = defined.model_options["transformer_options"]["patches_replace"]["attn2"]
    theirs = peer_model.model_options["transformer_options"]["patches_replace"]["attn2"]

    def both(definition: Any, patch: Any) -> Any:
        def attend(q: Any, k: Any, v: Any, options: dict[str, Any]) -> Any:
            plain = optimized_attention(q, k, v, options["n_heads"])
            return patch(q, k, v, options) + definition(q, k, v, options) - plain

        return attend

    for key, definition in slots.items():
        slots[key] = both(definition, theirs[key]) if key in theirs else definition
    return defined


@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_attention_couple_is_refused_by_name(lab: ModuleType, peers: ModuleType, model: Any, which: str) -> None:
    """Its further texts come past the sampler: where their identifiers stand can't be known."""
    if which == "real" and peers.PPM not in os.environ:
        pytest.skip(f"{peers.PPM} names no checkout of ComfyUI-ppm")
    masks = torch.cat([lab.left_half(), 1 - lab.left_half()])
    positive, negative, further = lab.conditioning(1, *PLACES), lab.conditioning(2), lab.conditioning(3)[0][0]

    # Keys and values come projected later: a couple works on contexts.
    def couple(model: Any, base: Any) -> Any:
        if which == "real":
            return peers.real_couple(model, base, [further], masks)
        return peers.stand_in_couple(model, [further], masks)

    for coupled in (couple(lab.guided(model, masks[:1]), positive), lab.guided(couple(model, positive), masks[:1])):
        with pytest.raises(ProductBackgroundError, match=r"3 rows .*attention couple \(PPM"):
            lab.predictions(coupled, [positive, negative])
    plain = lab.conditioning(1)
    ours, theirs = (
        lab.predictions(m, [plain, negative])
        for m in (couple(lab.guided(model, masks[:1]), plain), couple(model, plain))
    )
    assert torch.equal(ours[0], theirs[0]), "without an identifier there is nothing to refuse"
    assert lab.difference(theirs[0], lab.predictions(model, [plain, negative])[0]) > MATTERS


def test_negpip_is_refused_by_name(lab: ModuleType, peers: ModuleType, model: Any) -> None:
    positive = lab.conditioning(1, *PLACES)
    doubled = [[positive[0][0].repeat_interleave(2, 1), positive[0][1]]]
    negative = lab.conditioning(2, length=154)
    guided = lab.guided(peers.stand_in_negpip(model), lab.left_half())
    with pytest.raises(ProductBackgroundError, match="NegPip halves the tokens"):
        lab.predictions(guided, [doubled, negative])


def test_tiled_diffusion_is_refused_by_name(lab: ModuleType, model: Any) -> None:
    """Wrappers of the whole model that run it on tiles: rows and places would not be what the masks are for."""

    def tiles(apply: Any, call: dict[str, Any]) -> Any:
        halves = [apply(part, call["timestep"], **call["c"]) for part in call["input"].chunk(2, dim=2)]
        return torch.cat(halves, 2)

    tiled = lab.guided(model, lab.left_half())
    tiled.set_model_unet_function_wrapper(tiles)
    with pytest.raises(ProductBackgroundError, match=r"\(16, 12\).*2 of \(8, 12\).*tiled diffusion"):
        lab.predictions(tiled, [lab.conditioning(1, *PLACES), lab.conditioning(2)])


def test_another_attention_function_is_used_and_never_sees_our_masks(lab: ModuleType, model: Any) -> None:
    """Nodes that select Sage attention and the like, whose kernels refuse or drop masks."""
    seen: list[bool] = []

    def override(function: Any, q: Any, k: Any, v: Any, heads: int, mask: Any = None, **kwargs: Any) -> Any:
        seen.append(mask is None)
        return function(q, k, v, heads, **kwargs) * 1.5

    def selected(model: Any) -> Any:
        patched = model.clone()
        patched.model_options["transformer_options"]["optimized_attention_override"] = override
        return patched

    texts, mask = [lab.conditioning(1, *PLACES), lab.conditioning(2)], lab.soft_mask()
    before, after = (
        lab.predictions(m, texts) for m in (lab.guided(selected(model), mask), selected(lab.guided(model, mask)))
    )
    assert torch.equal(before[0], after[0])
    assert len(seen) == 2 * 2 * lab.LAYERS and all(seen)  # two models, self- and cross-attention
    alone = lab.predictions(selected(model), texts)
    assert lab.difference(before[0], alone[0]) > MATTERS
    assert lab.difference(before[1], alone[1]) < TOLERANCE


def test_partly_offloaded_model(lab: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights that stay in main memory are cast when a layer runs."""
    positive, negative, mask = lab.conditioning(1, *PLACES), lab.conditioning(2), lab.soft_mask()
    expected = lab.predictions(lab.guided(model, mask), [positive, negative])
    reference = lab.predictions(lora(lab.guided(model, mask)), [positive, negative])
    guided = lab.half_loaded(lora(lab.guided(lab.new_model(), mask)), monkeypatch)
    ours = lab.predictions(guided, [positive, negative])
    assert lab.difference(ours[0], reference[0]) < TOLERANCE
    assert lab.difference(ours[0], expected[0]) > MATTERS


def test_half_precision(lab: ModuleType, model: Any) -> None:
    positive, negative, mask = lab.conditioning(1, *PLACES), lab.conditioning(2), lab.soft_mask()
    cast = lab.guided(model, mask)
    cast.set_model_compute_dtype(torch.bfloat16)
    plain = model.clone()
    plain.set_model_compute_dtype(torch.bfloat16)
    exact, stock = (
        lab.predictions(lab.guided(model, mask), [positive, negative]),
        lab.predictions(model, [positive, negative]),
    )
    ours, theirs = lab.predictions(cast, [positive, negative]), lab.predictions(plain, [positive, negative])
    noise = float((theirs[0] - stock[0]).std())
    assert noise > 0, "the precision is the same"
    assert float((ours[0] - exact[0]).std()) < 2 * noise
    lab.predictions(model, [positive, negative])  # moves the weights' precision back for the tests after this one


def test_precision_that_a_model_asks_for_is_kept(lab: ModuleType) -> None:
    """Stable Diffusion 2 overflows in half precision: its attention is computed in float32, with a bias too."""
    from product_background.bg_core.region_attention import region_attention
    from product_background.bg_core.region_plan import Chunk, Guide, Plan, TokenGroups
    from product_background.nodes.guided_attention import GuidedAttention

    groups = TokenGroups(77, (("identifier", tuple(PLACES)),))
    guides = [Guide({"identifier": lab.soft_mask()})]
    plan = Plan([Chunk(groups, 77)], 1, 77, guides, (16, 12), (16, 12), torch.float16)
    q, k, v = (torch.randn(1, places, 32, dtype=torch.float16) * 300 for places in (192, 77, 77))
    options = {"activations_shape": [1, 32, 16, 12], "n_heads": 2, "attn_precision": torch.float32}
    ours = GuidedAttention(plan, ("input", 1, 0), None, None, ())(q, k, v, options)
    expected = region_attention(q.float(), k.float(), v.float(), 2, plan.at(16, 12)[0].float())
    assert ours.dtype == torch.float16
    torch.testing.assert_close(ours.float(), expected, atol=0.3, rtol=1e-3)
