"""The five evaluators: how a batch is drawn for each, its loss, and its figures on held-out pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bg_core.covering import covering

from ..metrics.decisions import extension, hits, retrieved, threshold_between
from ..render.categories import CATEGORIES
from .examples import CLASSES, GRID, KEEPSAKES, UNKNOWN, Examples, draw
from .views import DILATION, foot_views, scene_view, shaken_foot_view, whole_view, whole_views

Views = Callable[[Tensor, Tensor, int], list[Tensor]]
"""(pictures, masks, side) -> what a scorer is shown of them."""

Loss = Callable[[nn.Module, Examples, int, int, torch.Generator], dict[str, Tensor]]
"""(network, examples, batch, side, generator) -> named losses, one of them `loss`."""


@dataclass(frozen=True)
class Task:
    """What one evaluator learns. `view` is what its network is shown when it scores [B,3,H,W] pictures."""

    loss: Loss
    figures: Callable[[nn.Module, Examples, int], dict[str, float]]


RARE = 6.0
"""Weight of the cells where a keepsake stands: it covers few of them."""


def other_masks(masks: Tensor, generator: torch.Generator) -> Tensor:
    """Another picture's mask for each, at random: the hole that hides a product must not have its shape."""
    shift = int(torch.randint(1, len(masks), (1,), generator=generator)) if len(masks) > 1 else 0
    return masks.roll(shift, 0)


def rows_of(examples: Examples, *negatives: str) -> Tensor:
    """Rows of the pictures with one of these faults, "" standing for none."""
    return torch.tensor([i for i, negative in enumerate(examples.negatives) if negative in negatives])


def rows_of_half(examples: Examples, negative: str) -> Tensor:
    """The same, of the generic half only: negatives are rendered there, and a scorer must not tell the halves apart."""
    rows = rows_of(examples, negative)
    return rows[examples.labels["category"][rows] == UNKNOWN]


def sample(rows: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return rows[torch.randint(len(rows), (count,), generator=generator)]


# --- the scene: category, factors, style ------------------------------------------------------------------------------


def scene_loss(net: nn.Module, examples: Examples, batch: int, side: int, generator: torch.Generator) -> dict:
    """Two views of each picture, hidden and augmented apart: all heads on both; their styles must find each other."""
    rows = sample(rows_of(examples, ""), batch // 2, generator)
    views, labels = [], []
    for _ in range(2):
        batch_ = draw(examples, rows, generator)
        radius = 0.03 + 0.05 * float(torch.rand(1, generator=generator))
        views.append(scene_view(batch_.pictures, batch_.masks, other_masks(batch_.masks, generator), side, radius))
        labels.append(batch_.labels)
    answers = net(torch.cat(views))
    losses = {}
    for head in CLASSES:
        target = torch.cat([both[head] for both in labels])
        # a mean over what is known, and zero where nothing is
        total = F.cross_entropy(answers[head], target, label_smoothing=0.05, reduction="sum")
        losses[head] = total / (target != UNKNOWN).sum().clamp(min=1)
    first, second = answers["style"].chunk(2)
    likeness = first @ second.T / 0.1
    losses["style"] = (F.cross_entropy(likeness, torch.arange(len(rows))) + F.cross_entropy(
        likeness.T, torch.arange(len(rows)))) / 2  # fmt: skip
    return {"loss": torch.stack(list(losses.values())).mean(), **{k: v.detach() for k, v in losses.items()}}


def scene_views(pictures: Tensor, masks: Tensor, others: Tensor, side: int) -> Iterator[Tensor]:
    """`scene_view` of uint8 pictures and masks, some at a time."""
    for some in zip(*(t.split(32) for t in (pictures, masks, others)), strict=True):
        yield scene_view(*(t.float() / 255 for t in some), side)


@torch.no_grad()
def answers(net: nn.Module, pictures: Tensor, masks: Tensor, others: Tensor, side: int) -> dict[str, Tensor]:
    """A scene network's answers to uint8 pictures whose products, and those of `others`, are hidden."""
    parts = [net(view) for view in scene_views(pictures, masks, others, side)]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


def foreign(categories: list[str]) -> list[int]:
    """For each picture the row of one of another category: half the list away, or further."""
    n = len(categories)
    return [
        next(((i + n // 2 + k) % n for k in range(n) if categories[(i + n // 2 + k) % n] != categories[i]), i)
        for i in range(n)
    ]


def scene_figures(net: nn.Module, examples: Examples, side: int) -> dict[str, float]:
    scenes = examples.chosen(rows_of(examples, "").tolist())
    others = scenes.wholes[foreign(scenes.categories)]
    given = answers(net, scenes.painted, scenes.wholes, others, side)
    mirrored = answers(net, scenes.painted.flip(-1), scenes.wholes.flip(-1), others, side)
    figures = {f"{head}_accuracy": float(hits(given[head], scenes.labels[head]).nanmean()) for head in CLASSES}
    generic = scenes.labels["category"] == UNKNOWN
    truth = torch.tensor([CLASSES["category"].index(name) for name in scenes.categories])
    # a scene made for no category: what finds the product's category there sees the product
    figures["category_leak"] = float(hits(given["category"], truth)[generic].mean())
    count = len(scenes)
    gallery = [[(i + k) % count for k in range(1, min(50, count))] for i in range(count)]
    figures["style_retrieval"] = float(retrieved(given["style"], mirrored["style"], gallery).mean())
    return figures


# --- keepsakes: the props of category-bound scenes --------------------------------------------------------------------


def keepsakes_loss(net: nn.Module, examples: Examples, batch: int, side: int, generator: torch.Generator) -> dict:
    """Cell by cell, so that a few hundred pictures show what each looks like; most of them category-bound scenes."""
    sound = rows_of(examples, "")
    bound = examples.labels["category"][sound] != UNKNOWN
    rows = torch.cat(
        [sample(sound[bound], batch - batch // 8, generator), sample(sound[~bound], batch // 8, generator)]
    )
    drawn = draw(examples, rows, generator)
    radius = 0.03 + 0.05 * float(torch.rand(1, generator=generator))
    view = scene_view(drawn.pictures, drawn.masks, other_masks(drawn.masks, generator), side, radius)
    logits = net(view)
    there = F.interpolate(drawn.places, size=logits.shape[-2:], mode="area")
    seen = 1 - F.interpolate(view[:, 3:], size=logits.shape[-2:], mode="area")
    error = F.binary_cross_entropy_with_logits(logits, there, pos_weight=torch.tensor(RARE), reduction="none")
    return {"loss": (error * seen).sum() / (seen.sum() * logits.shape[1])}


@torch.no_grad()
def surely(net: nn.Module, pictures: Tensor, masks: Tensor, others: Tensor, side: int) -> Tensor:
    """[N,K], high where a keepsake stands somewhere in the background of a uint8 picture."""
    return torch.cat([net(view).amax((2, 3)) for view in scene_views(pictures, masks, others, side)])


def keepsakes_figures(net: nn.Module, examples: Examples, side: int) -> dict[str, float]:
    """How surely a keepsake is seen in scenes of the categories that may have it, there or not, all else being alike.

    Only places that nothing hides count. The threshold lies where as many are missed as are seen in vain.
    """
    scenes = examples.chosen(rows_of(examples, "").tolist())
    others = scenes.wholes[foreign(scenes.categories)]
    sure = surely(net, scenes.painted, scenes.wholes, others, side)
    hidden = covering(scenes.wholes.float() / 255, DILATION) + covering(others.float() / 255, DILATION)
    seen = (F.interpolate(hidden, size=(GRID, GRID), mode="area") < 0.5).float()
    there = (scenes.places / 255 * seen).sum((2, 3)) >= 4
    absent = scenes.places.sum((2, 3)) == 0
    bound = scenes.labels["category"] != UNKNOWN
    high, low, areas = [], [], []
    for column, kind in enumerate(KEEPSAKES):
        may = torch.tensor([kind in CATEGORIES[category].bound_props for category in scenes.categories]) & bound
        shown, missing = (sure[may & case[:, column], column] for case in (there, absent))
        if len(shown) and len(missing):
            areas.append((shown[:, None] > missing[None]).double().mean())
            high.append(shown)
            low.append(missing)
    if not areas:
        return {"keepsakes_auc": float("nan"), "keepsakes_threshold": 0.0}
    threshold = threshold_between(torch.cat(high), torch.cat(low))
    return {
        "keepsakes_auc": float(torch.stack(areas).mean()),
        "keepsakes_threshold": threshold,
        "keepsakes_found": float((torch.cat(high) > threshold).double().mean()),
        "keepsakes_false_alarms": float((torch.cat(low) > threshold).double().mean()),
    }


# --- one number a picture: contact, twins -----------------------------------------------------------------------------


def score_task(
    fault: str,
    views: Views,
    name: str,
    faulty: bool,
    learned: Callable[[Tensor, Tensor, int, torch.Generator], Tensor],
) -> Task:
    """A network that tells sound pictures from those with `fault`; `faulty`: a high score means the fault.

    `learned`: the view that it learns from.
    """

    def loss(net: nn.Module, examples: Examples, batch: int, side: int, generator: torch.Generator) -> dict:
        sound, bad = (rows_of_half(examples, kind) for kind in ("", fault))
        bad = sample(bad, batch // 2, generator)
        # half of the sound ones are the faulty ones' own scenes: nothing but the fault tells those apart
        without = {examples.seeds[row]: row for row in sound.tolist()}
        same = [without[examples.seeds[row]] for row in bad[: batch // 4].tolist() if examples.seeds[row] in without]
        sound = torch.cat([torch.tensor(same, dtype=torch.long), sample(sound, batch // 2 - len(same), generator)])
        both = draw(examples, torch.cat([sound, bad]), generator)
        target = torch.cat([torch.full((len(sound),), float(not faulty)), torch.full((len(bad),), float(faulty))])
        tint = 0.8 + 0.4 * torch.rand(len(target), 3, 1, 1, generator=generator)
        curve = torch.exp(0.6 * (torch.rand(len(target), 1, 1, 1, generator=generator) - 0.5))
        tinted = (both.pictures * tint).clamp(max=1) ** curve
        logits = net(learned(tinted, both.masks, side, generator))
        return {"loss": F.binary_cross_entropy_with_logits(logits, target)}

    def figures(net: nn.Module, examples: Examples, side: int) -> dict[str, float]:
        high, low = ("", fault) if not faulty else (fault, "")
        scores = {
            kind: scored(net, examples.painted[rows], examples.wholes[rows], views, side)
            for kind, rows in ((kind, rows_of_half(examples, kind)) for kind in ("", fault))
        }
        positive, negative = scores[high], scores[low]
        auc = (positive[:, None] > negative[None]).double().mean()
        return {f"{name}_auc": float(auc), f"{name}_threshold": threshold_between(positive, negative)}

    return Task(loss, figures)


@torch.no_grad()
def scored(net: nn.Module, pictures: Tensor, masks: Tensor, views: Views, side: int) -> Tensor:
    """[N] scores of uint8 pictures and their products' masks: the mean over views and their mirrors."""
    scores = []
    for image, mask in zip(pictures.split(32), masks.split(32), strict=True):
        shown = views(image.float() / 255, mask.float() / 255, side)
        scores.append(torch.stack([net(seen) for view in shown for seen in (view, view.flip(-1))]).mean(0))
    return torch.cat(scores)


# --- the product's whole extent ---------------------------------------------------------------------------------------


def damaged(masks: Tensor, generator: torch.Generator) -> Tensor:
    """`masks` [B,1,H,W], from half of which a straight line at a random angle cuts off a part.

    The line runs between the product's middle and its rim, so that at least about half of it stays.
    """
    n, size = len(masks), masks.shape[-1]
    place = (torch.arange(size) + 0.5) / size
    weight = masks / masks.sum((2, 3), keepdim=True).clamp(min=1e-6)
    x, y = (weight * place).sum((2, 3)), (weight * place[:, None]).sum((2, 3))
    angle = 2 * torch.pi * torch.rand(n, 1, generator=generator)
    along = (place - x[..., None])[:, :, None] * angle.cos()[..., None, None] + (place - y[..., None])[
        :, :, :, None
    ] * angle.sin()[..., None, None]
    reach = (along.reshape(n, -1) * (masks > 0.5).reshape(n, -1)).amax(1)
    cut = reach * (0.2 + 0.7 * torch.rand(n, generator=generator))
    cut = torch.where(torch.rand(n, generator=generator) < 0.5, cut, torch.inf)
    return masks * (along < cut.view(-1, 1, 1, 1)).float()


def segment_loss(net: nn.Module, examples: Examples, batch: int, side: int, generator: torch.Generator) -> dict:
    sound = sample(rows_of(examples, "", "doubled"), batch - batch // 4, generator)
    grown = sample(rows_of(examples, "grown"), batch // 4, generator)
    both = draw(examples, torch.cat([sound, grown]), generator)
    given = torch.cat([damaged(both.masks[: len(sound)], generator), both.masks[len(sound) :]])
    logits = net(whole_view(both.pictures, given, side))
    whole = F.interpolate(both.wholes, size=(side, side), mode="bilinear", antialias=True)
    chance = logits.sigmoid()
    overlap = (chance * whole).sum((1, 2, 3)) / (chance + whole - chance * whole).sum((1, 2, 3)).clamp(min=1)
    return {"loss": F.binary_cross_entropy_with_logits(logits, whole) + 0.5 * (1 - overlap).mean()}


@torch.no_grad()
def found(net: nn.Module, pictures: Tensor, masks: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """What the segmenter takes for the product, and the given mask at the same size, [N,1,s,s] bool each."""
    out, given = [], []
    for image, mask in zip(pictures.split(32), masks.split(32), strict=True):
        view = whole_view(image.float() / 255, mask.float() / 255, side)
        out.append(net(view) > 0)
        given.append(view[:, 3:] > 0.5)
    return torch.cat(out), torch.cat(given)


def segment_figures(net: nn.Module, examples: Examples, side: int) -> dict[str, float]:
    figures = {}
    for name, kind in (("sound", ""), ("grown", "grown")):
        rows = rows_of(examples, kind)
        out, given = found(net, examples.pictures[rows], examples.masks[rows], side)
        _, whole = found(net, examples.pictures[rows], examples.wholes[rows], side)
        shared = (out & whole).sum((1, 2, 3)).double()
        figures[f"segment_iou_{name}"] = float((shared / (out | whole).sum((1, 2, 3)).clamp(min=1)).mean())
        figures[f"extension_{name}"] = float(extension(out, given).mean())
        figures[f"extension_{name}_true"] = float(extension(whole, given).mean())
    return figures


TASKS: Mapping[str, Task] = {
    "scene": Task(scene_loss, scene_figures),
    "segment": Task(segment_loss, segment_figures),
    "contact": score_task("lifted", foot_views, "contact", False, shaken_foot_view),
    "twin": score_task("doubled", whole_views, "twin", True, lambda p, m, side, _: whole_view(p, m, side)),
    "keepsakes": Task(keepsakes_loss, keepsakes_figures),
}
