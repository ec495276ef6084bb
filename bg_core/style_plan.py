"""Which rows of a model's batch take which reference, where in the picture; made once a batch layout, kept for all
steps. Nothing here knows who runs the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

import torch
from torch import Tensor

from .errors import ProductBackgroundError
from .region_attention import WHOLE
from .region_plan import LEVELS, Span
from .regions import check_shape, region_of
from .resize import Box
from .style_adapter import LayerKeys, Strengths, StyleAdapter, attend, layer_keys
from .style_config import LayerName
from .style_encoder import Tokens, grid_positions

WHOLE_PICTURE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class StyleGuide:
    """One reference in use: a batch of R references' `tokens` by group, `strengths` by group, and when (share of the
    steps).

    `mask` [B,H,W] in [0,1], 1 where it acts; None is everywhere. Two guides are never equal.
    """

    adapter: StyleAdapter
    tokens: Mapping[str, Tokens]
    strengths: Strengths
    mask: Tensor | None = None
    start: float = 0.0
    end: float = 1.0

    @property
    def references(self) -> int:
        return len(next(iter(self.tokens.values())).values)

    def keys(self, heads: Mapping[LayerName, int], dtype: torch.dtype, device: torch.device) -> Keys:
        """Keys and values of every layer: computed once a run, in float32."""
        tokens = {
            group: Tokens(given.values.to(device, torch.float32), given.kept.to(device))
            for group, given in self.tokens.items()
        }
        found = {}
        for name, layer in self.adapter.named_layers():
            keys = layer_keys(self.adapter, layer, tokens, self.strengths, heads[name])
            if keys is not None:
                found[name] = keys.to(dtype)
        return found


Keys = Mapping[LayerName, LayerKeys]
"""Of one guide, by layer; empty where all its strengths are 0."""


@dataclass(frozen=True)
class StyledChunk:
    """The rows of one conditioning: whether references act on it, and its part of the picture (None: the whole)."""

    acts: bool
    box: Box | None = None


class Guided(Protocol):
    """A reference in use: a batch of so many, in a region [B,H,W] in [0,1] (None: everywhere)."""

    @property
    def references(self) -> int: ...

    @property
    def mask(self) -> Tensor | None: ...


@dataclass(frozen=True)
class Place:
    """One span at one size: `positions` [N,16] of its queries, and each guide's region [rows or 1,N,1], None where it
    is whole."""

    positions: Tensor
    regions: tuple[Tensor | None, ...]


class Reach:
    """Which rows and which places guides reach.

    `chunks`: each of `batch` rows. `size`: height and width of the whole
    latents; `part`: of what the model sees. Raises ProductBackgroundError where masks, references and rows don't fit
    each other.
    """

    def __init__(
        self,
        chunks: Sequence[StyledChunk],
        batch: int,
        guides: Sequence[Guided],
        size: tuple[int, int],
        part: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.guides, self.rows = tuple(guides), len(chunks) * batch
        self.dtype, self.device = dtype, torch.device(device)
        for guide in self.guides:
            _check_rows(guide.references, batch, "The reference")
            if guide.mask is not None:
                check_shape(guide.mask, "The reference's mask", *size)
                _check_rows(len(guide.mask), batch, "The reference's mask")
        runs = [(chunk, len(list(same))) for chunk, same in groupby(chunks)]
        starts = [sum(count for _, count in runs[:i]) * batch for i in range(len(runs))]
        self._runs = [
            (Span(start, start + count * batch), chunk.box)
            for (chunk, count), start in zip(runs, starts, strict=True)
            if chunk.acts and self.guides
        ]
        self.spans = tuple(span for span, _ in self._runs)
        self._places: dict[tuple[int, int], tuple[Place, ...]] = {}
        for level in range(LEVELS):
            self.at(-(-part[0] // 2**level), -(-part[1] // 2**level))

    def at(self, height: int, width: int) -> tuple[Place, ...]:
        """Positions and regions of each span for a layer of that size. Made once a size."""
        found = self._places.get((height, width))
        if found is None:
            found = tuple(self._place(span, box, height, width) for span, box in self._runs)
            self._places[height, width] = found
        return found

    def _place(self, span: Span, box: Box | None, height: int, width: int) -> Place:
        where = grid_positions(height, width, box or WHOLE_PICTURE).to(self.device, self.dtype)
        regions: list[Tensor | None] = []
        for guide in self.guides:
            region = None if guide.mask is None else region_of(guide.mask, height, width, box)[..., None]
            if region is not None and bool((region >= WHOLE).all()):
                region = None
            elif region is not None and len(region) > 1:
                region = region.repeat((span.stop - span.start) // len(region), 1, 1)
            regions.append(None if region is None else region.to(self.device, self.dtype))
        return Place(where, tuple(regions))


Adding = Callable[[Span, Place, Tensor], Tensor]
"""(rows, places, output of those rows [rows,N,C]) -> the output with what is added to it."""


def with_added(reach: Reach, out: Tensor, size: tuple[int, int], adding: Adding) -> Tensor:
    """`out` [rows,N,C] of a layer of `size` (h, w), with what `adding` makes of each span's rows."""
    pieces, done = [], 0
    for span, place in zip(reach.spans, reach.at(*size), strict=True):
        pieces += [out[done : span.start], adding(span, place, out[span.start : span.stop])]
        done = span.stop
    pieces = [piece for piece in (*pieces, out[done:]) if len(piece)]
    # Put together anew, never added in place: what another pack's patch returns may be one of its inputs.
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


class StylePlan(Reach):
    """What the rows of one batch layout take from trained references; `keys`: one entry for each guide."""

    def __init__(
        self, chunks: Sequence[StyledChunk], batch: int, guides: Sequence[StyleGuide], keys: Sequence[Keys], *more: Any
    ) -> None:
        acting = [(guide, of) for guide, of in zip(guides, keys, strict=True) if of]
        self.keys = [of for _, of in acting]
        super().__init__(chunks, batch, [guide for guide, _ in acting], *more)

    def added(
        self,
        layer: LayerName,
        q: Tensor,
        out: Tensor,
        heads: int,
        size: tuple[int, int],
        precision: torch.dtype | None = None,
    ) -> Tensor:
        """`out` [rows,N,C] of a layer with what its queries `q` [rows,N,C] take from the references.

        `precision`: what attention is computed in where it isn't the dtype of `q`.
        """
        finer = None if precision == q.dtype else precision

        def adding(span: Span, place: Place, total: Tensor) -> Tensor:
            query, positions = q[span.start : span.stop], place.positions
            if finer is not None:
                query, positions = query.to(finer), positions.to(finer)
            for keys, region in zip(self.keys, place.regions, strict=True):
                taken = attend(query, keys[layer] if finer is None else keys[layer].to(finer), positions, heads)
                total = total + (taken if region is None else taken * region).to(total.dtype)
            return total

        return with_added(self, out, size, adding)


def _check_rows(given: int, batch: int, what: str) -> None:
    if batch % given:
        raise ProductBackgroundError(
            f"{what} is a batch of {given}, the latents a batch of {batch}. Accepted are one, one for each picture, or "
            "a number that divides the pictures."
        )
