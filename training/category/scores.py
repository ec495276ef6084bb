"""What an evaluator says of painted backgrounds: is it the category that was asked for, and is the product alone?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from ..data import Record
from ..evaluators.examples import CLASSES, KEEPSAKES
from ..evaluators.frozen import Evaluator
from ..metrics.decisions import hits
from ..render.catalog import shows_palette
from ..render.categories import CATEGORIES
from .scenes import LIGHT_KINDS

Scores = dict[str, Tensor]
"""Values for each picture: `right`, `twin`, `extension`, `said`, `unsaid`, `keepsakes` [N] and `features` [N,D]."""

SAID = {"surface": "surfaces", "wall": "walls", "palette": "palette", "light": "lights"}
UNSAID = {"rig": "rigs", "arrangement": "arrangements"}
"""Heads of the scene network, and the category's own choices of that factor: those captions name, and others."""


def score(evaluator: Evaluator, pictures: Tensor, masks: Tensor, others: Tensor, categories: Sequence[str]) -> Scores:
    """Scores of uint8 pictures whose backgrounds should be those of `categories`.

    `others`: masks under which products are hidden, too (`covers`), so that the hidden place has not their shape alone.
    `said` and `unsaid`: the share of factors of which the background shows one of the category's own choices;
    `keepsakes`: the share of the category's own props, which no scene of the generic half holds, that stand there.
    """
    answers = evaluator.scene(pictures, masks, others)
    wanted = torch.tensor([CLASSES["category"].index(category) for category in categories])
    return {
        "right": hits(answers["category"], wanted),
        "said": typical(answers, categories, SAID),
        "unsaid": typical(answers, categories, UNSAID),
        "keepsakes": own_keepsakes(evaluator.keepsakes(pictures, masks, others), categories),
        "twin": (evaluator.twin(pictures, masks) > evaluator.twin_threshold).double(),
        "extension": evaluator.extension(pictures, masks).double(),
        "features": answers["features"],
    }


def typical(answers: dict[str, Tensor], categories: Sequence[str], factors: dict[str, str]) -> Tensor:
    """[N] float64: the share of `factors` in which a picture shows what its category's backgrounds show.

    A palette counts only where the surface or the wall that is shown has its colour; elsewhere nothing shows it.
    """
    shares = []
    for head, choices in factors.items():
        own = [_own_choices(category, choices) for category in categories]
        right = torch.tensor([one in some for one, some in zip(_shown(answers, head), own, strict=True)]).double()
        if head == "palette":
            coloured = [
                shows_palette(*both) for both in zip(_shown(answers, "surface"), _shown(answers, "wall"), strict=True)
            ]
            right = torch.where(torch.tensor(coloured), right, torch.nan)
        shares.append(right)
    return torch.stack(shares).nanmean(0)


def _shown(answers: dict[str, Tensor], head: str) -> list[str]:
    """What each picture shows of a factor."""
    return [CLASSES[head][i] for i in answers[head].argmax(1).tolist()]


def _own_choices(category: str, choices: str) -> tuple[str, ...]:
    """What scenes of a category are rendered with; a seamless wall runs on into the ground, which is paper then."""
    own = CATEGORIES[category]
    paper = choices == "surfaces" and "seamless" in own.walls
    return (*getattr(own, choices), *(("paper",) if paper else ()))


def own_keepsakes(there: Tensor, categories: Sequence[str]) -> Tensor:
    """[N] float64: the share of its category's keepsakes that a picture shows; `there` [N,K] as `KEEPSAKES` orders."""
    own = [[KEEPSAKES.index(kind) for kind in CATEGORIES[category].bound_props] for category in categories]
    return torch.stack([row[columns].double().mean() for row, columns in zip(there, own, strict=True)])


def cell_hits(evaluator: Evaluator, pictures: Tensor, masks: Tensor, others: Tensor, asked: Sequence[str],
              among: Sequence[str]) -> Tensor:  # fmt: skip
    """[N], 1 where a picture shows the virtual category that was asked for rather than any other of `among`.

    A cell's likelihood is the product of the scene network's chances of its surface, colour and kind of light.
    """
    answers = evaluator.scene(pictures, masks, others)
    surface, colour, light = (answers[head].double().log_softmax(1) for head in ("surface", "palette", "light"))
    kinds = [LIGHT_KINDS[name] for name in CLASSES["light"]]
    by_kind = {kind: light[:, [k == kind for k in kinds]].logsumexp(1) for kind in set(kinds)}
    columns = []
    for cell in among:
        ground, tint, kind = cell.split(", ")
        columns.append(
            surface[:, CLASSES["surface"].index(ground)] + colour[:, CLASSES["palette"].index(tint)] + by_kind[kind]
        )
    wanted = torch.tensor([list(among).index(cell) for cell in asked])
    return (torch.stack(columns, dim=1).argmax(1) == wanted).double()


def partners(records: Sequence[Record]) -> list[int]:
    """For each record one of another category, with whose identifier its product is shown.

    Every category is asked for as often as it occurs, and asked for around several others.
    """
    names = sorted({record.category for record in records})
    if len(names) < 2:
        raise ProductBackgroundError("Products can't be swapped: expected scenes of at least two categories.")
    rows = {name: [i for i, record in enumerate(records) if record.category == name] for name in names}
    found = [0] * len(records)
    for name, own in rows.items():
        for place, i in enumerate(own):
            other = names[(names.index(name) + 1 + place % (len(names) - 1)) % len(names)]
            found[i] = rows[other][place % len(rows[other])]
    return found


def covers(records: Sequence[Record], partner: Sequence[int], asked: Sequence[str]) -> list[int]:
    """For each record one under whose mask its product is hidden, too: of a third category.

    Neither the record's own nor its partner's, so that the hole is the same whichever of the two backgrounds is asked
    for, and has not the shape that goes with it; every category's shape as often as it occurs, and with several that
    are asked for. Where there are but two categories: the one that isn't `asked` for, and another record than the one
    that is hidden, if its category has one.
    """
    rows: dict[str, list[int]] = {}
    for i, record in enumerate(records):
        rows.setdefault(record.category, []).append(i)
    names = sorted(rows)
    found = []
    for i, record in enumerate(records):
        own, other = record.category, records[partner[i]].category
        first, place = names.index(own) + 1, rows[own].index(i)
        others = [name for name in names[first:] + names[: first - 1] if name != other]
        name = others[2 * place % len(others)] if others else next(name for name in names if name != asked[i])
        of_one = [row for row in rows[name] if row != i] or rows[name]
        found.append(of_one[place % len(of_one)])
    return found


def write_scores(path: Path, scores: Scores) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file({key: value.contiguous() for key, value in scores.items()}, temporary)


def read_scores(path: Path) -> Scores:
    return load_file(path)
