"""From a prompt's pieces to the tokens of a CLIP text encoder, with the place of every token group, and to the context
that the UNet reads.

Whose tokenizer and encoder it is doesn't matter here: ComfyUI's and transformers' are both handed in as a `Tokens` and
as functions that encode chunks. A prompt is cut into chunks as ComfyUI cuts it, except that an identifier is never cut.

**The leak.** CLIP is causal: every token behind the identifier, the end and the padding among them, has read it, and
would carry it to the product however well attention to the identifier itself is masked. So a prompt is encoded twice,
once with the identifier and once with a neutral word, as often as the identifier has vectors, in its place. Only the
identifier's own positions are taken from the first run; all others, and the pooled output, come from the neutral one
(`close_leak`). That is our choice; arXiv 2312.13309 doesn't speak of it. Left open, what follows an identifier changes
with it by 0.3 to 0.7 of what the identifier's own context does (`context_leak`; four vectors, the demonstration base's
encoder and a random one of CLIP-L's size), and the first word behind it by as much as the identifier itself.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from .errors import ProductBackgroundError
from .prompt_text import IDENTIFIER_GROUP, PRODUCT_GROUP, Embedding, Identifier, Piece, Words

NEUTRAL_WORD = "*"
"""Stands in the identifier's place where its influence is taken out: one token that says next to nothing. To the
demonstration base it is an unknown word, whose embedding was trained to be neutral."""

Token = int | Tensor
Chunk = list[tuple[Token, float]]
"""One run of the encoder: (token id, or an embedding [width] in its place; weight), ComfyUI's own form."""


class Tokens(Protocol):
    """A CLIP tokenizer. `length`: tokens a chunk; `whole`: a text of fewer tokens isn't cut at a chunk's end."""

    start: int
    end: int
    pad: int
    length: int
    whole: int

    def ids(self, text: str) -> list[int]:
        """The ids of `text` alone, without start and end."""
        ...

    def embedding(self, name: str) -> tuple[Tensor | None, str]:
        """The textual inversion `name` ([n,width] or [width]), or None, and what of the name wasn't one (a comma)."""
        ...


@dataclass(frozen=True)
class Prompt:
    """A tokenized prompt. `chunks` hold the neutral word where the identifier stands; `slots` says where.

    `slots`: (position, number of the vector) of the identifier's vectors; `groups`: positions of each token group in
    0 <= position < length, ascending. Positions count through all chunks.
    """

    chunks: list[Chunk]
    slots: list[tuple[int, int]]
    groups: dict[str, list[int]]
    words: dict[int, int] = field(default_factory=dict)  # position -> token id of a scene in words

    @property
    def length(self) -> int:
        """Tokens of the context, over all chunks."""
        return sum(len(chunk) for chunk in self.chunks)

    @property
    def own(self) -> Tensor:
        """Where the identifier, or the scene in its place, stands: bool [length]."""
        own = torch.zeros(self.length, dtype=torch.bool)
        own[self.groups[IDENTIFIER_GROUP]] = True
        return own

    def neutral(self) -> list[Chunk]:
        """The chunks without the identifier."""
        return [list(chunk) for chunk in self.chunks]

    def filled(self, vectors: Tensor | None) -> list[Chunk]:
        """The chunks with the identifier, `vectors` [vectors,width] or, for a scene in words, None."""
        chunks = self.neutral()
        size = len(chunks[0])
        put: dict[int, Token] = dict(self.words)
        if vectors is not None:
            put |= {position: vectors[number] for position, number in self.slots}
        for position, token in put.items():
            chunk, place = divmod(position, size)
            chunks[chunk][place] = (token, chunks[chunk][place][1])
        return chunks


def tokenize(pieces: Sequence[Piece], tokens: Tokens, vectors: int, width: int) -> Prompt:
    """The prompt that `pieces` make for an identifier of `vectors` vectors, `width` wide.

    Embeddings of another width, and names that no embedding has, are left out, as the host does. Raises
    ProductBackgroundError for an identifier that no chunk can hold.
    """
    room = tokens.length - 2  # beside start and end
    if vectors > room:
        raise ProductBackgroundError(
            f"The identifier has {vectors} vectors. A chunk of this text encoder has room for {room}."
        )
    neutral = neutral_id(tokens)
    layout = _Layout(tokens)
    for piece in pieces:
        if isinstance(piece, Identifier):
            slots = [_Slot(neutral, piece.weight, IDENTIFIER_GROUP, vector=number) for number in range(vectors)]
            layout.add(slots, whole=True)
        elif isinstance(piece, Words):
            layout.add(_word_slots(piece, tokens, neutral))
        else:
            found, left = tokens.embedding(piece.name) if piece.name else (None, "")
            layout.add(_embedding_slots(found, piece, width))
            behind = ((left.strip() + " ", None), *piece.runs)
            layout.add(_word_slots(Words(behind, piece.weight), tokens, neutral))
    return layout.finish()


def neutral_id(tokens: Tokens) -> int:
    """The token id of the neutral word."""
    ids = tokens.ids(NEUTRAL_WORD)
    if len(ids) != 1:
        raise ProductBackgroundError(
            f"This text encoder's tokenizer makes {len(ids)} tokens of {NEUTRAL_WORD!r}. Expected one, as CLIP's does."
        )
    return ids[0]


def close_leak(filled: Tensor, neutral: Tensor, own: Tensor, strength: float = 1.0) -> Tensor:
    """The context [B,L,D]: `filled` at the identifier's own positions, `neutral` everywhere else, both [B,L,D].

    `own`: bool [L] or [B,L] (`Prompt.own`). `strength` 0 gives the neutral word there, too, 1 the identifier, beyond
    that more than it. Gradients reach both contexts.
    """
    if strength != 1.0:
        filled = torch.lerp(neutral, filled, strength)
    return torch.where(own.to(filled.device).unsqueeze(-1), filled, neutral)


def context_leak(filled: Sequence[Tensor], own: Tensor) -> float:
    """How far the context behind an identifier follows it: RMS change there over RMS change at its own positions.

    `filled`: contexts [1,L,D] of one prompt with different identifiers; `own`: bool [L]. 0: nothing leaks. 1: what
    follows changes as much as the identifier itself.
    """
    stack = torch.cat(list(filled)).double()
    spread = (stack - stack.mean(0)).square().mean((0, 2))  # [L]
    behind = ~own & (torch.arange(len(spread)) > int(own.nonzero()[0]))
    return float((spread[behind].mean() / spread[own].mean()).sqrt())


@dataclass(frozen=True)
class _Slot:
    token: Token
    weight: float
    group: str | None = None
    vector: int | None = None
    word: int | None = None


class _Layout:
    """Fills chunks as ComfyUI's tokenizer does."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._chunks: list[list[_Slot]] = []
        self._begin()

    def add(self, slots: list[_Slot], whole: bool = False) -> None:
        """One text, embedding or identifier. `whole`: never cut, however long."""
        whole = whole or len(slots) < self._tokens.whole
        while slots:
            room = self._tokens.length - 1 - len(self._chunks[-1])
            if len(slots) <= room:
                self._chunks[-1] += slots
                return
            if not whole:
                self._chunks[-1] += slots[:room]
                slots = slots[room:]
            self._end()
            self._begin()

    def finish(self) -> Prompt:
        self._end()
        flat = [slot for chunk in self._chunks for slot in chunk]
        groups = {
            group: [position for position, slot in enumerate(flat) if slot.group == group]
            for group in (IDENTIFIER_GROUP, PRODUCT_GROUP)
        }
        return Prompt(
            [[(slot.token, slot.weight) for slot in chunk] for chunk in self._chunks],
            [(position, slot.vector) for position, slot in enumerate(flat) if slot.vector is not None],
            groups,
            {position: slot.word for position, slot in enumerate(flat) if slot.word is not None},
        )

    def _begin(self) -> None:
        self._chunks.append([_Slot(self._tokens.start, 1.0)])

    def _end(self) -> None:
        chunk = self._chunks[-1]
        chunk.append(_Slot(self._tokens.end, 1.0))
        chunk += [_Slot(self._tokens.pad, 1.0)] * (self._tokens.length - len(chunk))


def _word_slots(piece: Words, tokens: Tokens, neutral: int) -> list[_Slot]:
    slots = []
    for text, group in piece.runs:
        for token in tokens.ids(text):
            if group == IDENTIFIER_GROUP:
                slots.append(_Slot(neutral, piece.weight, group, word=token))
            else:
                slots.append(_Slot(token, piece.weight, group))
    return slots


def _embedding_slots(found: Tensor | None, piece: Embedding, width: int) -> list[_Slot]:
    if found is None:
        logging.warning("The embedding %s is not there and is left out of the text.", piece.name)
        return []
    if found.shape[-1] != width:
        logging.warning("The embedding %s is %d wide, not %d: it is left out.", piece.name, found.shape[-1], width)
        return []
    return [_Slot(vector, piece.weight) for vector in found.reshape(-1, width)]
