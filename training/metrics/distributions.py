"""How far two sets of pictures lie apart, and how varied one is. Features are [N,D], one row a picture."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .pictures import finest_band

Statistic = Callable[[Tensor], Tensor]
"""Of weights [N], as `intervals.bootstrap` takes it."""


def kid(real: Tensor, other: Tensor) -> Statistic:
    """Kernel inception distance (arXiv 1801.01401): squared MMD with the kernel (x.y / D + 1)^3, unbiased, times 100.

    Row i of both sets belongs to one scene (a render and what was painted in its place), so the pair (i, i) is left out
    of the cross term as it is out of the others: the two sets count as independent. The mean over all subsets of any
    one size is this same number, so none are drawn.
    """
    if real.shape != other.shape:
        raise ValueError(f"Expected sets of one shape, got {tuple(real.shape)} and {tuple(other.shape)}.")

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        values = (x.double() @ y.double().T / x.shape[1] + 1) ** 3
        return values - values.diagonal().diag()

    spread = kernel(real, real) + kernel(other, other) - kernel(real, other) - kernel(other, real)

    def statistic(weights: Tensor) -> Tensor:
        return 100 * (weights @ spread @ weights) / (weights.sum() ** 2 - (weights**2).sum())

    return statistic


def standardised(real: Tensor, *others: Tensor) -> list[Tensor]:
    """All sets divided by the deviations of `real` about its mean, so that no feature outweighs the rest."""
    centre, deviation = real.mean(0), real.std(0).clamp(min=1e-6)
    return [(x - centre) / deviation for x in (real, *others)]


def diversity(features: Tensor, real: Tensor, constant: Tensor, categories: Sequence[Hashable]) -> Statistic:
    """Mean distance of two pictures of one category, 1 where as in `real`, 0 where as in `constant`.

    `constant`: the features of pictures with one and the same background a category. Those differ, too, by the holes
    that hide their products, and no variety must be seen in that. All three sets have the same holes.
    """
    same = torch.tensor([[a == b for b in categories] for a in categories]).double()
    same.fill_diagonal_(0)
    sets = standardised(real.double(), features.double(), constant.double())
    theirs, ours, none = (torch.cdist(x, x) * same for x in sets)

    def statistic(weights: Tensor) -> Tensor:
        most, found, least = (weights @ distances @ weights for distances in (theirs, ours, none))
        return (found - least) / (most - least)

    return statistic


def total_variation(predicted: Tensor, real: Tensor) -> Statistic:
    """Half the L1 distance of two histograms; `predicted` and `real` [N,K] are one-hot or probabilities. 0 to 1."""
    p, q = predicted.double(), real.double()
    return lambda weights: ((weights @ p - weights @ q) / weights.sum()).abs().sum() / 2


def laplacian_patches(
    pictures: Tensor, where: Tensor, per_picture: int, levels: int = 3, side: int = 7, seed: int = 0
) -> list[Tensor]:
    """Random patches of each level of the Laplacian pyramid, finest first: a list of [N,P,3*side*side].

    `pictures` [N,3,H,W] in [0,1]; patches' centres lie where `where` [N,1,H,W] is above one half, at the same places
    for equal `seed` and `where`, so that sets of pictures can be compared patch by patch.
    """
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(levels):
        band = finest_band(pictures)
        inside = (where[:, 0, side // 2 : -(side // 2), side // 2 : -(side // 2)] > 0.5).flatten(1).float() + 1e-9
        picked = torch.multinomial(inside, per_picture, replacement=True, generator=generator)  # [N,P]
        parts = zip(band.split(16), picked.split(16), strict=True)  # unfolding all at once takes 20 MB a picture
        out.append(torch.cat([_patches(part, at, side) for part, at in parts]))
        pictures, where = F.avg_pool2d(pictures, 2), F.avg_pool2d(where, 2)
    return out


def _patches(pictures: Tensor, at: Tensor, side: int) -> Tensor:
    """[N,P,3*side*side]: the patches of `pictures` [N,3,H,W] whose places `at` [N,P] are counted row by row."""
    columns = F.unfold(pictures, side)  # [N,3*side*side,places]
    return columns.gather(2, at[:, None].expand(-1, columns.shape[1], -1)).transpose(1, 2)


def sliced_wasserstein(real: Sequence[Tensor], other: Sequence[Tensor], projections: int = 128) -> Statistic:
    """Sliced Wasserstein distance of `laplacian_patches` (arXiv 1710.10196, section 5), mean over levels, times 1000.

    Needs no network, so it can't be blind to what a network doesn't look at. Each level's colours are divided by their
    deviation in `real`, as in the paper.
    """
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for ours, theirs in zip(real, other, strict=True):
        n, patches, width = ours.shape
        colour = ours.reshape(n, patches, 3, -1).std((0, 1, 3)).clamp(min=1e-6).repeat_interleave(width // 3)
        directions = F.normalize(torch.randn(width, projections, generator=generator), dim=0)
        pairs.append([(x / colour) @ directions for x in (ours, theirs)])

    def statistic(weights: Tensor) -> Tensor:
        rows = torch.repeat_interleave(torch.arange(len(weights)), weights.long())
        distances = []
        for pair in pairs:
            a, b = (x[rows].flatten(0, 1).sort(dim=0).values for x in pair)
            distances.append((a - b).abs().mean())
        return 1000 * torch.stack(distances).mean()

    return statistic
