"""Style references beside what else users hang on a model: order doesn't matter, and nobody's work is lost."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

from tests.host.test_attention_peers import deep_shrink, free_u, lora

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]

Patch = Callable[[Any], Any]


def compare(lab: ModuleType, styles: ModuleType, model: Any, peer: Patch, batch: int = 1) -> None:
    """The peer before and after our node, and both against the definition with the peer on it."""
    texts, reference = [lab.conditioning(1), lab.conditioning(2)], styles.Reference(model, lab.soft_mask())
    alone, before, after = (
        lab.predictions(m, texts, batch=batch)
        for m in (peer(model), reference.styled(peer(model)), peer(reference.styled(model)))
    )
    # patches in the slots are the peer's own first: the definition stands around them
    expected = lab.predictions(styles.by_definition(peer(model), styles.on_positive(reference)), texts, batch=batch)
    for side in (0, 1):
        assert torch.equal(before[side], after[side])
        assert lab.difference(before[side], expected[side]) < TOLERANCE
    assert lab.difference(alone[0], expected[0]) > MATTERS, "our node does nothing here"


@pytest.mark.parametrize("peer", [lora, free_u, deep_shrink], ids=lambda peer: peer.__name__)
def test_stock_nodes_before_and_after(lab: ModuleType, styles: ModuleType, model: Any, peer: Patch) -> None:
    compare(lab, styles, model, peer)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_ipadapter_in_both_orders(
    lab: ModuleType, styles: ModuleType, peers: ModuleType, model: Any, which: str, batch: int
) -> None:
    if which == "real" and peers.IPADAPTER not in os.environ:
        pytest.skip(f"{peers.IPADAPTER} names no checkout of IPAdapter_plus")
    apply = peers.stand_in_ipadapter if which == "stand-in" else peers.real_ipadapter
    adapter = peers.ImageAdapter(model.model.diffusion_model, lab.WIDTH)
    compare(lab, styles, model, lambda m: apply(m, adapter, 0.7), batch)


def test_controlnet(lab: ModuleType, styles: ModuleType, model: Any, control: Any) -> None:
    """The ControlNet reads the text alone, and what it adds and what the reference adds meet in the UNet."""
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    sides = [lab.controlled(positive, control), lab.controlled(negative, control)]
    reference = styles.Reference(model, lab.soft_mask())
    ours = lab.predictions(reference.styled(model), sides)
    assert any(torch.equal(row, positive[0][0][0]) for row in control.texts[0])
    expected = lab.predictions(styles.by_definition(model, styles.on_positive(reference)), sides)
    alone, plain = lab.predictions(reference.styled(model), [positive, negative]), lab.predictions(model, sides)
    assert all(lab.difference(found, wanted) < TOLERANCE for found, wanted in zip(ours, expected, strict=True))
    assert lab.difference(ours[0], alone[0]) > MATTERS and lab.difference(ours[0], plain[0]) > MATTERS


def test_perturbed_attention_guidance(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    """It runs the positive a second time from inside a step; the reference acts there, too."""
    from comfy_extras.nodes_pag import PerturbedAttentionGuidance

    def pag(model: Any) -> Any:
        return PerturbedAttentionGuidance.execute(model, 3.0).args[0]

    positive, negative, reference = lab.conditioning(1), lab.conditioning(2), styles.Reference(model, lab.soft_mask())
    defined = styles.by_definition(model, styles.on_positive(reference))
    before, after, expected, stock = (
        lab.sample(m, positive, negative)
        for m in (reference.styled(pag(model)), pag(reference.styled(model)), pag(defined), pag(model))
    )
    assert torch.equal(before, after)
    assert lab.difference(stock, expected) > 10 * TOLERANCE
    assert lab.difference(before, expected) < 10 * TOLERANCE


@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_attention_couple_is_refused_by_name(
    lab: ModuleType, styles: ModuleType, peers: ModuleType, model: Any, which: str
) -> None:
    """It repeats rows of cross-attention; which of them the reference is for can't be known."""
    if which == "real" and peers.PPM not in os.environ:
        pytest.skip(f"{peers.PPM} names no checkout of ComfyUI-ppm")
    masks = torch.cat([lab.left_half(), 1 - lab.left_half()])
    texts, further = [lab.conditioning(1), lab.conditioning(2)], lab.conditioning(3)[0][0]
    reference = styles.Reference(model, lab.soft_mask())

    def couple(model: Any) -> Any:
        if which == "real":
            return peers.real_couple(model, texts[0], [further], masks)
        return peers.stand_in_couple(model, [further], masks)

    for coupled in (couple(reference.styled(model)), reference.styled(couple(model))):
        with pytest.raises(
            ProductBackgroundError, match=r"Apply Style Reference expected 2 rows.*3 rows.*couple \(PPM"
        ):
            lab.predictions(coupled, texts)
    nothing = {"style": 0.0, "layout": 0.0, "elements": 0.0}
    before, after, theirs, stock = (
        lab.predictions(m, texts)
        for m in (
            couple(reference.styled(model, nothing)),
            reference.styled(couple(model), nothing),
            couple(model),
            model,
        )
    )
    for side in (0, 1):
        assert torch.equal(before[side], theirs[side]) and torch.equal(after[side], theirs[side])
    assert lab.difference(theirs[0], stock[0]) > MATTERS, "the couple does nothing here"


def test_negpip_is_lived_with(lab: ModuleType, styles: ModuleType, peers: ModuleType, model: Any) -> None:
    """It changes the text's keys, which no reference reads."""
    positive, reference = lab.conditioning(1), styles.Reference(model, lab.soft_mask())
    texts = [[[positive[0][0].repeat_interleave(2, 1), positive[0][1]]], lab.conditioning(2, length=154)]
    plain = peers.stand_in_negpip(model)
    before, after, expected, stock = (
        lab.predictions(m, texts)
        for m in (
            peers.stand_in_negpip(reference.styled(model)),
            reference.styled(plain),
            styles.by_definition(plain, styles.on_positive(reference)),
            plain,
        )
    )
    for side in (0, 1):
        assert torch.equal(before[side], after[side])
        assert lab.difference(before[side], expected[side]) < TOLERANCE
    assert lab.difference(before[0], stock[0]) > MATTERS


def test_tiled_diffusion_is_refused_by_name(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    def tiles(apply: Any, call: dict[str, Any]) -> Any:
        halves = [apply(part, call["timestep"], **call["c"]) for part in call["input"].chunk(2, dim=2)]
        return torch.cat(halves, 2)

    tiled = styles.Reference(model).styled(model)
    tiled.set_model_unet_function_wrapper(tiles)
    with pytest.raises(ProductBackgroundError, match=r"Apply Style Reference expected.*tiled diffusion"):
        lab.predictions(tiled, [lab.conditioning(1), lab.conditioning(2)])


def test_another_attention_function_is_used(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    def override(function: Any, q: Any, k: Any, v: Any, heads: int, mask: Any = None, **kwargs: Any) -> Any:
        assert mask is None
        return function(q, k, v, heads, **kwargs) * 1.5

    def selected(model: Any) -> Any:
        patched = model.clone()
        patched.model_options["transformer_options"]["optimized_attention_override"] = override
        return patched

    texts, reference = [lab.conditioning(1), lab.conditioning(2)], styles.Reference(model, lab.soft_mask())
    before, after, alone = (
        lab.predictions(m, texts)
        for m in (reference.styled(selected(model)), selected(reference.styled(model)), selected(model))
    )
    assert torch.equal(before[0], after[0])
    written = selected(model)
    for layer in styles.unet_layers.cross_attention_layers(model.model):  # patches don't go through the override
        written.set_model_attn2_replace(
            lambda q, k, v, options: styles.optimized_attention(q, k, v, options["n_heads"]) * 1.5, *layer[:2]
        )
    expected = lab.predictions(styles.by_definition(written, styles.on_positive(reference)), texts)
    assert lab.difference(before[0], expected[0]) < TOLERANCE
    assert lab.difference(before[0], alone[0]) > MATTERS
    assert lab.difference(before[1], alone[1]) < TOLERANCE


def test_partly_offloaded_model(
    lab: ModuleType, styles: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that stay in main memory are cast when a layer runs."""
    texts, reference = [lab.conditioning(1), lab.conditioning(2)], styles.Reference(model)
    expected, plain = (lab.predictions(m, texts)[0] for m in (lora(reference.styled(model)), lora(model)))
    offloaded = lab.half_loaded(lora(reference.styled(lab.new_model())), monkeypatch)
    ours = lab.predictions(offloaded, texts)[0]
    assert lab.difference(ours, expected) < TOLERANCE
    assert lab.difference(ours, plain) > MATTERS


def test_half_precision(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    texts, reference = [lab.conditioning(1), lab.conditioning(2)], styles.Reference(model, lab.soft_mask())
    exact, stock = lab.predictions(reference.styled(model), texts)[0], lab.predictions(model, texts)[0]
    cast, plain = reference.styled(model), model.clone()
    for patched in (cast, plain):
        patched.set_model_compute_dtype(torch.bfloat16)
    ours, theirs = lab.predictions(cast, texts)[0], lab.predictions(plain, texts)[0]
    noise = float((theirs - stock).std())
    assert noise > 0, "the precision is the same"
    assert float((ours - exact).std()) < 2 * noise
    lab.predictions(model, texts)  # moves the weights' precision back for the tests after this one


def test_precision_that_a_model_asks_for_is_kept(lab: ModuleType, styles: ModuleType, model: Any) -> None:
    """Stable Diffusion 2 overflows in half precision: what a reference adds is computed in float32, too."""
    from product_background.bg_core.region_plan import Chunk, Plan
    from product_background.bg_core.style_plan import StyledChunk, StyleGuide, StylePlan
    from product_background.nodes.guided_attention import GuidedAttention

    reference = styles.Reference(model, lab.soft_mask())
    modules = styles.unet_layers.modules_of(model.model)
    layer, heads = next((name, module.heads) for name, module in modules.items())
    width = heads * modules[layer].dim_head
    guide = StyleGuide(reference.adapter, reference.tokens, styles.STRENGTHS, reference.mask)
    keys = guide.keys({name: module.heads for name, module in modules.items()}, torch.float16, torch.device("cpu"))
    size = (16, 12)
    plans = [
        StylePlan([StyledChunk(True)], 1, [guide], [of], size, size, dtype)
        for of, dtype in ((keys, torch.float16), ({layer: keys[layer].to(torch.float32)}, torch.float32))
    ]
    generator = torch.Generator().manual_seed(0)
    q = (torch.randn(1, 192, width, generator=generator) * 3000).half()
    k, v = (torch.randn(1, 77, width, generator=generator).half() for _ in range(2))
    options = {"activations_shape": [1, width, *size], "n_heads": heads, "attn_precision": torch.float32}
    text = Plan([Chunk(None, 77)], 1, 77, (), size, size, torch.float16)
    alone, ours = (GuidedAttention(text, layer, None, None, (), plan)(q, k, v, options) for plan in (None, plans[0]))
    expected = plans[1].added(layer, q.float(), alone.float(), heads, size)
    assert ours.dtype == torch.float16 and bool(ours.isfinite().all())
    torch.testing.assert_close(ours.float(), expected, atol=2e-2, rtol=2e-3)


def test_compiled_model_is_compiled_once(lab: ModuleType, styles: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    model = lab.new_model(**lab.FEW_LAYERS)
    with_compile, compiled = lab.counting_compiler(monkeypatch)
    positive, negative = lab.conditioning(1, *PLACES), lab.conditioning(2)
    reference, mask = styles.Reference(model, lab.left_half()), lab.left_half()
    expected = lab.sample(lab.guided(reference.styled(model), mask), positive, negative, steps=3)
    for made in (with_compile(lab.guided(reference.styled(model), mask)),
                 reference.styled(lab.guided(with_compile(model), mask))):  # fmt: skip
        torch._dynamo.reset()
        compiled.clear()
        ours = lab.sample(made, positive, negative, steps=3)
        assert lab.difference(ours, expected) < TOLERANCE
        assert len(compiled) == 1
    torch._dynamo.reset()
