"""References without trained weights beside what else users hang on a model: the definition with the peer on it, in
either order."""

from __future__ import annotations

import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.host.test_attention_peers import deep_shrink, free_u, lora

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]

Patch = Callable[[Any], Any]


def compare(
    lab: ModuleType, selves: ModuleType, model: Any, peer: Patch, texts: Any = None, batch: int = 1, references: int = 1
) -> None:
    """The peer before and after our node, and both against the definition with the peer on it."""
    texts = texts or [lab.conditioning(1), lab.conditioning(2)]
    guide = selves.guide_of(references, strength=0.8, mask=lab.soft_mask())
    stock, alone, without, before, after, expected = (
        lab.predictions(m, texts, batch=batch)
        for m in (
            model,
            peer(model),
            selves.styled(model, guide),
            selves.styled(peer(model), guide),
            peer(selves.styled(model, guide)),
            peer(selves.by_definition(model, guide)),
        )
    )
    for side in (0, 1):
        assert torch.equal(before[side], after[side])
        assert lab.difference(before[side], expected[side]) < TOLERANCE
    assert lab.difference(alone[0], expected[0]) > MATTERS, "our node does nothing here"
    assert lab.difference(alone[0], stock[0]) > MATTERS, "the peer does nothing here"
    assert lab.difference(without[0], expected[0]) > MATTERS, "the peer does nothing beside our node"


@pytest.mark.parametrize("peer", [lora, free_u, deep_shrink], ids=lambda peer: peer.__name__)
def test_stock_nodes_before_and_after(lab: ModuleType, selves: ModuleType, model: Any, peer: Patch) -> None:
    compare(lab, selves, model, peer)


@pytest.mark.parametrize(("references", "batch"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_ipadapter_in_both_orders(
    lab: ModuleType, selves: ModuleType, peers: ModuleType, model: Any, which: str, references: int, batch: int
) -> None:
    """It sees the picture's rows alone; the reference is read without it."""
    if which == "real" and peers.IPADAPTER not in os.environ:
        pytest.skip(f"{peers.IPADAPTER} names no checkout of IPAdapter_plus")
    apply = peers.stand_in_ipadapter if which == "stand-in" else peers.real_ipadapter
    adapter = peers.ImageAdapter(model.model.diffusion_model, lab.WIDTH)
    compare(lab, selves, model, lambda m: apply(m, adapter, 0.7), batch=batch, references=references)


@pytest.mark.parametrize("which", ["stand-in", "real"])
def test_attention_couple_is_lived_with(
    lab: ModuleType, selves: ModuleType, peers: ModuleType, model: Any, which: str
) -> None:
    """It repeats the rows of cross-attention alone; the self-attention's are the picture's own."""
    if which == "real" and peers.PPM not in os.environ:
        pytest.skip(f"{peers.PPM} names no checkout of ComfyUI-ppm")
    masks = torch.cat([lab.left_half(), 1 - lab.left_half()])
    texts, further = [lab.conditioning(1), lab.conditioning(2)], lab.conditioning(3)[0][0]

    def couple(model: Any) -> Any:
        if which == "real":
            return peers.real_couple(model, texts[0], [further], masks)
        return peers.stand_in_couple(model, [further], masks)

    compare(lab, selves, model, couple, texts)


def test_controlnet(lab: ModuleType, selves: ModuleType, model: Any, control: Any) -> None:
    """What it adds is the picture's: the reference is read without it."""
    positive, negative = lab.conditioning(1), lab.conditioning(2)
    sides = [lab.controlled(positive, control), lab.controlled(negative, control)]
    guide = selves.guide_of(mask=lab.soft_mask())
    ours, expected, plain = (
        lab.predictions(m, sides) for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    without = lab.predictions(selves.styled(model, guide), [positive, negative])
    assert all(lab.difference(found, wanted) < TOLERANCE for found, wanted in zip(ours, expected, strict=True))
    assert lab.difference(plain[0], expected[0]) > MATTERS, "our node does nothing here"
    assert lab.difference(without[0], expected[0]) > MATTERS, "the ControlNet does nothing here"


@pytest.mark.parametrize("area", [(8, 8, 4, 2), (8, 12, 8, 0)])
def test_area_conditionings_get_their_part_of_the_mask(
    lab: ModuleType, selves: ModuleType, model: Any, area: tuple[int, ...]
) -> None:
    """Their part of the picture looks at the whole reference."""
    (text,), negative = lab.conditioning(1), lab.conditioning(2)
    positive = [[text[0], {**text[1], "area": area, "strength": 1.0}]]
    height, width, top, left = (8 * cells for cells in area)
    guide = selves.guide_of(mask=lab.soft_mask())
    part = guide.mask[0, top : top + height, left : left + width]
    ours, theirs, plain = (
        lab.predictions(m, [positive, negative])[0]
        for m in (selves.styled(model, guide), selves.by_definition(model, guide, part), model)
    )
    assert lab.difference(plain, theirs) > MATTERS
    assert lab.difference(ours, theirs) < TOLERANCE


@pytest.mark.parametrize("references", [1, 2])
def test_several_positives_run_together_as_apart(
    lab: ModuleType, selves: ModuleType, model: Any, references: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each reads the reference with its own text, so it doesn't matter how many fit into memory at once."""
    entries, negative = lab.conditioning(1) + lab.conditioning(3) + lab.conditioning(4), lab.conditioning(2)
    guide = selves.guide_of(references, mask=lab.soft_mask())
    models = [selves.styled(model, guide), selves.by_definition(model, guide), model]
    ours, expected, plain = (lab.predictions(m, [entries, negative], batch=2)[0] for m in models)
    assert lab.difference(plain, expected) > MATTERS
    assert lab.difference(ours, expected) < TOLERANCE
    monkeypatch.setattr(type(model.model), "memory_required", lambda *args, **kwargs: 1e30)
    assert lab.difference(lab.predictions(models[0], [entries, negative], batch=2)[0], expected) < TOLERANCE


def test_masked_conditionings(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    half, negative, guide = lab.left_half(16, 12), lab.conditioning(2), selves.guide_of(mask=lab.soft_mask())
    masked = [
        [text, {**extra, "mask": where, "mask_strength": 1.0, "set_area_to_bounds": False}]
        for (text, extra), where in zip(lab.conditioning(1) + lab.conditioning(3), (half, 1 - half), strict=True)
    ]
    ours, expected, plain = (
        lab.predictions(m, [masked, negative])[0]
        for m in (selves.styled(model, guide), selves.by_definition(model, guide), model)
    )
    assert lab.difference(plain, expected) > MATTERS
    assert lab.difference(ours, expected) < TOLERANCE


def test_two_references_in_two_regions_add_up(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    texts, left = [lab.conditioning(1), lab.conditioning(2)], lab.left_half()
    one, other = selves.guide_of(mask=left), selves.guide_of(seed=8, size=(9, 14), mask=1 - left)
    ours, swapped, expected, single = (
        lab.predictions(m, texts)[0]
        for m in (
            selves.styled(selves.styled(model, one), other),
            selves.styled(selves.styled(model, other), one),
            selves.by_definition(selves.by_definition(model, one), other),
            selves.styled(model, one),
        )
    )
    assert lab.difference(ours, expected) < TOLERANCE
    assert lab.difference(swapped, expected) < TOLERANCE
    assert lab.difference(single, expected) > MATTERS


def test_partly_offloaded_model(
    lab: ModuleType, selves: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that stay in main memory are cast when a layer runs, on the reference too."""
    texts, guide = [lab.conditioning(1), lab.conditioning(2)], selves.guide_of(mask=lab.soft_mask())
    expected, plain = (lab.predictions(m, texts)[0] for m in (selves.by_definition(lora(model), guide), lora(model)))
    offloaded = lab.half_loaded(lora(selves.styled(lab.new_model(), guide)), monkeypatch)
    ours = lab.predictions(offloaded, texts)[0]
    assert lab.difference(ours, expected) < TOLERANCE
    assert lab.difference(ours, plain) > MATTERS


def test_half_precision(lab: ModuleType, selves: ModuleType, model: Any) -> None:
    """Of references with different products: what is hidden of one stays hidden."""
    texts, guide = [lab.conditioning(1), lab.conditioning(2)], selves.guide_of(2, mask=lab.soft_mask())
    exact, stock = (lab.predictions(m, texts, batch=2)[0] for m in (selves.by_definition(model, guide), model))
    cast, plain = selves.styled(model, guide), model.clone()
    for patched in (cast, plain):
        patched.set_model_compute_dtype(torch.bfloat16)
    ours, theirs = (lab.predictions(m, texts, batch=2)[0] for m in (cast, plain))
    noise = float((theirs - stock).std())
    assert noise > 0, "the precision is the same"
    assert float((ours - exact).std()) < 2 * noise < float((exact - stock).std())
    lab.predictions(model, texts)  # moves the weights' precision back for the tests after this one


def test_precision_that_a_model_asks_for_is_kept(lab: ModuleType, selves: ModuleType) -> None:
    """Stable Diffusion 2 overflows in half precision: its attention is computed in float32, beside a reference too."""
    from product_background.bg_core.self_reference import Recorded
    from product_background.bg_core.style_plan import Reach, StyledChunk
    from product_background.nodes.self_attention import SelfAttention, SelfRun

    layer, guide = ("input", 1, 0), selves.guide_of()
    run = SelfRun(Reach([StyledChunk(True)], 1, [guide], (16, 12), (16, 12), torch.float16), (layer,))
    recorded = Recorded(guide)
    run.recorded.append(recorded)
    generator = torch.Generator().manual_seed(0)
    q, k, v, k_ref, v_ref = (
        (torch.randn(1, places, 32, generator=generator) * 300).half() for places in (192, 192, 192, 144, 144)
    )
    recorded.keep(layer, k_ref, v_ref, (12, 12))
    options = {"activations_shape": [1, 32, 16, 12], "n_heads": 2, "attn_precision": torch.float32}
    ours = SelfAttention(run, layer, None)(q, k, v, options)
    kept = recorded.by_layer[layer]
    both = (torch.cat(pair, 1).float() for pair in ((k, kept.k), (v, kept.v)))
    expected = selves.softmax(q, *both, 2)
    assert ours.dtype == torch.float16
    torch.testing.assert_close(ours.float(), expected, atol=0.5, rtol=1e-3)


def test_compiled_model_is_compiled_once(lab: ModuleType, selves: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled before our node, the model is so for the picture and for the references; after it, for the picture."""
    model = lab.new_model(**lab.FEW_LAYERS)
    with_compile, compiled = lab.counting_compiler(monkeypatch)
    positive, negative = lab.conditioning(1, *PLACES), lab.conditioning(2)
    guide, mask = selves.guide_of(2, mask=lab.left_half()), lab.left_half()
    expected = lab.sample(lab.guided(selves.styled(model, guide), mask), positive, negative, batch=2, steps=4)
    for made, times in (
        (with_compile(lab.guided(selves.styled(model, guide), mask)), 1),
        (selves.styled(lab.guided(with_compile(model), mask), guide), 2),
    ):
        torch._dynamo.reset()
        compiled.clear()
        ours = lab.sample(made, positive, negative, batch=2, steps=4)
        assert lab.difference(ours, expected) < TOLERANCE
        assert len(compiled) == times
    torch._dynamo.reset()


class Asked(TorchDispatchMode):
    """What is run that makes a program wait for a device, or makes something that could have been made before."""

    NAMES = ("_local_scalar_dense", "nonzero", "randn", "rand", "constant_pad_nd", "_to_copy", "zeros", "ones", "full")

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in self.NAMES:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


def test_steps_wait_for_nothing_and_find_everything_made(
    lab: ModuleType, selves: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Our own code in each layer, less ComfyUI's attention; what depends on the picture's size the first step makes."""
    from product_background.nodes import self_attention

    asked, objects, first_step = Asked(), [], 2 * lab.LAYERS

    def watched(kind: type) -> None:
        call = kind.__call__

        def attend(self: Any, q: Any, k: Any, v: Any, options: Any) -> Any:
            objects.append(self)
            if len(objects) == first_step + 1:
                assert not {"_local_scalar_dense", "nonzero"} & set(asked.names)
                asked.names.clear()
            with asked:
                return call(self, q, k, v, options)

        monkeypatch.setattr(kind, "__call__", attend)

    for kind in (self_attention.SelfAttention, self_attention._Recorder):
        watched(kind)
    monkeypatch.setattr(self_attention, "stock_attention", lambda q, k, v, options: v.clone())
    guide = selves.guide_of(2, mask=lab.soft_mask())
    lab.sample(selves.styled(model, guide), lab.conditioning(1), lab.conditioning(2), batch=2, steps=3)
    assert len(objects) == 3 * first_step
    assert len(set(map(id, objects))) == first_step, "the same objects in every step"
    assert asked.names == []


def test_what_is_the_same_in_every_step_is_made_once(
    lab: ModuleType, selves: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from product_background.bg_core import self_reference

    made: list[str] = []
    for owner, name in ((self_reference, "_free_places"), (self_reference.Recorded, "make_room")):
        make = getattr(owner, name)

        def counted(*args: Any, name: str = name, make: Any = make) -> Any:
            made.append(name)
            return make(*args)

        monkeypatch.setattr(owner, name, counted)
    for steps in (1, 4):
        made.clear()
        styled = selves.styled(model, selves.guide_of(2, mask=lab.soft_mask()))
        lab.sample(styled, lab.conditioning(1), lab.conditioning(2), batch=2, steps=steps)
        assert made.count("make_room") == lab.LAYERS
        assert made.count("_free_places") == 4, "one for each size that has attention"
