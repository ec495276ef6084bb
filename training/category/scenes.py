"""The scenes that teach categories: which, and under what label."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from bg_core.errors import ProductBackgroundError

from ..data import Record
from ..render.catalog import shows_palette
from ..render.categories import CATEGORIES
from ..vocabulary import with_article
from .plan import Scenes

LIGHT_KINDS = {
    "soft left": "soft", "soft right": "soft", "top": "soft", "sun left": "sun", "sun right": "sun", "window": "sun",
    "evening": "dim", "moody": "dim",
}  # fmt: skip
"""Virtual categories part lights three ways: eight make cells small."""


@dataclass(frozen=True)
class Example:
    """One picture, the category it teaches, and the words that stand for its product in the prompt."""

    record: Record
    label: str
    words: str


def select(records: Sequence[Record], scenes: Scenes, seed: int) -> list[Example]:
    """The pictures of `scenes`, in the data's order. `seed` decides which, where a category has more than it may."""
    if scenes.virtual:
        labelled = _virtual(records, scenes)
    else:
        labelled = [(record, record.category) for record in records]
        wanted = scenes.categories or tuple(dict.fromkeys(record.category for record in records))
        known = {label for _, label in labelled}
        if lost := [name for name in wanted if name not in known]:
            raise ProductBackgroundError(
                f"The data has no pictures of {', '.join(lost[:5])}. Its categories are {', '.join(sorted(known))}."
            )
        labelled = [(record, label) for record, label in labelled if label in wanted]
    if scenes.images:
        labelled = _thinned(labelled, {label: scenes.images for _, label in labelled}, seed)
    return [Example(record, label, words_of(record)) for record, label in labelled]


def words_of(record: Record) -> str:
    """A record's product as captions say it, else its category's own words, else its name."""
    word = record.factors.get("product_word")
    if not word and record.category in CATEGORIES:
        word = CATEGORIES[record.category].words[0]
    return with_article(word) if word else record.category


def cell_of(record: Record) -> str:
    """The virtual category of a rendered scene: its surface, its colour and the kind of its light; "" where nothing in
    it has that colour."""
    facts = record.factors
    if not {"surface", "wall", "palette", "light"} <= set(facts):
        raise ProductBackgroundError(
            f"{record.name} has no factors surface, wall, palette and light. Virtual categories need rendered scenes: "
            "python -m training.render."
        )
    if not shows_palette(facts["surface"], facts["wall"]):
        return ""
    return f"{facts['surface']}, {facts['palette']}, {LIGHT_KINDS[facts['light']]}"


def spread_order(count: int) -> list[int]:
    """0 to count-1 so that every beginning of the list is spread evenly over all: by bits read backwards."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))


def virtual_cells(records: Sequence[Record], scenes: Scenes) -> dict[str, int]:
    """The first `scenes.virtual` cells, and how many pictures each may have.

    Cells are ordered by their numbers of pictures, then taken by `spread_order`: the first 8 lie among the first 32,
    and both reach from the head to the tail, which is as long as the data makes it.
    """
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        if cell := cell_of(record):
            counts[cell] += 1
    cells = sorted((cell for cell, n in counts.items() if n >= scenes.smallest), key=lambda c: (-counts[c], c))
    if len(cells) < scenes.virtual:
        raise ProductBackgroundError(
            f"The data has {len(cells)} cells of {scenes.smallest} or more pictures. Expected {scenes.virtual}: render "
            "more scenes of the generic half (training.render.plan: 4,800), or ask for fewer virtual categories (in a "
            "study, sizes under [sweep] of its --config)."
        )
    chosen = [cells[i] for i in spread_order(len(cells))][: scenes.virtual]
    return {cell: min(counts[cell], scenes.largest) for cell in chosen}


def _virtual(records: Sequence[Record], scenes: Scenes) -> list[tuple[Record, str]]:
    cells = virtual_cells(records, scenes)
    return _thinned([(r, cell) for r in records if (cell := cell_of(r)) in cells], cells, 0)


def _thinned(labelled: list[tuple[Record, str]], most: dict[str, int], seed: int) -> list[tuple[Record, str]]:
    """At most so many of each label; which, depends on their names and `seed`: smaller sets lie in larger ones."""

    def place(index: int) -> bytes:
        return hashlib.blake2b(f"{seed} {labelled[index][0].name}".encode(), digest_size=8).digest()

    kept: dict[str, int] = defaultdict(int)
    chosen = []
    for index in sorted(range(len(labelled)), key=place):
        label = labelled[index][1]
        if kept[label] < most[label]:
            kept[label] += 1
            chosen.append(index)
    return [labelled[i] for i in sorted(chosen)]
