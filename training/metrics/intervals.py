"""Figures with 95% intervals, by a bootstrap that draws whole categories."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

REPLICATES = 1000


@dataclass(frozen=True)
class Figure:
    """A value and the 2.5% and 97.5% quantiles of its bootstrap distribution."""

    value: float
    low: float
    high: float


def bootstrap(
    statistic: Callable[[Tensor], Tensor],
    clusters: Sequence[Hashable],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Figure:
    """`statistic` of all pictures, with its interval over resampled clusters.

    Pictures of one category share shapes and labels, so they are no independent evidence: categories are drawn with
    replacement, each with all its pictures. `statistic` takes weights [N] float64, how often each picture counts (ones,
    then numbers of draws), and returns a scalar; `clusters` names the category of each picture.
    """
    names = sorted(set(clusters), key=str)
    index = torch.tensor([names.index(cluster) for cluster in clusters])
    value = float(statistic(torch.ones(len(index), dtype=torch.float64)))
    generator = torch.Generator().manual_seed(seed)
    draws = []
    for _ in range(replicates):
        picked = torch.randint(len(names), (len(names),), generator=generator)
        weights = torch.bincount(picked, minlength=len(names)).double()[index]
        draws.append(float(statistic(weights)))
    quantiles = torch.tensor(draws, dtype=torch.float64)
    quantiles = quantiles[quantiles.isfinite()]  # a replicate may have drawn no picture that counts
    low, high = quantiles.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Figure(value, low, high)


def mean(values: Tensor) -> Callable[[Tensor], Tensor]:
    """The weighted mean of `values` [N]; NaN marks pictures that don't count."""
    counts = ~values.isnan()
    kept = torch.where(counts, values, 0).double()
    return lambda weights: (weights * kept).sum() / (weights * counts).sum()


def ratio(above: Tensor, below: Tensor) -> Callable[[Tensor], Tensor]:
    """The weighted sum of `above` [N] over that of `below` [N]."""
    top, bottom = above.double(), below.double()
    return lambda weights: (weights @ top) / (weights @ bottom).clamp(min=1e-12)


def flat(figures: Mapping[str, Figure]) -> dict[str, float]:
    """KEY, KEY_low and KEY_high for every figure, as result files hold them."""
    out: dict[str, float] = {}
    for key, figure in figures.items():
        out |= {key: figure.value, f"{key}_low": figure.low, f"{key}_high": figure.high}
    return out
