"""A reference without trained weights: the model's own self-attention looks at the reference's features as well.

In every step the model runs on the reference too, at the picture's noise and with its text, and each self-attention
layer keeps its keys and values there, those of the product's places left out. The picture's queries then attend to
their own places and to the reference's at once:

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


@dataclass(frozen=True, eq=False)
class _Free:
    """At one `size` (h, w), where R references show no product: `places` [M] are free in some of them, None for all.

    `hidden` [R,1,1,M] is added to their logits, for those that aren't free in every one; None if all are.
    """

    size: tuple[int, int]
    count: int
    places: Tensor | None
    hidden: Tensor | None


@dataclass(frozen=True, eq=False)
class _Kept:
    """One layer's keys and values, [T*R,M,C], of R references with each of T texts."""

    free: _Free
    k: Tensor
    v: Tensor


class Recorded:
    """Keys and values of one guide's references, by layer, of the step that runs.

    `texts`: with how many the model reads them. Where keys and values go, and which of them are left out, is found
    once; nothing in a step waits for the device.
    """

    def __init__(self, guide: SelfGuide, texts: int = 1) -> None:
        self.guide, self.texts = guide, texts
        self.by_layer: dict[LayerName, _Kept] = {}
        self._free: dict[tuple[int, int], _Free] = {}
        self._hidden: dict[tuple[int, int, tuple[int, int]], Tensor] = {}

    def make_room(
        self, layer: LayerName, size: tuple[int, int], channels: int, dtype: torch.dtype, device: torch.device
    ) -> _Kept:
        """For what `keep` will be given; without it, the first step does this."""
        if size not in self._free:
            self._free[size] = _free_places(self.guide.hole, size, dtype, device)
        free = self._free[size]
        shape = self.texts * self.guide.references, free.count, channels
        k, v = (torch.empty(shape, dtype=dtype, device=device) for _ in "kv")
        made = self.by_layer[layer] = _Kept(free, k, v)
        return made

    def keep(self, layer: LayerName, k: Tensor, v: Tensor, size: tuple[int, int]) -> None:
        """`k` and `v` [T*R,h*w,C] of a layer of `size` (h, w), less the places that the reference's product touches."""
        kept = self.by_layer.get(layer)
        if kept is None or kept.free.size != size or kept.k.dtype != k.dtype:
            kept = self.make_room(layer, size, k.shape[-1], k.dtype, k.device)
        places = kept.free.places
        for room, given in ((kept.k, k), (kept.v, v)):
            room.copy_(given if places is None else given[:, places])

    def hidden_beside(self, free: _Free, rows: int, own: int) -> Tensor | None:
        """What is added to the logits of `rows` rows, [rows,1,1,own+M]: nothing at their `own` places."""
        if free.hidden is None:
            return None
        key = rows, own, free.size
        found = self._hidden.get(key)
        if found is None:
            found = F.pad(free.hidden, (own, 0)).repeat(rows // len(free.hidden), 1, 1, 1)
            if not torch.compiler.is_compiling():  # which would compile again for what it finds in the next step
                self._hidden[key] = found
        return found


def _free_places(hole: Tensor, size: tuple[int, int], dtype: torch.dtype, device: torch.device) -> _Free:
    clear = region_of(hole, *size) == 0
    some = clear.any(0)
    own = clear[:, some]
    places = None if bool(some.all()) else some.nonzero()[:, 0].to(device)
    hidden = None if bool(own.all()) else torch.where(own, 0.0, -torch.inf)[:, None, None].to(device, dtype)
    return _Free(size, own.shape[1], places, hidden)


def added(
    reach: Reach, recorded: list[Recorded], layer: LayerName, qkv: tuple[Tensor, Tensor, Tensor], out: Tensor,
    heads: int, size: tuple[int, int],
) -> Tensor:  # fmt: skip
    """`out` [rows,N,C] of a self-attention layer with what the references change; `recorded`: of each guide of `reach`.

    `qkv`: the layer's own queries, keys and values.
    """
    acting = sum(span.stop - span.start for span in reach.spans)

    def adding(span: Span, place: Place, total: Tensor) -> Tensor:
        q, k, v = (t[span.start : span.stop] for t in qkv)
        plain = region_attention(q, k, v, heads)
        before = sum(other.stop - other.start for other in reach.spans if other.start < span.start)
        for of, region in zip(recorded, place.regions, strict=True):
            kept = of.by_layer[layer]
            rows = acting // of.texts  # of one text
            mine = slice(before // rows * of.guide.references, (before + len(q)) // rows * of.guide.references)
            k_both, v_both = (_joined(own, t[mine], rows) for own, t in ((k, kept.k), (v, kept.v)))
            joint = region_attention(q, k_both, v_both, heads, of.hidden_beside(kept.free, len(q), k.shape[1]))
            change = (joint - plain) * of.guide.strength
            total = total + (change if region is None else change * region).to(total.dtype)
        return total

    return with_added(reach, out, size, adding)


def _joined(own: Tensor, kept: Tensor, rows: int) -> Tensor:
    """[B,N+M,C] from `own` [B,N,C] and `kept` [T*R,M,C]; of the `rows` of a text, row i takes reference i mod R."""
    texts = len(own) // rows
    references = len(kept) // texts
    by_text = own.unflatten(0, (texts, rows // references, references))
    beside = kept.unflatten(0, (texts, 1, references)).expand(-1, rows // references, -1, -1, -1)
    return torch.cat([by_text, beside], 3).flatten(0, 2)
