"""Figures of classifiers and rankers: accuracy, area under the ROC curve, retrieval, grown shapes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .distributions import Statistic


def hits(logits: Tensor, labels: Tensor) -> Tensor:
    """[N] float64, 1 where the largest of `logits` [N,K] is that of `labels` [N]; NaN where a label is negative."""
    right = (logits.argmax(1) == labels).double()
    return torch.where(labels < 0, torch.nan, right)


def area_under_curve(positive: Tensor, negative: Tensor) -> Statistic:
    """Chance that a positive scores above a negative, ties counting half; [N] each, row i of both from one scene."""
    above = (positive[:, None] > negative[None]).double() + 0.5 * (positive[:, None] == negative[None]).double()
    return lambda weights: (weights @ above @ weights) / weights.sum() ** 2


def threshold_between(positive: Tensor, negative: Tensor) -> float:
    """The score at which as large a share of positives lies below as of negatives above."""
    candidates = torch.cat([positive, negative]).sort().values
    missed = torch.searchsorted(positive.sort().values, candidates).double() / len(positive)
    passed = 1 - torch.searchsorted(negative.sort().values, candidates).double() / len(negative)
    return float(candidates[(missed - passed).abs().argmin()])


def retrieved(queries: Tensor, gallery: Tensor, distractors: Sequence[Sequence[int]]) -> Tensor:
    """[N], 1 where `queries` [N,D] is nearer to its own row of `gallery` [N,D] than to all its distractors' rows."""
    own = (queries * gallery).sum(1)
    best = torch.stack([(queries[i] @ gallery[list(rows)].T).max() for i, rows in enumerate(distractors)])
    return (own > best).double()


def extension(found: Tensor, given: Tensor) -> Tensor:
    """Share by which a product grew: (area(found or given) - area(given)) / area(given), [N] (arXiv 2404.10157).

    `found` [N,1,H,W] bool, what a segmenter takes for the product; `given` [N,1,H,W] bool, the product's mask.
    """
    area = given.sum((1, 2, 3)).clamp(min=1)
    return (found & ~given).sum((1, 2, 3)).double() / area
