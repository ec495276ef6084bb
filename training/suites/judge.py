"""What one evaluator says of the pictures a base painted, in groups of figures that belong together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.style_views import cleared

from ..data import Record
from ..evaluators.examples import CLASSES, UNKNOWN
from ..evaluators.frozen import Evaluator
from ..evaluators.tasks import foreign
from ..generate import pasted
from ..metrics.decisions import hits
from ..metrics.distributions import Statistic, diversity, kid, standardised, total_variation
from ..metrics.intervals import Figure, bootstrap, mean
from ..protocol import Protocol

GROWN = 0.05
"""A product that grew by more than this share of its area counts as grown; our choice."""

PROMPTED = ("surface", "wall", "light")
"""Factors that captions name and that bars are set on."""


@dataclass(frozen=True)
class Arms:
    """The same scenes five times, uint8 [N,3,H,W], every product pasted in from the render.

    `real`: the render; `vae`: through the autoencoder, the best that could be painted; `blur`: blurred; `ours`:
    painted by the base; `shuffled`: painted to the caption of another picture.
    """

    records: list[Record]
    masks: Tensor
    real: Tensor
    vae: Tensor
    blur: Tensor
    ours: Tensor
    shuffled: Tensor

    @property
    def categories(self) -> list[str]:
        return [record.category for record in self.records]

    def figure(self, statistic: Statistic, protocol: Protocol) -> Figure:
        return bootstrap(statistic, self.categories, protocol.replicates, protocol.bootstrap_seed)


@dataclass(frozen=True)
class Judged:
    """Figures, and how well the painted pictures do by them: larger is better."""

    merit: float
    figures: dict[str, Figure]


@dataclass(frozen=True)
class Judge:
    """One evaluator's view of all arms."""

    evaluator: Evaluator
    arms: Arms
    protocol: Protocol
    groups: ClassVar[list[Callable[[Judge], Judged]]]

    @cached_property
    def answers(self) -> dict[str, dict[str, Tensor]]:
        """The scene network's answers to each arm, the product hidden under another category's shape.

        `constant`: one and the same background for all products of a category.
        """
        arms = self.arms
        others = arms.masks[foreign(arms.categories)]
        pictures = {name: getattr(arms, name) for name in ("real", "vae", "blur", "ours", "shuffled")}
        pictures["constant"] = constant_backgrounds(arms.vae, arms.masks, arms.categories)
        return {name: self.evaluator.scene(some, arms.masks, others) for name, some in pictures.items()}

    @cached_property
    def contact(self) -> dict[str, Tensor]:
        return {name: self.evaluator.contact(getattr(self.arms, name), self.arms.masks) for name in ("vae", "ours")}

    @cached_property
    def twin(self) -> dict[str, Tensor]:
        return {name: self.evaluator.twin(getattr(self.arms, name), self.arms.masks) for name in ("vae", "ours")}

    @cached_property
    def extension(self) -> dict[str, Tensor]:
        return {name: self.evaluator.extension(getattr(self.arms, name), self.arms.masks) for name in ("vae", "ours")}

    def figure(self, statistic: Statistic) -> Figure:
        return self.arms.figure(statistic, self.protocol)

    def distance_figures(self) -> Judged:
        """KID of each arm's backgrounds to the renders', and of one half of the renders to the other (the floor)."""
        names = ("real", "vae", "blur", "ours", "shuffled")
        real, vae, blur, ours, shuffled = standardised(*(self.answers[name]["features"] for name in names))
        first, second = halves(self.arms.categories)
        figures = {
            "kid_background": self.figure(kid(real, ours)),
            "kid_vae": self.figure(kid(real, vae)),
            "kid_blur": self.figure(kid(real, blur)),
            "kid_shuffled": self.figure(kid(real, shuffled)),
            "kid_floor": bootstrap(
                kid(real[first], real[second]),
                [self.arms.categories[i] for i in first],
                self.protocol.replicates,
                self.protocol.bootstrap_seed,
            ),
        }
        anchor, scale = figures["kid_vae"].value, figures["kid_blur"].value - figures["kid_vae"].value
        return Judged(-(figures["kid_background"].value - anchor) / max(scale, 1e-9), figures)

    def variety_figures(self) -> Judged:
        """How varied backgrounds of one category are: 1 as the renders', 0 for one and the same."""
        ours, vae, constant = (self.answers[name]["features"] for name in ("ours", "vae", "constant"))
        figure = self.figure(diversity(ours, vae, constant, self.arms.categories))
        return Judged(figure.value, {"diversity": figure})

    def histogram_figures(self, head: str) -> Judged:
        """How far the histogram of a factor, as seen in the painted backgrounds, lies from the renders'."""
        ours, vae = (F.one_hot(self.answers[name][head].argmax(1), len(CLASSES[head])) for name in ("ours", "vae"))
        figure = self.figure(total_variation(ours, vae))
        return Judged(-figure.value, {f"histogram_distance_{head}": figure})

    def prompt_figures(self, head: str) -> Judged:
        """How often a background shows what its caption asks for, on combinations never trained and on others."""
        labels = torch.tensor([CLASSES[head].index(record.factors[head]) for record in self.arms.records])
        unseen = torch.tensor([bool(record.factors["unseen_combination"]) for record in self.arms.records])
        figures = {}
        for suffix, counted in (("", unseen), ("_seen", ~unseen)):
            if counted.any():
                asked = torch.where(counted, labels, UNKNOWN)
                for arm, name in (("ours", ""), ("vae", "_real")):
                    right = hits(self.answers[arm][head], asked)
                    figures[f"prompt_accuracy_{head}{suffix}{name}"] = self.figure(mean(right))
        shuffled = labels.roll(len(labels) // 2 + 1)
        right = hits(self.answers["ours"][head], shuffled)
        figures[f"prompt_accuracy_{head}_shuffled"] = self.figure(mean(right))
        key = f"prompt_accuracy_{head}{'' if unseen.any() else '_seen'}"
        return Judged(figures[key].value / max(figures[f"{key}_real"].value, 1e-9), figures)

    def contact_figures(self) -> Judged:
        """The share of pictures whose product stands on its ground."""
        threshold = self.evaluator.contact_threshold
        return self._rates("contact_rate", self.contact, threshold, better=1.0)

    def twin_figures(self) -> Judged:
        """The share of pictures with a second product in the background."""
        return self._rates("twin_rate", self.twin, self.evaluator.twin_threshold, better=-1.0)

    def extension_figures(self) -> Judged:
        """By how much of its area the product grew, more than the renders' products seem to.

        `extension_rate`: the share of pictures in which it grew by more than `GROWN`; there nothing cancels out.
        """
        excess = self.extension["ours"] - self.extension["vae"]
        figures = {"extension_excess": self.figure(mean(excess))}
        for name, suffix in (("ours", ""), ("vae", "_real")):
            figures[f"extension_rate{suffix}"] = self.figure(mean((self.extension[name] > GROWN).double()))
        figures["extension_real"] = self.figure(mean(self.extension["vae"]))
        return Judged(-figures["extension_excess"].value, figures)

    def _rates(self, key: str, scores: dict[str, Tensor], threshold: float, better: float) -> Judged:
        figures = {
            f"{key}{suffix}": self.figure(mean((scores[arm] > threshold).double()))
            for arm, suffix in (("ours", ""), ("vae", "_real"))
        }
        return Judged(better * (figures[key].value - figures[f"{key}_real"].value), figures)


Judge.groups = [
    Judge.distance_figures,
    Judge.variety_figures,
    *(partial(Judge.histogram_figures, head=head) for head in (*PROMPTED, "palette")),
    *(partial(Judge.prompt_figures, head=head) for head in PROMPTED),
    Judge.contact_figures,
    Judge.twin_figures,
    Judge.extension_figures,
]


def worse(judged: Sequence[Sequence[Judged]]) -> dict[str, Figure]:
    """Of each group, the figures of the evaluator that finds less: a bar counts the worse. One list an evaluator."""
    figures: dict[str, Figure] = {}
    for alternatives in zip(*judged, strict=True):
        figures |= min(alternatives, key=lambda group: group.merit).figures
    return figures


def constant_backgrounds(pictures: Tensor, masks: Tensor, categories: Sequence[str]) -> Tensor:
    """uint8 pictures [N,3,H,W] with the background of their category's first one; its product is filled."""
    first = {name: i for i, name in reversed(list(enumerate(categories)))}
    rows = list(first.values())
    clear, _ = cleared(pictures[rows].float() / 255, masks[rows].float() / 255, *pictures.shape[-2:])
    backgrounds = dict(zip(first, clear, strict=True))
    behind = torch.stack([backgrounds[name] for name in categories])
    return pasted(behind, pictures.float() / 255, masks.float() / 255)


def halves(categories: list[str]) -> tuple[list[int], list[int]]:
    """Two lists of rows without a common one, row i of both of one category."""
    first, second = [], []
    for _, rows in groupby(sorted(range(len(categories)), key=lambda i: categories[i]), key=lambda i: categories[i]):
        rows = list(rows)
        first += rows[: len(rows) // 2]
        second += rows[len(rows) // 2 : 2 * (len(rows) // 2)]
    return first, second
