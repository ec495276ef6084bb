"""Which rows of a model's batch get which attention bias: from texts with token groups, and masks, to tensors.

A sampler runs several conditionings as chunks of one batch. Each may have token groups of its own, lie in a part of the
picture, or have no groups at all, and its text may be repeated to the length of a longer one. A `Plan` is made once for
such a batch and kept for all steps; nothing in it knows who runs the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ProductBackgroundError
from .region_attention import attention_bias, membership, region_logits
from .regions import check_shape, region_of
from .resize import Box

LEVELS = 5
"""Sizes made ahead: the latents' own and four halvings, more than any known UNet has."""


@dataclass(frozen=True)
class TokenGroups:
    """What a conditioning says of its tokens: `groups` of positions among `length` tokens, each group with a name.

    `strength` multiplies the node's. This is the value of the key `product_background` of a CONDITIONING.
    """

    length: int
    groups: tuple[tuple[str, tuple[int, ...]], ...]
    strength: float = 1.0

    @classmethod
    def read(cls, value: Any) -> TokenGroups:
        """From {"length": int, "groups": {name: [position, ...]}, "strength": float}, the last one optional.

        Raises ProductBackgroundError for anything else, and for positions beyond the length.
        """
        try:
            groups = tuple((str(name), tuple(int(p) for p in places)) for name, places in value["groups"].items())
            read = cls(int(value["length"]), groups, float(value.get("strength", 1.0)))
        except (TypeError, KeyError, ValueError, AttributeError) as error:
            raise ProductBackgroundError(
                "A conditioning's token positions can't be read. Expected length, groups and strength, as Category "
                f"Conditioning writes them; {type(error).__name__}: {error}."
            ) from None
        outside = [p for _, places in groups for p in places if not 0 <= p < read.length]
        if outside or not math.isfinite(read.strength):
            raise ProductBackgroundError(
                f"A conditioning's token positions don't fit its text: {outside[:5]} of {read.length} tokens, "
                f"strength {read.strength}."
            )
        return read


@dataclass(frozen=True, eq=False)
class Guide:
    """One setting of where groups act: masks [B,H,W] in [0,1] by group name, `strength`, and when (share of the steps).

    Groups without a mask are left alone. Two guides are never equal: masks are compared by identity only.
    """

    masks: Mapping[str, Tensor]
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0


@dataclass(frozen=True)
class Chunk:
    """The rows of one conditioning: its token groups, if any, its own number of tokens, and its part of the picture.

    `box`: top, left, bottom, right in fractions 0..1 of the picture; None is the whole.
    """

    groups: TokenGroups | None
    tokens: int
    box: Box | None = None


@dataclass(frozen=True)
class Span:
    """Rows start..stop that get a bias."""

    start: int
    stop: int


@dataclass(frozen=True)
class Watched:
    """Rows of one chunk whose attention can be looked at: the groups' names, and `members` [G,keys]."""

    start: int
    stop: int
    names: tuple[str, ...]
    members: Tensor


class Plan:
    """The biases of one batch layout.

    `chunks`, each of `batch` rows, attend to `keys` tokens; `guides` are those that act now. `size`: height and
    width of the whole latents; `part`: of what the model sees, smaller where conditionings lie in a part of them.
    Raises ProductBackgroundError where masks, texts and rows don't fit each other.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        batch: int,
        keys: int,
        guides: Sequence[Guide],
        size: tuple[int, int],
        part: tuple[int, int],
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        self.chunks, self.batch, self.keys, self.guides = tuple(chunks), batch, keys, tuple(guides)
        self.rows, self.dtype, self.device = len(chunks) * batch, dtype, torch.device(device)
        for guide in self.guides:
            for name, mask in guide.masks.items():
                check_shape(mask, f"The mask of {name}", *size)
                if batch % len(mask):
                    raise ProductBackgroundError(
                        f"The mask of {name} is a batch of {len(mask)}, the latents a batch of {batch}. Accepted are "
                        "one mask, one for each picture, or a number that divides the pictures."
                    )
        self._members = [_members(chunk, keys) for chunk in self.chunks]
        acting = [self._logits(chunk, *part) for chunk in self.chunks]
        self._runs = _runs([logits is not None for logits in acting])
        self.spans = tuple(Span(first * batch, last * batch) for first, last in self._runs)
        self._biases: dict[tuple[int, int], tuple[Tensor, ...]] = {}
        for level in range(LEVELS):
            self.at(-(-part[0] // 2**level), -(-part[1] // 2**level))

    def at(self, height: int, width: int) -> tuple[Tensor, ...]:
        """The bias [rows or 1,1,height*width,keys] of each span, for a layer of that size. Made once a size."""
        found = self._biases.get((height, width))
        if found is None:
            found = self._biases[height, width] = tuple(self._bias(*run, height, width) for run in self._runs)
        return found

    def watched(self, wanted: Sequence[bool]) -> tuple[Watched, ...]:
        """The chunks that have token groups and lie over the whole picture, of those that `wanted` says True for."""
        return tuple(
            Watched(i * self.batch, (i + 1) * self.batch, tuple(name for name, _ in chunk.groups.groups), members)
            for i, chunk in enumerate(self.chunks)
            if wanted[i] and chunk.groups is not None and chunk.box is None
            for members in (self._members[i].to(self.device),)
        )

    def _logits(self, chunk: Chunk, height: int, width: int) -> Tensor | None:
        """[rows,G,N] for a chunk's groups, rows dividing the batch; None where nothing acts: such rows stay plain."""
        if chunk.groups is None:
            return None
        by_group = []
        for name, _ in chunk.groups.groups:
            total = torch.zeros(1, height * width)
            for guide in self.guides:
                strength = guide.strength * chunk.groups.strength
                if strength and name in guide.masks:
                    region = region_of(guide.masks[name], height, width, chunk.box)
                    total = _row_by_row(total, region_logits(region, strength))
            by_group.append(total)
        if not any(bool(logits.any()) for logits in by_group):
            return None
        rows = math.lcm(*(len(logits) for logits in by_group))
        return torch.stack([logits.repeat(rows // len(logits), 1) for logits in by_group], 1)

    def _bias(self, first: int, last: int, height: int, width: int) -> Tensor:
        """Of the neighbouring chunks first..last; a single row where all rows are the same."""
        most = max(len(self._members[i]) for i in range(first, last))
        logits, members = [], []
        for i in range(first, last):
            found = self._logits(self.chunks[i], height, width)
            if found is None:  # whole at this size, though not at the latents' own
                found = torch.zeros(1, len(self._members[i]), height * width)
            missing = most - len(self._members[i])
            logits.append(F.pad(found, (0, 0, 0, missing)))
            members.append(F.pad(self._members[i], (0, 0, 0, missing))[None])
        if len(set(self.chunks[first:last])) == 1:
            logits, members = logits[:1], members[:1]
        if len(logits) > 1 or len(logits[0]) > 1:
            logits = [chunk.repeat(self.batch // len(chunk), 1, 1) for chunk in logits]
            members = [chunk.expand(self.batch, -1, -1) for chunk in members]
            repeats = (last - first) // len(logits)
            logits, members = logits * repeats, members * repeats
        whole = torch.cat(logits).to(self.device), torch.cat(members).to(self.device)
        return attention_bias(*whole, self.dtype)


def _row_by_row(one: Tensor, other: Tensor) -> Tensor:
    """The sum of [A,N] and [B,N]; row i of the longer takes row i mod the shorter's number."""
    rows = math.lcm(len(one), len(other))
    return one.repeat(rows // len(one), 1) + other.repeat(rows // len(other), 1)


def _members(chunk: Chunk, keys: int) -> Tensor:
    """[G,keys]: which keys are whose. A text is repeated where another one in the batch is longer."""
    groups = chunk.groups
    if groups is None:
        return torch.zeros(0, keys)
    # Longer than the groups know of: something was appended, which belongs to no group.
    if chunk.tokens < groups.length or keys % chunk.tokens:
        raise ProductBackgroundError(
            f"A conditioning's token positions are for {groups.length} tokens; its text has {chunk.tokens} and the "
            f"model gets {keys}. Something between Category Conditioning and the sampler changes the text's length."
        )
    repeats = range(0, keys, chunk.tokens)
    return membership([[start + p for start in repeats for p in places] for _, places in groups.groups], keys)


def _runs(flags: Sequence[bool]) -> list[tuple[int, int]]:
    """First and one past the last index of each run of True."""
    edges = [i for i in range(len(flags) + 1) if (i < len(flags) and flags[i]) != (i > 0 and flags[i - 1])]
    return list(zip(edges[::2], edges[1::2], strict=True))
