"""Suite `style`: the bundled style weights on the bundled base, on held-out pairs of one style."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import load_style
from bg_core.style_views import Views, standard_views
from bg_core.weights import Header

from ..category.paint import Subjects
from ..category.plan import ARMS
from ..category.prompts import Texts
from ..category.stage import Stage
from ..data import Pair, Record, load_masks, load_pictures, read_pairs, read_records, without_faults
from ..evaluators.examples import CLASSES, UNKNOWN, painted
from ..evaluators.frozen import Evaluator, load_evaluators
from ..export_run import BUNDLED
from ..metrics.decisions import hits
from ..metrics.intervals import Figure, bootstrap, mean
from ..metrics.references import copied
from ..painters import Painter, load_painter
from ..protocol import Protocol, read_protocol
from ..style.batch import product_caption
from ..style.front import front_end
from ..style.mixed import load_mixed, mixed_views
from ..style.paint import STYLE_ARMS, References, StyleBrush, paint_in_style
from .category import MODELS, bundled_brush
from .category import WEIGHTS as CATEGORY_WEIGHTS
from .judge import worse
from .style_exam import GALLERY, Painted, StyleJudge, gaps, iou_gain, pixel_figures

WEIGHTS = MODELS / "style_weights" / "product_background_demo_style.safetensors"
"""The bundled style weights, those of `training.train_style`."""

MIXED = Path(__file__).parent.parent / "baselines" / "style_mixed.safetensors"
"""The baseline that `train_style` makes with `form = "mixed"`; arm `mixed`, where it is."""

REFERENCES, PRODUCTS, WORST = 16, 6, 32
CURVE = (0.25, 0.5, 0.75, 1.0)


def measure(root: Path, limit: int | None = None, sheets: Path | None = None) -> dict[str, Figure]:
    """All figures of the suite on the pairs of a data set: of its generic half, and of its bound half where identifiers
    are bundled."""
    protocol, evaluators = read_protocol(), load_evaluators()
    records = without_faults(read_records(root))
    pairs = read_pairs(root, records)
    generic, bound = (
        [p for p in pairs if p.picture.factors.get("half") == half][:limit] for half in ("generic", "bound")
    )
    if len({pair.picture.category for pair in generic}) < 2:
        raise ProductBackgroundError(
            f"{root}: expected pairs of the generic half, of at least two categories; found {len(generic)}. Render "
            "some: python -m training.render --pairs --seed-range 310000:310500 --held-out --out DIR."
        )
    if len(generic) < GALLERY:
        print(f"{len(generic)} pairs: each reference is found among so many, not among {GALLERY}.")
    if not bound:
        print(f"{root} holds no pairs of the bound half: what identifier and reference do together isn't measured.")
    brush = bundled_style(load_painter(BUNDLED), WEIGHTS)
    exam = paint_all(brush, generic, protocol, mixed_style(load_painter(BUNDLED), MIXED) if MIXED.is_file() else None)
    judges = [StyleJudge(evaluator, exam, protocol) for evaluator in evaluators]
    figures = worse([judge.groups() for judge in judges]) | pixel_figures(exam, protocol)
    if bound and CATEGORY_WEIGHTS.is_file():
        figures |= with_categories(bundled_style(load_painter(BUNDLED), WEIGHTS), bound, evaluators, protocol)
    if sheets is not None:
        draw_sheets(brush, exam, judges[0], protocol, sheets)
    return figures


def bundled_style(painter: Painter, file: Path) -> StyleBrush:
    return _brush(painter, file, *load_style(file), standard_views)


def mixed_style(painter: Painter, file: Path) -> StyleBrush:
    """The baseline with one reader for everything."""
    return _brush(painter, file, *load_mixed(file), mixed_views)


def _brush(
    painter: Painter, file: Path, header: Header, adapter: StyleAdapter, views: Callable[..., Views]
) -> StyleBrush:
    if header.base != painter.family:
        raise ProductBackgroundError(f"{file} fits the base {header.base!r}. The base in use is {painter.family!r}.")
    front, _ = front_end(painter, adapter.config.front, None)
    return StyleBrush(painter, adapter, front, views)


def references_of(records: Sequence[Record]) -> References:
    return References(load_pictures(records), load_masks(records))


def paint_all(brush: StyleBrush, pairs: Sequence[Pair], protocol: Protocol, mixed: StyleBrush | None = None) -> Painted:
    """Every arm around every pair's product, in the style of its reference; `mixed`, the baseline, as an arm more."""
    own, theirs = [pair.picture for pair in pairs], [pair.reference for pair in pairs]
    pictures, masks = load_pictures(own), load_masks(own)
    subjects, references = Subjects.of(brush.painter, pictures, masks), references_of(theirs)
    texts = Texts(brush.painter)
    empty = texts.captions([""]).values
    arms = {}
    runs = {name: (brush, arm) for name, arm in STYLE_ARMS.items()}
    if mixed is not None:
        runs["mixed"] = mixed, STYLE_ARMS["style"]
    for name, (with_, arm) in runs.items():
        said = [record.caption if arm.words else product_caption(record) for record in own]
        arms[name] = paint_in_style(
            with_, arm, subjects, references, lambda rows, said=said: texts.captions([said[i] for i in rows]), empty,
            protocol,
        )  # fmt: skip
    return Painted(
        pairs,
        masks,
        arms,
        painted(pictures, masks, brush.painter.coder),
        pictures,
        painted(references.pictures, references.masks, brush.painter.coder),
        references.masks,
    )


def with_categories(
    brush: StyleBrush, pairs: Sequence[Pair], evaluators: Sequence[Evaluator], protocol: Protocol
) -> dict[str, Figure]:
    """Identifier and reference together: `accuracy_with_reference`, another scene of the same category, and without.

    `accuracy_across_S`: the reference is of another category, at strength S percent; no bar.
    """
    identifiers = bundled_brush(brush.painter, CATEGORY_WEIGHTS)
    records = [p.picture for p in pairs if p.picture.category in identifiers.vectors]
    others = {pair.picture.name: pair.reference for pair in pairs}
    stage = Stage.of(brush.painter, records)
    wishes, empty = stage.wishes("own"), identifiers.texts.captions([""]).values
    same = references_of([_same_category(record, others, records) for record in records])
    other = references_of([records[i] for i in stage.partner])
    runs = {"accuracy_without_reference": (same, "without", 1.0), "accuracy_with_reference": (same, "ours", 1.0)}
    runs |= {f"accuracy_across_{round(100 * s)}": (other, "ours", s) for s in CURVE}
    hidden = stage.hidden("own")
    wanted = torch.tensor([CLASSES["category"].index(record.category) for record in records])
    right: list[dict[str, Tensor]] = [{} for _ in evaluators]
    for key, (references, arm, strength) in runs.items():
        pictures = paint_in_style(
            brush, STYLE_ARMS[arm], stage.subjects, references,
            lambda rows: identifiers.context(ARMS["masked"], [wishes[i] for i in rows]), empty, protocol,
            strength=strength,
        )  # fmt: skip
        for evaluator, answers in zip(evaluators, right, strict=True):
            answers[key] = hits(evaluator.scene(pictures, stage.subjects.masks, hidden)["category"], wanted)
    cost = "accuracy_with_reference_over_without"
    for answers in right:
        answers[cost] = answers["accuracy_with_reference"] - answers["accuracy_without_reference"]
    categories = stage.categories("own")
    found = [
        {
            key: bootstrap(mean(values), categories, protocol.replicates, protocol.bootstrap_seed)
            for key, values in one.items()
        }
        for one in right
    ]
    return min(found, key=lambda figures: figures[cost].value)  # the evaluator by which the reference costs more


def _same_category(record: Record, pairs: dict[str, Record], records: Sequence[Record]) -> Record:
    """The record's reference if it is of its category; else another scene of it, or the reference after all."""
    reference = pairs[record.name]
    if reference.category == record.category:
        return reference
    return next((r for r in records if r.category == record.category and r.name != record.name), reference)


def draw_sheets(brush: StyleBrush, exam: Painted, judge: StyleJudge, protocol: Protocol, folder: Path) -> None:
    """`references.png`: the first references (top row) by the first products, noise fixed; and the worst by metric."""
    folder.mkdir(parents=True, exist_ok=True)
    sheets: dict[str, tuple[Tensor, int]] = {"references": grid(brush, exam, protocol)}
    ours = exam.arms["ours"]
    sheets["pictures"] = ours[:256], 16
    reference = exam.reference.float() / 255
    leak = judge.answers["ours"]["category"].softmax(1).gather(1, exam.leaked.clamp(min=0)[:, None])[:, 0]
    worst = {
        "retrieval": judge.found["ours"] - judge.found["real"],
        "copy": -copied(ours.float() / 255, reference, exam.background),
        "ghost": gaps(exam, ours),
        "leak": torch.where(exam.leaked == UNKNOWN, torch.nan, -leak),
        "layout": iou_gain(exam, ours),
        "twin": -judge.evaluator.twin(ours, exam.masks).double(),
        "extension": -judge.evaluator.extension(ours, exam.masks).double(),
    }
    for name, merit in worst.items():
        rows = merit.nan_to_num(torch.inf).argsort(stable=True)[:WORST]
        # each beside its reference
        sheets[f"worst_{name}"] = torch.stack([exam.reference[rows], ours[rows]], 1).flatten(0, 1), 8
    for name, (images, columns) in sheets.items():
        with replacing(folder / f"{name}.png") as temporary:
            save_image(images.float() / 255, temporary, nrow=columns)


def grid(brush: StyleBrush, exam: Painted, protocol: Protocol) -> tuple[Tensor, int]:
    """References above, a row of pictures for each of the first products of different categories; nothing picked."""
    count = min(REFERENCES, len(exam.pairs))
    categories = exam.categories
    rows = [i for i, name in enumerate(categories) if categories.index(name) == i][:PRODUCTS]
    references = References(exam.reference, exam.reference_masks).chosen(range(count))
    subjects = Subjects.of(brush.painter, exam.originals, exam.masks)
    texts = Texts(brush.painter)
    out = [exam.reference[:count]]
    for row in rows:
        said = texts.captions([product_caption(exam.pairs[row].picture)])
        # each picture is number 0 of its own run, so all have the same noise
        out += [
            paint_in_style(
                brush, STYLE_ARMS["ours"], subjects.chosen([row]), references.chosen([i]), lambda rows, said=said: said,
                texts.captions([""]).values, protocol,
            )
            for i in range(count)
        ]  # fmt: skip
    return torch.cat(out), count
