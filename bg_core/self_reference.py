"""A reference without trained weights: the model's own self-attention looks at the reference's features as well.

In every step the model runs on the reference too, at the same noise, and each self-attention layer keeps its keys and
values there, those of the product's places left out. The picture's queries then attend to their own places and to the
reference's at once:

    out += strength * r[q] * (softmax(Q [K, K_ref]^T / sqrt(d)) [V, V_ref] - softmax(Q K^T / sqrt(d)) V)

r in [0,1] is the soft region in which the reference acts. The same idea is known as reference-only (ControlNet's
discussion 1236) and shared attention (arXiv 2312.02133); the region, the product's places and the difference are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .region_attention import region_attention
from .region_plan import Span
from .regions import region_of
from .style_config import LayerName
from .style_plan import Place, Reach, with_added


@dataclass(frozen=True, eq=False)
class SelfGuide:
    """One reference in use: `latents` [R,C,h,w] as the model knows them, `hole` [R,H,W] in [0,1], 1 where its product
    was; `strength`, `mask` and times as in `StyleGuide`. Two guides are never equal."""

    latents: Tensor
    hole: Tensor
    strength: float = 1.0
    mask: Tensor | None = None
    start: float = 0.0
    end: float = 1.0

    @property
    def references(self) -> int:
        return len(self.latents)


@dataclass(frozen=True)
class _Kept:
    """One layer's keys and values of R references, [R,M,C], and what is added to their logits, [R,1,1,M] or None."""

    k: Tensor
    v: Tensor
    hidden: Tensor | None


class Recorded:
    """Keys and values of one guide's references, by layer, of the step that runs."""

    def __init__(self, guide: SelfGuide) -> None:
        self.guide = guide
        self.by_layer: dict[LayerName, _Kept] = {}
        self._places: dict[tuple[int, int], tuple[Tensor, Tensor | None]] = {}

    def keep(self, layer: LayerName, k: Tensor, v: Tensor, size: tuple[int, int]) -> None:
        """`k` and `v` [R,h*w,C] of a layer of `size` (h, w), less the places that the reference's product touches."""
        if size not in self._places:
            clear = region_of(self.guide.hole, *size) == 0
            some = clear.any(0)
            own = clear[:, some]
            hidden = None if bool(own.all()) else torch.where(own, 0.0, -torch.inf)[:, None, None].to(k)
            self._places[size] = some.nonzero()[:, 0].to(k.device), hidden
        places, hidden = self._places[size]
        self.by_layer[layer] = _Kept(k[:, places], v[:, places], hidden)


def added(
    reach: Reach, recorded: list[Recorded], layer: LayerName, qkv: tuple[Tensor, Tensor, Tensor], out: Tensor,
    heads: int, size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """`out` [rows,N,C] of a self-attention layer with what the references change; `recorded`: of each guide of `reach`.

    `qkv`: the layer's own queries, keys and values.
    """

    def adding(span: Span, place: Place, total: Tensor) -> Tensor:
        q, k, v = (t[span.start : span.stop] for t in qkv)
        plain = region_attention(q, k, v, heads)
        for of, region in zip(recorded, place.regions, strict=True):
            kept = of.by_layer[layer]
            k_ref, v_ref = (_for_rows(t, len(q)) for t in (kept.k, kept.v))
            bias = None
            if kept.hidden is not None:
                bias = _for_rows(F.pad(kept.hidden, (k.shape[1], 0)), len(q))
            joint = region_attention(q, torch.cat([k, k_ref], 1), torch.cat([v, v_ref], 1), heads, bias)
            change = (joint - plain) * of.guide.strength
            total = total + (change if region is None else change * region).to(total.dtype)
        return total

    return with_added(reach, out, size, adding)


def _for_rows(tensor: Tensor, rows: int) -> Tensor:
    return tensor.repeat(rows // len(tensor), *(1,) * (tensor.ndim - 1))
