"""Scenes whose products get new backgrounds: their own category's, and another's. Every arm paints the same ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from bg_core.errors import ProductBackgroundError

from ..data import Record, load_masks, load_pictures, without_faults
from ..evaluators.examples import painted
from ..evaluators.frozen import Evaluator
from ..painters import Painter
from ..protocol import Protocol
from .paint import Brush, Subjects, Wish, paint
from .plan import Arm
from .scenes import words_of
from .scores import Scores, covers, partners, score

Which = Literal["own", "swapped"]
"""Whose background a product gets: its own category's, or that of its `partner`."""


@dataclass(frozen=True)
class Stage:
    """`partner[i]` is the row of a scene of another category; its identifier is given to product i in `swapped`."""

    records: Sequence[Record]
    subjects: Subjects
    partner: list[int]

    @classmethod
    def of(cls, painter: Painter, records: Sequence[Record], side: int | None = None, sloppy: float = 0.0) -> Stage:
        """`side`: pixels to paint at; the pictures' own by default. `sloppy`: see `Subjects`."""
        pictures, masks = load_pictures(records, side), load_masks(records, side)
        return cls(records, Subjects.of(painter, pictures, masks, sloppy), partners(records))

    def categories(self, which: Which) -> list[str]:
        """The category whose background each picture is asked for."""
        chosen = range(len(self.records)) if which == "own" else self.partner
        return [self.records[i].category for i in chosen]

    def wishes(self, which: Which) -> list[Wish]:
        chosen = range(len(self.records)) if which == "own" else self.partner
        wishes = []
        for record, i in zip(self.records, chosen, strict=True):
            other = self.records[i]
            word, shown = (str(r.factors.get("product_word", r.category)) for r in (other, record))
            # only the first: a scene may have props of the same name
            wishes.append(Wish(words_of(record), other.category, other.caption.replace(word, shown, 1)))
        return wishes

    def paint(self, brush: Brush, arm: Arm, which: Which, protocol: Protocol, strength: float = 1.0) -> Tensor:
        return paint(brush, arm, self.subjects, self.wishes(which), protocol, strength=strength)

    def real(self, painter: Painter) -> Tensor:
        """The renders through the autoencoder: the best that could be painted, their own category's backgrounds."""
        return painted(self.subjects.pictures, self.subjects.masks, painter.coder)

    def score(self, evaluator: Evaluator, pictures: Tensor, which: Which) -> Scores:
        """By the true masks, whatever mask was given: a scorer must not see what a careless user left of the scene."""
        return score(evaluator, pictures, self.subjects.masks, self.hidden(which), self.categories(which))

    def hidden(self, which: Which) -> Tensor:
        """The masks under which a scorer finds products hidden beside their own (`covers`)."""
        return self.subjects.masks[covers(self.records, self.partner, self.categories(which))]


def bound_scenes(records: Sequence[Record], categories: Sequence[str] = (), limit: int | None = None) -> list[Record]:
    """Sound scenes that were made for their product's category.

    Raises ProductBackgroundError where there are none of two categories: others say nothing of a category.
    """
    chosen = [
        record
        for record in without_faults(records)
        if record.factors.get("half") == "bound" and (not categories or record.category in categories)
    ][:limit]
    if len({record.category for record in chosen}) < 2:
        raise ProductBackgroundError(
            f"Expected rendered scenes of the bound half, of at least two categories; found {len(chosen)} scenes among "
            f"{len(records)}. Render some: python -m training.render --seed-range 300000:300480 --held-out "
            "--half bound --out DIR."
        )
    return chosen


def by_category(names: Sequence[str], vectors: Tensor) -> Mapping[str, Tensor]:
    """`vectors` [K,n,D] by the names of their categories."""
    return dict(zip(names, vectors, strict=True))
