"""Suite `category`: the bundled identifiers on the bundled base, around held-out products, against real scenes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing
from bg_core.vocabulary import CategoryVocabulary
from bg_core.vocabulary_files import read_all

from ..category.leak import BINS, leak_energies, leak_ratio
from ..category.paint import Brush, Wish, paint
from ..category.plan import ARMS
from ..category.scores import Scores
from ..category.stage import Stage, Which, bound_scenes, by_category
from ..data import read_records
from ..evaluators.frozen import load_evaluators
from ..export_run import BUNDLED
from ..lora import load_lora, lora_beside
from ..metrics.distributions import Statistic, diversity
from ..metrics.intervals import Figure, bootstrap, mean, ratio
from ..painters import Painter, load_painter
from ..protocol import Protocol, read_protocol
from .judge import Judged, constant_backgrounds, worse

MODELS = BUNDLED.parent.parent
WEIGHTS = MODELS / "category_weights" / "product_background_demo_categories.safetensors"
"""The bundled identifiers; where they were trained with a LoRA, its file lies in `loras` under the name they say."""

GRID, WORST = 8, 32

PAINTED: dict[str, tuple[str, Which]] = {
    "accuracy": ("masked", "own"),
    "accuracy_swapped": ("masked", "swapped"),
    "accuracy_unmasked": ("masked_training", "swapped"),
    "accuracy_plain_text": ("plain_text", "swapped"),
    "accuracy_described": ("described", "swapped"),
    "accuracy_caption": ("caption", "swapped"),
    "accuracy_shape_only": ("plain_text", "own"),
    "base": ("caption", "own"),
}
"""What is painted: the arm, and whose background.

Those called `swapped` and the arms that are compared with it swap products and categories, so that nothing comes from
the product. `shape_only` is the control: the base without identifiers and LoRA, to which a category's name tells
nothing of its scenes, and the product's own category looked for. `base`: what the base makes of whole captions.
"""

SWAPPED_CONTROL = "accuracy_swapped_shape_only"
"""The pictures of `accuracy_shape_only`, and the category looked for that `accuracy_swapped` asks for."""

BASELINES = ("unmasked", "plain_text", "described", "caption")
"""Arms that `accuracy_swapped` is compared with, picture by picture."""

LAYERS = {"accuracy": "right", "said": "said", "unsaid": "unsaid", "keepsakes": "keepsakes"}
"""How figures of a layer are called, and its scores."""


def measure(root: Path, limit: int | None = None, sheets: Path | None = None) -> dict[str, Figure]:
    """All figures of the suite on the bound scenes of a data set."""
    protocol, evaluators = read_protocol(), load_evaluators()
    painter = load_painter(BUNDLED)
    brush, words = bundled_brush(load_painter(BUNDLED), WEIGHTS), Brush.of(painter)
    stage = Stage.of(painter, bound_scenes(read_records(root), tuple(brush.vectors), limit))
    pictures = painted_pictures(brush, words, stage, protocol) | {"accuracy_real": stage.real(painter)}
    masks, own = stage.subjects.masks, stage.categories("own")
    pictures["constant"] = constant_backgrounds(pictures["accuracy_real"], masks, own)
    judged = []
    for evaluator in evaluators:
        scores = {key: stage.score(evaluator, some, whose(key)) for key, some in pictures.items()}
        judged.append((scores, groups_of(stage, scores, protocol)))
    figures = worse([groups for _, groups in judged]) | leak_figures(brush, stage, protocol)
    if sheets is not None:
        draw_sheets(brush, stage, pictures, judged[0][0], protocol, sheets)
    return figures


def painted_pictures(brush: Brush, words: Brush, stage: Stage, protocol: Protocol) -> dict[str, Tensor]:
    """What `PAINTED` says: arms with identifiers by `brush`, the others by `words`, the base as it is."""
    pictures = {
        key: stage.paint(brush if ARMS[arm].identifiers else words, ARMS[arm], which, protocol)
        for key, (arm, which) in PAINTED.items()
    }
    return pictures | {SWAPPED_CONTROL: pictures["accuracy_shape_only"]}


def bundled_brush(painter: Painter, weights: Path) -> Brush:
    """The painter with the identifiers of a category file, and with the LoRA that the file names."""
    vocabulary = CategoryVocabulary.open(weights)
    if vocabulary.base != painter.family:
        raise ProductBackgroundError(
            f"{weights} fits the base {vocabulary.base!r}. The base in use is {painter.family!r}."
        )
    if name := vocabulary.header.config.get("lora"):
        load_lora(painter.unet, lora_beside(weights, name), painter.family)
    categories, vectors = read_all(vocabulary)
    return Brush.of(painter, by_category([category.name for category in categories], vectors.float()))


def whose(key: str) -> Which:
    if key == SWAPPED_CONTROL:
        return "swapped"
    return PAINTED[key][1] if key in PAINTED else "own"


def groups_of(stage: Stage, scores: dict[str, Scores], protocol: Protocol) -> list[Judged]:
    """One evaluator's figures, those that belong together in one group.

    Each accuracy and share is a group of its own, so that each is the worse of two: the lower, of controls the higher.
    """

    def figure(statistic: Statistic, which: Which = "own") -> Figure:
        return bootstrap(statistic, stage.categories(which), protocol.replicates, protocol.bootstrap_seed)

    groups = []
    for key, some in scores.items():
        if not key.startswith("accuracy"):
            continue
        sign = -1.0 if key.endswith("shape_only") else 1.0
        for layer, metric in LAYERS.items():
            shown = figure(mean(some[metric]), whose(key))
            groups.append(Judged(sign * shown.value, {key.replace("accuracy", layer): shown}))
    swapped = scores["accuracy_swapped"]
    for layer, metric in LAYERS.items():
        for baseline in BASELINES:
            gain = figure(mean(swapped[metric] - scores[f"accuracy_{baseline}"][metric]), "swapped")
            groups.append(Judged(gain.value, {f"{layer}_swapped_over_{baseline}": gain}))
    real_right = scores["accuracy_real"]["right"]
    for key, wanted in (("accuracy", real_right), ("accuracy_swapped", real_right[list(stage.partner)])):
        share = figure(ratio(scores[key]["right"], wanted), whose(key))
        groups.append(Judged(share.value, {f"{key}_over_real": share}))
    unseen = torch.tensor([bool(record.factors.get("unseen_family")) for record in stage.records])
    for suffix, counted in (("seen_shapes", ~unseen), ("unseen_shapes", unseen)):
        if bool(counted.any()):
            right = figure(mean(torch.where(counted, swapped["right"], torch.nan)), "swapped")
            groups.append(Judged(right.value, {f"accuracy_swapped_{suffix}": right}))
    ours, base, real = (scores[key] for key in ("accuracy", "base", "accuracy_real"))
    twins = {
        "twin_rate": figure(mean(ours["twin"])),
        "twin_rate_base": figure(mean(base["twin"])),
        "twin_rate_over_base": figure(mean(ours["twin"] - base["twin"])),
        "twin_rate_real": figure(mean(real["twin"])),
    }
    extensions = {
        "extension_excess": figure(mean(ours["extension"] - real["extension"])),
        "extension_excess_base": figure(mean(base["extension"] - real["extension"])),
        "extension_excess_over_base": figure(mean(ours["extension"] - base["extension"])),
    }
    categories, constant = stage.categories("own"), scores["constant"]["features"]
    spread, spread_base = (diversity(some["features"], real["features"], constant, categories) for some in (ours, base))
    varied = {
        "diversity": figure(spread),
        "diversity_base": figure(spread_base),
        "diversity_over_base": figure(lambda weights: spread(weights) - spread_base(weights)),
    }
    return [
        *groups,
        Judged(-twins["twin_rate_over_base"].value, twins),
        Judged(-extensions["extension_excess_over_base"].value, extensions),
        Judged(varied["diversity_over_base"].value, varied),
    ]


def leak_figures(brush: Brush, stage: Stage, protocol: Protocol) -> dict[str, Figure]:
    """`leak_ratio` with the mask and without (`_unmasked`), each also with CLIP's later tokens left open (`_open`).

    `leak_ratio_t1` to `_t5`: in each part of the schedule, the noisiest last.
    """
    own, swapped = stage.wishes("own"), stage.wishes("swapped")
    figures: dict[str, Figure] = {}
    ratios: dict[str, Statistic] = {}
    with torch.no_grad():
        parts = [brush.painter.coder.encode(some.float() / 255) for some in stage.subjects.pictures.split(16)]
    clean = torch.cat(parts)
    for suffix, masked, opened in (
        ("", True, False),
        ("_unmasked", False, False),
        ("_open", True, True),
        ("_unmasked_open", False, True),
    ):
        inside, outside = leak_energies(brush, stage.subjects, clean, own, swapped, masked=masked, opened=opened)
        bins = range(BINS) if suffix in ("", "_unmasked") else ()
        columns = {f"leak_ratio{suffix}": slice(None)} | {f"leak_ratio{suffix}_t{b + 1}": b for b in bins}
        for key, column in columns.items():
            ratios[key] = leak_ratio(inside[:, column], outside[:, column])
    ratios["leak_ratio_over_unmasked"] = lambda weights: (
        ratios["leak_ratio"](weights) / ratios["leak_ratio_unmasked"](weights)
    )
    for key, statistic in ratios.items():
        figures[key] = bootstrap(statistic, stage.categories("own"), protocol.replicates, protocol.bootstrap_seed)
    return figures


def draw_sheets(
    brush: Brush, stage: Stage, pictures: dict[str, Tensor], scores: dict[str, Scores], protocol: Protocol, folder: Path
) -> None:
    """`grid.png`: products by identifiers, noise fixed; `pictures.png`; the worst by each metric, worst first."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = grid_rows([record.category for record in stage.records])
    sheets = {"grid": (grid(brush, stage, rows, protocol), len(rows)), "pictures": (pictures["accuracy"][:256], 16)}
    swapped, own = scores["accuracy_swapped"], scores["accuracy"]
    for name, some, merit in (
        ("worst_category", pictures["accuracy_swapped"], swapped["right"] + swapped["said"] + swapped["unsaid"]),
        ("worst_extension", pictures["accuracy"], -own["extension"]),
        ("worst_twin", pictures["accuracy"], -own["twin"]),
    ):
        sheets[name] = some[merit.argsort()[:WORST]], 8
    for name, (images, columns) in sheets.items():
        with replacing(folder / f"{name}.png") as temporary:
            save_image(images.float() / 255, temporary, nrow=columns)


def grid_rows(categories: Sequence[str], size: int = GRID) -> list[int]:
    """The first scene of each of `size` categories, spread over all that there are."""
    names = sorted(set(categories))
    picked = [names[i * len(names) // min(size, len(names))] for i in range(min(size, len(names)))]
    return [list(categories).index(name) for name in picked]


def grid(brush: Brush, stage: Stage, rows: Sequence[int], protocol: Protocol) -> Tensor:
    """One row of pictures for each product, one column for each identifier; all from the same noise."""
    wishes = stage.wishes("own")
    out = []
    for row in rows:
        asked = [Wish(wishes[row].words, stage.records[other].category) for other in rows]
        # each picture is number 0 of its own run, so all have the same noise
        subjects = stage.subjects.chosen([row])
        out += [paint(brush, ARMS["masked"], subjects, [one], protocol) for one in asked]
    return torch.cat(out)
