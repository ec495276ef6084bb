"""A second sampler that paints over the enlarged result of the first: both stages are the definition's."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

TOLERANCE = 1e-4
MATTERS = 1e-2
PLACES = [5, 6, 7]


def compare(lab: ModuleType, model: Any, ours: Any, defined: Any, batch: int = 1) -> None:
    positive, negative = lab.conditioning(1, *PLACES), lab.conditioning(2)
    stages = (lab.hires_fix(m, positive, negative, batch) for m in (ours, defined, model))
    sizes = []
    for found, expected, plain in zip(*stages, strict=True):
        sizes.append(tuple(found.shape))
        assert lab.difference(plain, expected) > MATTERS
        assert lab.difference(found, expected) < TOLERANCE
    assert sizes == [(batch, 4, 16, 12), (batch, 4, 24, 18)]


def by_regions(lab: ModuleType, model: Any, mask: Any) -> Any:
    return lab.by_definition(model, lambda side, row: [(PLACES, mask[0])] if side == 0 else [])


def test_mask_guided_attention(lab: ModuleType, model: Any) -> None:
    mask = lab.soft_mask()
    compare(lab, model, lab.guided(model, mask), by_regions(lab, model, mask))


@pytest.mark.parametrize("batch", [1, 2])
def test_style_references(lab: ModuleType, styles: ModuleType, model: Any, batch: int) -> None:
    reference = styles.Reference(model, lab.soft_mask(), references=batch)
    compare(lab, model, reference.styled(model), styles.by_definition(model, styles.on_positive(reference)), batch)


@pytest.mark.parametrize("batch", [1, 2])
def test_references_without_trained_weights(lab: ModuleType, selves: ModuleType, model: Any, batch: int) -> None:
    guide = selves.guide_of(batch, mask=lab.soft_mask())
    compare(lab, model, selves.styled(model, guide), selves.by_definition(model, guide), batch)


def test_all_of_them_at_once(lab: ModuleType, styles: ModuleType, selves: ModuleType, model: Any) -> None:
    mask = lab.soft_mask()
    reference, guide = styles.Reference(model, mask), selves.guide_of(mask=mask)
    defined = selves.by_definition(
        styles.by_definition(by_regions(lab, model, mask), styles.on_positive(reference)), guide
    )
    compare(lab, model, selves.styled(reference.styled(lab.guided(model, mask)), guide), defined)
