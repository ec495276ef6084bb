"""From the scores of a category study to its table, its primary comparisons and its plots."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bg_core.files import replacing

from ..metrics.intervals import Figure, bootstrap, flat, mean
from ..protocol import Protocol
from .scores import read_scores

SMALLER_IS_BETTER = ("twin", "extension")
METRICS = ("right", "said", "unsaid", "keepsakes", "twin", "extension")
Key = tuple[str, str]
"""An arm, and on what it was examined."""


@dataclass(frozen=True)
class Marks:
    """An arm's scores under one condition, by evaluator and metric: [seeds,N]."""

    values: Mapping[str, Mapping[str, Tensor]]

    def metrics(self) -> list[str]:
        return [name for name, value in next(iter(self.values.values())).items() if value.ndim == 2]


def read_marks(folder: Path, exams: Iterable[tuple[str, str, int]], evaluators: Sequence[str]) -> dict[Key, Marks]:
    """The scores of all exams (arm, condition, seed), seeds stacked; `features` are left out."""
    found: dict[Key, dict[str, dict[str, list[Tensor]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for arm, on, seed in exams:
        for evaluator in evaluators:
            for metric, values in read_scores(folder / f"{arm}-{on}-{seed}-{evaluator}.safetensors").items():
                if values.ndim == 1:
                    found[arm, on][evaluator][metric].append(values)
    return {
        key: Marks({name: {metric: torch.stack(some) for metric, some in all_.items()} for name, all_ in by.items()})
        for key, by in found.items()
    }


def figure_of(marks: Marks, metric: str, clusters: Sequence[str], protocol: Protocol) -> tuple[Figure, float]:
    """The worse evaluator's figure, pictures averaged over the seeds, and the deviation between the seeds' means."""
    found = []
    for values in marks.values.values():
        scores = values[metric]
        figure = bootstrap(mean(scores.mean(0)), clusters, protocol.replicates, protocol.bootstrap_seed)
        found.append((figure, float(scores.mean(1).std(correction=1)) if len(scores) > 1 else float("nan")))
    worst = max if metric in SMALLER_IS_BETTER else min
    return worst(found, key=lambda pair: pair[0].value)


@dataclass(frozen=True)
class Comparison:
    """By how much `better` does better than `than`; positive is as expected. `agreeing`: how many seeds say so."""

    better: str
    than: str
    on: str
    metric: str
    figure: Figure
    agreeing: int
    seeds: int

    @property
    def verdict(self) -> str:
        return "better" if self.figure.low > 0 else "worse" if self.figure.high < 0 else "undecided"


def compare(
    marks: Mapping[Key, Marks], entry: Mapping[str, Any], clusters: Mapping[str, Sequence[str]], protocol: Protocol
) -> list[Comparison]:
    """The comparisons of one entry of the protocol, picture by picture, by the evaluator that finds less."""
    out = []
    for on in entry["on"]:
        # an arm that needs no pictures to learn from is the same for any number of them
        first, second = (marks.get((arm, on)) or marks[arm, "swapped"] for arm in (entry["better"], entry["than"]))
        for metric in entry["metrics"]:
            sign = -1.0 if metric in SMALLER_IS_BETTER else 1.0
            found = []
            for evaluator in first.values:
                gain = sign * (first.values[evaluator][metric] - second.values[evaluator][metric])
                figure = bootstrap(mean(gain.mean(0)), clusters[on], protocol.replicates, protocol.bootstrap_seed)
                found.append((figure, int((gain.mean(1) > 0).sum()), len(gain)))
            figure, agreeing, seeds = min(found, key=lambda one: one[0].value)
            out.append(Comparison(entry["better"], entry["than"], on, metric, figure, agreeing, seeds))
    return out


def report(
    out: Path,
    exams: Sequence[tuple[str, str, int]],
    clusters: Mapping[str, Sequence[str]],
    comparisons: Sequence[Mapping[str, Any]],
    protocol: Protocol,
    pictures: int,
) -> str:
    """Writes `table.json`, `table.md` and the plots into `out`; returns the table's text.

    `clusters`: the category of every picture, by condition. `pictures`: how many of a category "all" are.
    """
    evaluators = list(protocol.evaluators)
    marks = read_marks(out / "scores", [*exams, ("real", "own", 0)], evaluators)
    figures: dict[str, Figure] = {}
    lines = ["| arm | on | " + " | ".join(METRICS) + " |", "|---" * (2 + len(METRICS)) + "|"]
    spreads = {}
    for (arm, on), some in marks.items():
        cells = []
        for metric in (m for m in (*METRICS, "sibling") if m in some.metrics()):
            figure, spread = figure_of(some, metric, clusters[on], protocol)
            figures[f"{metric}_{on}_{arm}"] = figure
            spreads[f"{metric}_{on}_{arm}_between_seeds"] = spread
            cells.append(f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]")
        if not on.startswith("cells_"):
            lines.append(f"| {arm} | {on} | " + " | ".join(cells) + " |")
    found = [one for entry in comparisons for one in compare(marks, entry, clusters, protocol)]
    lines += ["", "| primary comparison | on | metric | gain | seeds | |", "|---|---|---|---|---|---|"]
    for one in found:
        figures[f"gain_{one.metric}_{one.on}_{one.better}_over_{one.than}"] = one.figure
        gain = f"{one.figure.value:+.3f} [{one.figure.low:+.3f}, {one.figure.high:+.3f}]"
        lines.append(
            f"| {one.better} over {one.than} | {one.on} | {one.metric} | {gain} | {one.agreeing} of {one.seeds} | "
            f"{one.verdict} |"
        )
    text = "\n".join(lines) + "\n"
    values = flat(figures) | {key: value for key, value in spreads.items() if value == value}
    for name, content in (("table.json", json.dumps(values, indent=1) + "\n"), ("table.md", text)):
        with replacing(out / name) as temporary:
            temporary.write_text(content)
    plots(out, figures, pictures)
    return text


def plots(out: Path, figures: Mapping[str, Figure], pictures: int) -> None:
    """`cells.svg`: accuracy over the number of virtual categories; `images.svg`: over the pictures of each category."""
    sizes = sorted({int(key.split("_")[2]) for key in figures if key.startswith("right_cells_")})
    curves = {
        f"{arm}, among {among}": [(k, figures[f"{metric}_cells_{k}_{arm}"]) for k in sizes]
        for metric, among in (("right", "8 cells"), ("sibling", "near siblings"))
        for arm in sorted({key.split("_", 3)[3] for key in figures if key.startswith("right_cells_")})
    }
    if curves:
        _plot(out / "cells.svg", curves, "virtual categories", "accuracy")
    few = sorted({int(key.split("_")[2]) for key in figures if key.startswith("right_images_")})
    arms = sorted({key.split("_", 3)[3] for key in figures if key.startswith("right_images_")})
    if few:
        curves = {
            arm: [(n, figures[f"right_images_{n}_{arm}"]) for n in few] + [(pictures, figures[f"right_swapped_{arm}"])]
            for arm in arms
        }
        names = {pictures: f"all ({pictures})"}
        _plot(out / "images.svg", curves, "pictures a category", "accuracy, products swapped", names)


def _plot(
    path: Path,
    curves: Mapping[str, Sequence[tuple[int, Figure]]],
    across: str,
    up: str,
    names: Mapping[int, str] | None = None,
) -> None:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(6, 4), layout="constrained")
    axes = canvas.add_subplot()
    for name, points in curves.items():
        x, values = [n for n, _ in points], [figure.value for _, figure in points]
        below = [figure.value - figure.low for _, figure in points]
        above = [figure.high - figure.value for _, figure in points]
        axes.errorbar(x, values, [below, above], marker="o", capsize=3, label=name)
    ticks = sorted({n for points in curves.values() for n, _ in points})
    axes.set_xscale("log")
    axes.set_xticks(ticks, [(names or {}).get(tick, str(tick)) for tick in ticks], minor=False)
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        canvas.savefig(temporary, format="svg")
