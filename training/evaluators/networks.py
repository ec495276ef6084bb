"""The evaluators' networks, in two architectures, so that no figure hangs on one network's blind spots.

Pictures enter as [B,3,s,s] in [0,1] beside one mask channel [B,1,s,s] in [0,1]; which mask it is, `views.py` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Architecture = Literal["residual", "separable"]
INPUTS = 4
GROUPS = 8
EMBEDDING = 64


def norm(width: int) -> nn.GroupNorm:
    """Group normalisation: one picture's features never depend on its neighbours in the batch."""
    return nn.GroupNorm(GROUPS, width)


class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut (arXiv 1512.03385), [B,i,h,w] -> [B,o,h/stride,w/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            norm(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            norm(outputs),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
            nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class Separable(nn.Module):
    """A 5x5 convolution per channel, then two 1x1 ones (arXiv 2201.03545), [B,i,h,w] -> [B,o,h/stride,w/stride]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.down = nn.Sequential(
            nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
            nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity(),
        )
        self.body = nn.Sequential(
            nn.Conv2d(outputs, outputs, 5, 1, 2, groups=outputs, bias=False),
            norm(outputs),
            nn.Conv2d(outputs, 3 * outputs, 1),
            nn.GELU(),
            nn.Conv2d(3 * outputs, outputs, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x)
        return x + self.body(x)


BLOCKS: dict[str, type[nn.Module]] = {"residual": Residual, "separable": Separable}


class Trunk(nn.Module):
    """Pictures [B,inputs,s,s] to feature maps, finest first: widths[k] channels at s / 2^(k+1)."""

    def __init__(self, architecture: Architecture, widths: Sequence[int], depth: int = 2, inputs: int = INPUTS) -> None:
        super().__init__()
        block = BLOCKS[architecture]
        self.stem = nn.Sequential(nn.Conv2d(inputs, widths[0], 4, 2, 1), norm(widths[0]), nn.ReLU())
        stages = []
        for before, width in pairwise(widths):
            stages.append(nn.Sequential(block(before, width, 2), *(block(width, width, 1) for _ in range(depth - 1))))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = [self.stem(x * 2 - 1)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps


def with_places(x: Tensor) -> Tensor:
    """[B,C,h,w] -> [B,C+2,h,w]: each pixel knows where it lies, [0,1] across and down.

    Pooling forgets places; which side light comes from and where props stand would be lost.
    """
    height, width = x.shape[-2:]
    across = ((torch.arange(width, device=x.device) + 0.5) / width).expand(len(x), 1, height, width)
    down = ((torch.arange(height, device=x.device) + 0.5) / height)[:, None].expand(len(x), 1, height, width)
    return torch.cat([x, across, down], dim=1)


def pooled(features: Tensor) -> Tensor:
    """Mean and maximum over places, [B,C,h,w] -> [B,2C]: what the scene is like, and what stands somewhere in it."""
    return torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)


class SceneNet(nn.Module):
    """What a background shows: logits of each head, a style embedding, and features for distances between sets."""

    def __init__(self, architecture: Architecture, widths: Sequence[int], heads: Mapping[str, int]) -> None:
        super().__init__()
        self.trunk = Trunk(architecture, widths, inputs=INPUTS + 2)
        # light and texture of the middle stage beside the last one's layout
        features = 2 * (widths[-1] + widths[-2])
        self.drop = nn.Dropout(0.2)
        self.heads = nn.ModuleDict({name: nn.Linear(features, classes) for name, classes in heads.items()})
        self.style = nn.Linear(features, EMBEDDING)

    def features(self, x: Tensor) -> Tensor:
        """[B,4,s,s] -> [B,D]."""
        maps = self.trunk(with_places(x))
        return torch.cat([pooled(maps[-1]), pooled(maps[-2])], dim=1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """`features` [B,D], `style` [B,64] of length 1, and under each head's name its logits [B,classes]."""
        features = self.features(x)
        kept = self.drop(features)
        answers = {name: head(kept) for name, head in self.heads.items()}
        return answers | {"features": features, "style": F.normalize(self.style(kept), dim=1)}


class KeepsakeNet(nn.Module):
    """Which of K props stands in which cell, [B,4,s,s] -> logits [B,K,s/8,s/8]."""

    def __init__(self, architecture: Architecture, widths: Sequence[int], kinds: int) -> None:
        super().__init__()
        self.trunk = Trunk(architecture, widths)
        self.drop = nn.Dropout2d(0.1)
        self.head = nn.Conv2d(widths[-1] + widths[-2], kinds, 1)

    def forward(self, x: Tensor) -> Tensor:
        *_, fine, coarse = self.trunk(x)
        coarse = F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
        return self.head(self.drop(torch.cat([fine, coarse], dim=1)))


class ScoreNet(nn.Module):
    """One number a picture, [B,4,s,s] -> [B]: how surely a product stands on its ground, or has a twin."""

    def __init__(self, architecture: Architecture, widths: Sequence[int]) -> None:
        super().__init__()
        self.trunk = Trunk(architecture, widths)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(2 * widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(pooled(self.trunk(x)[-1])))[:, 0]


class SegmentNet(nn.Module):
    """The product's whole extent from a picture and a mask that may lack parts; logits [B,1,s,s]."""

    def __init__(self, architecture: Architecture, widths: Sequence[int]) -> None:
        super().__init__()
        block = BLOCKS[architecture]
        self.trunk = Trunk(architecture, widths, depth=1)
        self.up = nn.ModuleList(block(coarse + fine, fine, 1) for fine, coarse in reversed(list(pairwise(widths))))
        self.last = nn.Conv2d(widths[0] + INPUTS, 16, 3, 1, 1)
        self.head = nn.Conv2d(16, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        *finer, y = self.trunk(x)
        for block, skip in zip(self.up, reversed(finer), strict=True):
            y = block(torch.cat([F.interpolate(y, scale_factor=2), skip], dim=1))
        y = torch.cat([F.interpolate(y, scale_factor=2), x * 2 - 1], dim=1)
        return self.head(F.relu(self.last(y)))


def build(config: Mapping[str, Any]) -> nn.Module:
    """The network that a frozen file's `config` describes."""
    kinds = {"scene": SceneNet, "keepsakes": KeepsakeNet, "contact": ScoreNet, "twin": ScoreNet, "segment": SegmentNet}
    settings = {key: value for key, value in config.items() if key not in ("task", "side")}
    return kinds[config["task"]](**settings)
