"""One exam of a category study: pictures painted with a run's weights, and what both evaluators say of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import CategoryVocabulary
from bg_core.vocabulary_files import read_all

from ..data import Record, load_masks, load_pictures
from ..evaluators.frozen import Evaluator
from ..evaluators.tasks import foreign
from ..lora import load_lora
from ..painters import load_painter
from ..protocol import Protocol
from ..train_category import IDENTIFIERS_FILE, lora_file
from .lots import Exam, Study, records_of
from .paint import Brush, Subjects, Wish, paint
from .plan import ARMS, Scenes
from .scenes import virtual_cells, words_of
from .scores import Scores, cell_hits, partners, write_scores
from .stage import Stage, bound_scenes, by_category

EACH = 10
"""Pictures a category in every exam."""


def brush_of(study: Study, exam: Exam) -> Brush:
    """The base with the lot's weights, as its files hold them."""
    painter = load_painter(study.base)
    vectors = {}
    if exam.lot is not None:
        folder, arm = study.out / "runs" / exam.lot.name, ARMS[exam.lot.arm]
        if arm.lora:
            load_lora(painter.unet, lora_file(folder), painter.family)
        if arm.identifiers:
            categories, values = read_all(CategoryVocabulary.open(folder / IDENTIFIERS_FILE))
            vectors = dict(by_category([category.name for category in categories], values.float()))
    return Brush.of(painter, vectors)


def examine(study: Study, exam: Exam, protocol: Protocol, evaluators: Sequence[Evaluator]) -> None:
    """Paints and scores one exam; one file of scores for each evaluator."""
    targets = [study.out / "scores" / f"{exam.name}-{evaluator.name}.safetensors" for evaluator in evaluators]
    if all(target.is_file() for target in targets):
        return
    brush = brush_of(study, exam)
    # another seed of a run starts from other noise, too
    protocol = dataclasses.replace(protocol, seed=protocol.seed + 1000 * exam.seed)
    if exam.on.startswith("cells_"):
        scores = cell_scores(study, exam, brush, protocol, evaluators)
    else:
        records = exam_records(study)
        sloppy = study.config["study"]["sloppy"] if exam.on == "sloppy" else 0.0
        stage = Stage.of(brush.painter, records, study.config["options"]["side"], sloppy)
        which = "own" if exam.on == "own" else "swapped"
        pictures = stage.paint(brush, ARMS[exam.arm], which, protocol)
        scores = [stage.score(evaluator, pictures, which) for evaluator in evaluators]
    for target, values in zip(targets, scores, strict=True):
        write_scores(target, values)


def exam_records(study: Study) -> list[Record]:
    """`EACH` scenes of every category, in the data's order."""
    chosen = []
    for category in study.categories:
        own = [r for r in records_of(study.test) if r.category == category and r.factors.get("half") == "bound"]
        chosen += own[:EACH]
    return bound_scenes(chosen, study.categories)


def asked_for(study: Study, on: str) -> list[str]:
    """The category that each picture of an exam is asked for."""
    if on.startswith("cells_"):
        return asked_cells(study)
    records = exam_records(study)
    rows = range(len(records)) if on == "own" else partners(records)
    return [records[i].category for i in rows]


def sweep_cells(study: Study) -> list[str]:
    """All cells of the largest sweep; those of a smaller one come first."""
    assert study.generic is not None
    return list(virtual_cells(records_of(study.generic), Scenes(virtual=max(study.config["sweep"]["sizes"]))))


def asked_cells(study: Study) -> list[str]:
    """The cells that every size of the sweep has, each `EACH` times."""
    return [cell for cell in sweep_cells(study)[: min(study.config["sweep"]["sizes"])] for _ in range(EACH)]


def cell_scores(
    study: Study, exam: Exam, brush: Brush, protocol: Protocol, evaluators: Sequence[Evaluator]
) -> list[Scores]:
    """Virtual categories: the first cells, which every size of the sweep has, around any products.

    `right`: among those cells. `sibling`: among all cells of the largest sweep that share two factors with the one
    asked for, and itself.
    """
    assert study.test_generic is not None
    cells, asked = sweep_cells(study), asked_cells(study)
    records = records_of(study.test_generic)[: len(asked)]
    if len(records) < len(asked):
        raise ProductBackgroundError(f"{study.test_generic} has {len(records)} scenes. Expected {len(asked)}.")
    side = study.config["options"]["side"]
    pictures, masks = load_pictures(records, side), load_masks(records, side)
    wishes = [Wish(words_of(record), cell) for record, cell in zip(records, asked, strict=True)]
    shown = paint(brush, ARMS[exam.arm], Subjects.of(brush.painter, pictures, masks), wishes, protocol)
    others = masks[foreign([record.category for record in records])]
    return [
        {
            "right": cell_hits(evaluator, shown, masks, others, asked, list(dict.fromkeys(asked))),
            "sibling": _sibling_hits(evaluator, shown, masks, others, asked, cells),
        }
        for evaluator in evaluators
    ]


def real_scores(study: Study, evaluators: Sequence[Evaluator]) -> None:
    """The renders themselves, through the autoencoder: the ceiling of every figure."""
    targets = [study.out / "scores" / f"real-own-0-{evaluator.name}.safetensors" for evaluator in evaluators]
    if all(target.is_file() for target in targets):
        return
    painter = load_painter(study.base)
    stage = Stage.of(painter, exam_records(study), study.config["options"]["side"])
    pictures = stage.real(painter)
    for target, evaluator in zip(targets, evaluators, strict=True):
        write_scores(target, stage.score(evaluator, pictures, "own"))


def _sibling_hits(
    evaluator: Evaluator, shown: Tensor, masks: Tensor, others: Tensor, asked: Sequence[str],
    cells: Sequence[str],
) -> Tensor:  # fmt: skip
    hits = torch.zeros(len(asked), dtype=torch.float64)
    for cell in dict.fromkeys(asked):
        near = [c for c in cells if sum(a == b for a, b in zip(c.split(", "), cell.split(", "), strict=True)) >= 2]
        rows = [i for i, other in enumerate(asked) if other == cell]
        hits[rows] = cell_hits(evaluator, shown[rows], masks[rows], others[rows], [cell] * len(rows), near)
    return hits
