"""ControlNets, which no mask reaches, and compiled models."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]


def neutral(lab: ModuleType, seed: int) -> Any:
    """The text of that seed without its identifier."""
    plain = lab.conditioning(seed)[0][0].clone()
    plain[:, PLACES] = 4 * torch.randn(1, len(PLACES), lab.WIDTH, generator=torch.Generator().manual_seed(7))
    return plain


def test_controlnet_reads_the_text_without_the_identifier(lab: ModuleType, model: Any, control: Any) -> None:
    plain = neutral(lab, 1)
    (positive,), (negative,) = lab.conditioning(1, *PLACES, plain=plain), lab.conditioning(2)
    sides = [lab.controlled([positive], control), lab.controlled([negative], control)]
    mask = lab.soft_mask()
    ours = lab.predictions(lab.guided(model, mask), sides)
    (texts,) = control.texts
    assert len(texts) == 2, "both sides still run as one batch"
    assert any(torch.equal(row, plain[0]) for row in texts) and any(torch.equal(row, negative[0][0]) for row in texts)

    told = [[positive[0], {**positive[1], "cross_attn_controlnet": plain}]]
    same = [[negative[0], {**negative[1], "cross_attn_controlnet": negative[0]}]]
    defined = lab.by_definition(model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])
    expected = lab.predictions(defined, [lab.controlled(told, control), lab.controlled(same, control)])
    for found, wanted in zip(ours, expected, strict=True):
        assert lab.difference(found, wanted) < TOLERANCE
    leaking = lab.predictions(defined, sides)
    assert lab.difference(leaking[0], expected[0]) > MATTERS
    without = lab.predictions(lab.guided(model, mask), [[positive], [negative]])
    assert lab.difference(ours[0], without[0]) > MATTERS, "the ControlNet does nothing here"


def test_controlnet_on_one_side_only(lab: ModuleType, model: Any, control: Any) -> None:
    plain = neutral(lab, 1)
    positive, negative = lab.conditioning(1, *PLACES, plain=plain), lab.conditioning(2)
    lab.predictions(lab.guided(model, lab.soft_mask()), [lab.controlled(positive, control), negative])
    (texts,) = control.texts
    assert torch.equal(texts, plain)


def test_controlnet_reads_what_was_joined_to_the_text_or_left_of_it(
    lab: ModuleType, stock: ModuleType, model: Any, control: Any
) -> None:
    """Through ComfyUI's own nodes, which keep the key and change the tensor."""
    plain, other = neutral(lab, 1), lab.conditioning(3)
    positive, negative = lab.conditioning(1, *PLACES, plain=plain), lab.conditioning(2)
    outside = [place for place in range(77) if place not in PLACES]
    (joined,), (mixed,) = (
        stock.ConditioningConcat().concat(positive, other),
        stock.ConditioningAverage().addWeighted(positive, other, 0.75),
    )
    (nothing,) = stock.ConditioningZeroOut().zero_out(positive)
    guided = lab.guided(model, lab.soft_mask())
    for conditioning, expected in (
        (joined, torch.cat([plain, other[0][0]], 1)),
        (mixed, 0.75 * plain + 0.25 * other[0][0]),
        (nothing, torch.zeros_like(plain)),
    ):
        control.texts.clear()
        lab.predictions(guided, [lab.controlled(conditioning, control), negative])
        (texts,) = control.texts
        torch.testing.assert_close(texts[:, outside], expected[:, outside])
        if conditioning is not mixed:  # there the other text's share in these places can't be known any more
            torch.testing.assert_close(texts, expected)
        assert not torch.equal(texts[:, PLACES], conditioning[0][0][:, PLACES]) or conditioning is nothing


def test_without_a_plain_text_or_without_our_node_nothing_changes(lab: ModuleType, model: Any, control: Any) -> None:
    positive, negative = lab.conditioning(1, *PLACES), lab.conditioning(2)
    lab.predictions(lab.guided(model, lab.soft_mask()), [lab.controlled(positive, control), negative])
    lab.predictions(model, [lab.controlled(lab.conditioning(1, *PLACES, plain=negative[0][0]), control), negative])
    assert all(torch.equal(texts, positive[0][0]) for texts in control.texts) and len(control.texts) == 2


def test_compiled_model_is_compiled_once(lab: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our patches run inside the compiled UNet, in the same single graph, and no step compiles it again."""
    model = lab.new_model(**lab.FEW_LAYERS)
    with_compile, compiled = lab.counting_compiler(monkeypatch)
    positive, negative, mask = lab.conditioning(1, *PLACES), lab.conditioning(2), lab.left_half()
    expected = lab.sample(lab.guided(model, mask), positive, negative, steps=3)
    for order in (lambda: with_compile(lab.guided(model, mask)), lambda: lab.guided(with_compile(model), mask)):
        torch._dynamo.reset()
        compiled.clear()
        ours = lab.sample(order(), positive, negative, steps=3)
        assert lab.difference(ours, expected) < TOLERANCE
        assert len(compiled) == 1
    torch._dynamo.reset()
