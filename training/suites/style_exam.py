"""What evaluators and pixels say of backgrounds painted in the style of references: the figures of suite `style`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from bg_core.style_views import hole_of

from ..data import Pair, Record
from ..evaluators.examples import CLASSES, UNKNOWN, labels_of
from ..evaluators.frozen import Evaluator
from ..evaluators.tasks import foreign
from ..metrics.decisions import hits, retrieved
from ..metrics.distributions import Statistic
from ..metrics.intervals import Figure, bootstrap, mean
from ..metrics.references import GRID, colour_share, copied, layout_iou, occupied
from ..protocol import Protocol
from .judge import Judged

GALLERY = 50
"""References among which each picture's own must be found."""

FACTORS = {"palette": "palette", "surface": "surface", "light": "light", "layout": "arrangement"}
"""What a reference may pass on, and the scene network's head that tells it."""

BESIDE = ("without", "training_free", "mixed")
"""Arms beside ours that are asked, too, how much they copy, for ghosts, leaks and grown products."""

OWN = {"palette": "style", "surface": "style", "light": "layout", "layout": "layout"}
"""Whose factors these are: which group's strength must pass them on."""

COPY_QUANTILE, GAP_QUANTILE = 0.99, 0.05
ROLLS = (1, 2, 3, 5)
"""Whose references stand for a random layout."""


@dataclass(frozen=True)
class Painted:
    """uint8 pictures [N,3,H,W] by arm, around the products of `pairs`, of which `masks` [N,1,H,W] are the masks.

    `real`: the pairs' own pictures through the autoencoder (same style, other layout); `reference`: the references so,
    with `reference_masks`.
    """

    pairs: Sequence[Pair]
    masks: Tensor
    arms: Mapping[str, Tensor]
    real: Tensor
    originals: Tensor
    reference: Tensor
    reference_masks: Tensor

    @property
    def categories(self) -> list[str]:
        return [pair.picture.category for pair in self.pairs]

    @cached_property
    def background(self) -> Tensor:
        return 1 - self.masks.float() / 255

    @cached_property
    def leaked(self) -> Tensor:
        """[N]: the class of the reference's product, or UNKNOWN where both products are of one."""
        theirs = torch.tensor([CLASSES["category"].index(pair.reference.category) for pair in self.pairs])
        differ = torch.tensor([pair.reference.category != pair.picture.category for pair in self.pairs])
        return torch.where(differ, theirs, UNKNOWN)

    def figure(self, statistic: Statistic, protocol: Protocol) -> Figure:
        return bootstrap(statistic, self.categories, protocol.replicates, protocol.bootstrap_seed)

    def compared(self) -> list[tuple[str, str]]:
        """Ours and the arms beside it, with the endings of their figures' keys."""
        return [("ours", ""), *((name, f"_{name}") for name in BESIDE if name in self.arms)]


def distractors(references: Sequence[Record], size: int = GALLERY - 1) -> list[list[int]]:
    """For each reference the rows of others, half of them hard if there are so many: of its category or palette."""
    found = []
    n = len(references)
    for i, own in enumerate(references):
        others = [(i + k) % n for k in range(1, n)]
        hard = [j for j in others if _alike(own, references[j])][: size // 2]
        rest = [j for j in others if j not in hard]
        found.append((hard + rest)[:size])
    return found


def _alike(one: Record, other: Record) -> bool:
    return one.category == other.category or one.factors["palette"] == other.factors["palette"]


def pixel_figures(painted: Painted, protocol: Protocol) -> dict[str, Figure]:
    """Copies, layout and the product's pixels: nothing of it hangs on a network."""
    where, reference = painted.background, painted.reference.float() / 255
    figures: dict[str, Figure] = {}
    pairs = copied(painted.real.float() / 255, reference, where)
    threshold = pairs[~pairs.isnan()].quantile(COPY_QUANTILE)
    copies = {}
    for name, _ in painted.compared():
        score = copied(painted.arms[name].float() / 255, reference, where)
        copies[name] = torch.where(score.isnan(), torch.nan, (score > threshold).double())
    figures |= beside(painted, protocol, "copy_rate", copies)
    theirs = painted.reference_masks.float() / 255
    leaks = {name: colour_share(painted.arms[name], where, painted.reference, theirs) for name, _ in painted.compared()}
    figures |= beside(painted, protocol, "colour_leak", leaks)
    pair = colour_share(painted.real, where, painted.reference, theirs)
    figures["colour_leak_pair"] = painted.figure(mean(pair), protocol)
    gains = {"": "ours", "_style": "style", "_layout": "layout", "_without": "without"}
    for suffix, name in gains.items():
        figures[f"layout_iou_gain{suffix}"] = painted.figure(mean(iou_gain(painted, painted.arms[name])), protocol)
    figures["layout_iou_gain_pair"] = painted.figure(mean(iou_gain(painted, painted.real)), protocol)
    solid = painted.masks == 255
    error = ((painted.arms["ours"].int() - painted.originals.int()).abs() * solid).amax((1, 2, 3)).double()
    figures["product_error"] = painted.figure(mean(error), protocol)
    return figures


def iou_gain(painted: Painted, pictures: Tensor) -> Tensor:
    """[N]: how much better a picture's occupied places fit its own reference's than other references'."""
    other = 1 - painted.reference_masks.float() / 255
    ours = occupied(pictures.float() / 255, painted.background)
    theirs = occupied(painted.reference.float() / 255, other)
    free, known = (F.adaptive_avg_pool2d(where, GRID)[:, 0] > 0.5 for where in (painted.background, other))
    own = layout_iou(ours, theirs, free & known)
    shifts = [k for k in ROLLS if k % len(ours)] or [0]
    rest = [layout_iou(ours, theirs.roll(k, 0), free & known.roll(k, 0)) for k in shifts]
    return own - torch.stack(rest).mean(0)


def gaps(painted: Painted, pictures: Tensor) -> Tensor:
    """[N]: how much goes on where the reference's product stood, over how much goes on elsewhere in the background."""
    product = (painted.reference_masks > 5).float()
    hole = hole_of(product, *product.shape[-2:]) * painted.background
    rest = (1 - hole) * painted.background
    grey = pictures.float().mean(1, keepdim=True) / 255
    detail = (grey - F.avg_pool2d(grey, 9, stride=1, padding=4, count_include_pad=False)).abs()
    inside, outside = ((detail * where).sum((1, 2, 3)) / where.sum((1, 2, 3)).clamp(min=1) for where in (hole, rest))
    found = (inside / outside.clamp(min=1e-4)).double()
    return torch.where(hole.sum((1, 2, 3)) > 0, found, torch.nan)  # the whole hole may lie under the own product


def beside(painted: Painted, protocol: Protocol, key: str, values: Mapping[str, Tensor]) -> dict[str, Figure]:
    """Figures of `values` [N] by arm, and of ours less those without reference, picture by picture."""
    figures = {f"{key}{suffix}": painted.figure(mean(values[name]), protocol) for name, suffix in painted.compared()}
    figures[f"{key}_over_without"] = painted.figure(mean(values["ours"] - values["without"]), protocol)
    return figures


class StyleJudge:
    """One evaluator's view of all arms."""

    def __init__(self, evaluator: Evaluator, painted: Painted, protocol: Protocol) -> None:
        self.evaluator, self.painted, self.protocol = evaluator, painted, protocol
        others = painted.masks[foreign(painted.categories)]
        named = {**painted.arms, "real": painted.real}
        self.answers = {name: evaluator.scene(some, painted.masks, others) for name, some in named.items()}
        theirs = [pair.reference.category for pair in painted.pairs]
        hidden = painted.reference_masks[foreign(theirs)]
        self.gallery = evaluator.scene(painted.reference, painted.reference_masks, hidden)

    def figure(self, statistic: Statistic) -> Figure:
        return self.painted.figure(statistic, self.protocol)

    @cached_property
    def found(self) -> dict[str, Tensor]:
        """By arm, 1 where a picture's own reference is the most alike of the gallery."""
        rows = distractors([pair.reference for pair in self.painted.pairs])
        return {name: retrieved(given["style"], self.gallery["style"], rows) for name, given in self.answers.items()}

    def retrieval(self) -> Judged:
        """`retrieval_top1` is that of style alone: with the layout a reference is found more easily still."""
        figures = {"retrieval_top1": self.figure(mean(self.found["style"]))}
        figures["retrieval_real"] = self.figure(mean(self.found["real"]))
        for name in self.painted.arms:
            figures[f"retrieval_top1_{name}"] = self.figure(mean(self.found[name]))
        return Judged(figures["retrieval_top1"].value / max(figures["retrieval_real"].value, 1e-9), figures)

    def responses(self, factor: str) -> list[Judged]:
        """`response_ARM_FACTOR`: how often a picture shows its reference's factor; `_over_without`: more than chance.

        `real` is the pair of the same style and, for the layout, which pairs don't share, the reference itself. Each
        arm is a group of its own, as the worse of two evaluators is the one that finds less of what a strength is for,
        and the one that finds more of what it isn't for.
        """
        head = FACTORS[factor]
        wanted = torch.tensor([labels_of(pair.reference)[head] for pair in self.painted.pairs])
        right = {name: hits(self.answers[name][head], wanted) for name in self.painted.arms}
        real = self.gallery if factor == "layout" else self.answers["real"]
        of_real = self.figure(mean(hits(real[head], wanted)))
        groups = []
        for name, values in right.items():
            key = f"response_{name}_{factor}"
            figures = {key: self.figure(mean(values))}
            merit = figures[key].value
            if name != "without":
                figures[f"{key}_over_without"] = self.figure(mean(values - right["without"]))
            if name == OWN[factor]:
                figures[f"response_real_{factor}"] = of_real
                merit /= max(of_real.value, 1e-9)
            elif name in OWN.values():
                merit = -abs(figures[f"{key}_over_without"].value)
            groups.append(Judged(merit, figures))
        return groups

    def ghosts(self) -> Judged:
        """A second product, or a bare place where the reference's stood: barer than all but a few without reference."""
        limit = gaps(self.painted, self.painted.arms["without"]).nanquantile(GAP_QUANTILE)
        ghosts = {}
        for name, _ in self.painted.compared():
            pictures = self.painted.arms[name]
            twin = self.evaluator.twin(pictures, self.painted.masks) > self.evaluator.twin_threshold
            ghosts[name] = (twin | (gaps(self.painted, pictures) < limit)).double()
        return self._beside("ghost_rate", ghosts)

    def leaks(self) -> Judged:
        """How often the scene network takes a background for one of the reference's product, where products differ."""
        wanted = self.painted.leaked
        if bool((wanted == UNKNOWN).all()):
            return Judged(0.0, {})
        leaks = {name: hits(self.answers[name]["category"], wanted) for name, _ in self.painted.compared()}
        return self._beside("leak_rate", leaks)

    def extensions(self) -> Judged:
        """By how much of its area the product grew, more than the renders' seem to."""
        real = self.evaluator.extension(self.painted.real, self.painted.masks)
        masks = self.painted.masks
        grown = {name: self.evaluator.extension(self.painted.arms[name], masks) for name, _ in self.painted.compared()}
        return self._beside("extension_excess", {name: values - real for name, values in grown.items()})

    def _beside(self, key: str, values: Mapping[str, Tensor]) -> Judged:
        """What is better low, of ours and the arms beside it, and by how much a reference raises it."""
        figures = beside(self.painted, self.protocol, key, values)
        return Judged(-figures[f"{key}_over_without"].value, figures)

    def groups(self) -> list[Judged]:
        responses = [group for factor in FACTORS for group in self.responses(factor)]
        return [self.retrieval(), *responses, self.ghosts(), self.leaks(), self.extensions()]
