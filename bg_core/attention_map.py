"""What groups of tokens looked at, collected while a model samples, and drawn over the picture afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ProductBackgroundError
from .resize import area_average

# From little to much: black, violet, red, orange, pale yellow; evenly spaced.
HEAT = torch.tensor([[0.0, 0.0, 0.02], [0.32, 0.07, 0.42], [0.75, 0.2, 0.3], [0.98, 0.55, 0.1], [0.99, 0.99, 0.75]])


@dataclass
class _Sum:
    """Shares of one group in one layer: `total` [B,h*w] over `count` steps."""

    size: tuple[int, int]
    total: Tensor
    count: int = 1


@dataclass
class Record:
    """Running sums of attention shares, by layer and group, of one sampling run. Copies are the same record."""

    sums: dict[str, dict[str, _Sum]] = field(default_factory=dict)

    def __deepcopy__(self, memo: dict[int, Any]) -> Record:
        return self

    def clear(self) -> None:
        self.sums.clear()

    def add(self, layer: str, size: tuple[int, int], names: Sequence[str], shares: Tensor) -> None:
        """`shares` [B,G,h*w] of the groups `names` in a layer of `size` (h, w); one call a step."""
        groups = self.sums.setdefault(layer, {})
        for name, share in zip(names, shares.detach().unbind(1), strict=True):
            known = groups.get(name)
            if known is None or known.total.shape != share.shape:  # first step, or the layer's size has changed
                groups[name] = _Sum(size, share.clone())
            else:
                known.total += share
                known.count += 1

    def shares(self, group: str) -> dict[str, Tensor]:
        """Mean share over the steps, [B,h,w] float32 on the CPU, by layer in the model's order.

        Raises ProductBackgroundError where nothing was recorded, or nothing of that group.
        """
        if not self.sums:
            raise ProductBackgroundError(
                "Nothing was recorded. Sample with the model that comes out of Attention Tap and a positive prompt "
                "from Category Conditioning; where ComfyUI took the sampler's result from its cache, change the seed."
            )
        found = {layer: groups[group] for layer, groups in self.sums.items() if group in groups}
        if not found:
            known = sorted({name for groups in self.sums.values() for name in groups})
            raise ProductBackgroundError(f"The prompt has no token group {group!r}. It has: {', '.join(known)}.")
        return {
            layer: (entry.total / entry.count).unflatten(1, entry.size).float().cpu() for layer, entry in found.items()
        }


def averaged(shares: dict[str, Tensor]) -> Tensor:
    """The mean [B,h,w] of all layers' maps, at the size of the finest."""
    height, width = max((share.shape[-2:] for share in shares.values()), key=lambda size: size[0] * size[1])
    return torch.stack([resized(share, height, width) for share in shares.values()]).mean(0)


def resized(share: Tensor, height: int, width: int) -> Tensor:
    """[B,h,w] -> [B,height,width], bilinear."""
    return F.interpolate(share[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def overlay(pictures: Tensor, share: Tensor, full: float, opacity: float) -> Tensor:
    """Heat colours of `share` [B,h,w] over grey `pictures` [P,H,W,3], both in [0,1]; picture i takes map i mod B.

    `full`: the share drawn in the brightest colour; 0 takes the largest one there is. `opacity` in [0,1].
    """
    if share.shape[0] > len(pictures) or len(pictures) % share.shape[0]:
        raise ProductBackgroundError(
            f"The pictures are a batch of {len(pictures)}, the sampled latents were {share.shape[0]}. Connect the "
            "pictures that were decoded from them."
        )
    share = share.repeat(len(pictures) // share.shape[0], 1, 1)
    top = full or max(float(share.max()), 1e-8)
    heat = coloured(resized(share, *pictures.shape[1:3]) / top)
    grey = pictures[..., :3].float().cpu().mean(-1, keepdim=True).expand(-1, -1, -1, 3)
    return (grey * (1 - opacity) + heat * opacity).clamp(0, 1)


def coloured(values: Tensor) -> Tensor:
    """[...] in [0,1] (clamped) -> heat colours [...,3]."""
    place = values.clamp(0, 1) * (len(HEAT) - 1)
    lower = place.floor().clamp(max=len(HEAT) - 2).long()
    part = (place - lower)[..., None]
    return HEAT[lower] * (1 - part) + HEAT[lower + 1] * part


def summary(group: str, shares: dict[str, Tensor], background: Tensor | None = None) -> str:
    """A line a layer and one for the mean: the group's share of attention, by region where a mask [B,H,W] is given."""
    lines = []
    for name, share in [*shares.items(), ("mean of all", averaged(shares))]:
        line = f"{name}: {float(share.mean()):.2%}"
        if background is not None:
            mask = area_average(background.float().cpu(), *share.shape[-2:]).clamp(0, 1)
            mask = mask.repeat(-(-len(share) // len(mask)), 1, 1)[: len(share)]
            line += f" (background {_mean(share, mask):.2%}, product {_mean(share, 1 - mask):.2%})"
        lines.append(line)
    return f"Attention to {group}, mean of all steps\n" + "\n".join(lines)


def _mean(share: Tensor, weight: Tensor) -> float:
    return float((share * weight).sum() / weight.sum().clamp(min=1e-8))
