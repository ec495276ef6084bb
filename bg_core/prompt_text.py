"""A prompt's text as the host reads it, with places kept: weights in brackets, escapes, embeddings, and what stands for
`{category}` and `{identifier}`.

Nothing is found again in the finished text: the two placeholders become marks (Unicode noncharacters, which no text
holds) before anything else is looked at, and the marks stay with their words through all later steps.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from .errors import ProductBackgroundError

CATEGORY, IDENTIFIER = "{category}", "{identifier}"
TEMPLATE = f"a photo of {CATEGORY}, in the background of {IDENTIFIER}"
"""The text of arXiv 2312.13309."""

PRODUCT_GROUP, IDENTIFIER_GROUP = "product", "identifier"

_OPEN = {PRODUCT_GROUP: "\ufdd0", IDENTIFIER_GROUP: "\ufdd2"}
_CLOSE = {PRODUCT_GROUP: "\ufdd1", IDENTIFIER_GROUP: "\ufdd3"}
_VECTORS = "\ufdd4"  # stands for the identifier's vectors
_ESCAPED = {"\\)": "\ufdd5", "\\(": "\ufdd6"}
_MARKS = re.compile("[\ufdd0-\ufdd6]")
_TAGS = re.compile("([\ufdd0-\ufdd3])")

EMBEDDING = "embedding:"
_EMBEDDINGS = re.compile(f"[ \n](?={EMBEDDING})")
_BRACKET_WEIGHT = 1.1


@dataclass(frozen=True)
class Words:
    """Text that is tokenized as one, in runs: (text, the token group it belongs to or None)."""

    runs: tuple[tuple[str, str | None], ...]
    weight: float


@dataclass(frozen=True)
class Embedding:
    """A textual-inversion embedding's name, and the runs of the text behind it, up to the next embedding."""

    name: str
    runs: tuple[tuple[str, str | None], ...]
    weight: float


@dataclass(frozen=True)
class Identifier:
    """The place of the identifier's vectors."""

    weight: float


Piece = Words | Embedding | Identifier


def parse(template: str, category: str, scene: str | None = None) -> list[Piece]:
    """The pieces of `template`, in order, with `category` in place of {category}.

    `scene`: words in place of {identifier}; None leaves its place to vectors. Both are plain text whatever they hold,
    not syntax. Raises ProductBackgroundError for a template without {identifier}: the category would say nothing.
    """
    if IDENTIFIER not in template:
        raise ProductBackgroundError(
            f"The text has no {IDENTIFIER}, so that the category's background would be left out. Write {IDENTIFIER} "
            f"where it belongs, for example: {TEMPLATE}"
        )
    text = _MARKS.sub("", template)
    text = text.replace(CATEGORY, _tagged(category, PRODUCT_GROUP))
    text = text.replace(IDENTIFIER, _VECTORS if scene is None else _tagged(scene, IDENTIFIER_GROUP))
    for escape, mark in _ESCAPED.items():
        text = text.replace(escape, mark)
    pieces: list[Piece] = []
    group: str | None = None
    for segment, weight in weighted_segments(text):
        for place, part in enumerate(_unescaped(segment).split(_VECTORS)):
            if place:
                pieces.append(Identifier(weight))
            for word in _EMBEDDINGS.split(part):
                if word.startswith(EMBEDDING):
                    name, *behind = word.removeprefix(EMBEDDING).split() or [""]
                    _, group = _runs(name, group)
                    runs, group = _runs(" ".join(behind), group)
                    pieces.append(Embedding(_MARKS.sub("", name), runs, weight))
                elif word:
                    runs, group = _runs(word, group)
                    pieces.append(Words(runs, weight))
    return pieces


def weighted_segments(text: str, weight: float = 1.0) -> Iterator[tuple[str, float]]:
    """(text, weight) of the parts that brackets make. `(a:1.3)` weighs 1.3, `(a)` 1.1 times what is around it.

    Unclosed and stray brackets are text, as far as they are for the host.
    """
    for part in _bracketed(text):
        if len(part) < 2 or part[0] != "(" or part[-1] != ")":
            yield part, weight
            continue
        inner, given = part[1:-1], weight * _BRACKET_WEIGHT
        head, colon, number = inner.rpartition(":")
        if colon and head:
            try:
                inner, given = head, float(number)
            except ValueError:
                inner = part[1:-1]
        yield from weighted_segments(inner, given)


def _bracketed(text: str) -> Iterator[str]:
    """The text cut before each outermost "(" and behind the ")" that closes it."""
    depth = start = 0
    for place, char in enumerate(text):
        if char == "(":
            if depth == 0 and place > start:
                yield text[start:place]
                start = place
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                yield text[start : place + 1]
                start = place + 1
    if start < len(text):
        yield text[start:]


def _tagged(words: str, group: str) -> str:
    plain = _MARKS.sub("", words).replace("(", _ESCAPED["\\("]).replace(")", _ESCAPED["\\)"])
    plain = plain.replace(EMBEDDING, EMBEDDING[:-1] + " :")  # the same tokens, and no embedding
    return f"{_OPEN[group]}{plain}{_CLOSE[group]}"


def _unescaped(segment: str) -> str:
    return segment.replace(_ESCAPED["\\)"], ")").replace(_ESCAPED["\\("], "(")


def _runs(word: str, group: str | None) -> tuple[tuple[tuple[str, str | None], ...], str | None]:
    """Runs of one group each, and the group that is still open at the end."""
    runs: list[tuple[str, str | None]] = []
    for part in _TAGS.split(word):
        if part in _OPEN.values():
            group = next(name for name, mark in _OPEN.items() if mark == part)
        elif part in _CLOSE.values():
            group = None
        elif part:
            _append(runs, part, group)
    return tuple(runs), group


def _append(runs: list[tuple[str, str | None]], text: str, group: str | None) -> None:
    """Add a run; a word that the border cuts ("mug" + "s") goes whole to the side that has a group."""
    if runs and _joined(runs[-1][0][-1], text[0]):
        before, owner = runs.pop()
        if owner is None and group is not None:
            cut = _last_word(before)
            before, text = before[:cut], before[cut:] + text
        else:
            cut = _first_word(before[-1], text)
            before, text = before + text[:cut], text[cut:]
        if before:
            runs.append((before, owner))
    if text:
        runs.append((text, group))


def _kind(char: str) -> str:
    """The classes that CLIP's tokenizer takes words from: letters, single digits, space, and all else."""
    if char.isspace():
        return "space"
    return {"L": "letter", "N": "digit"}.get(unicodedata.category(char)[0], "other")


def _joined(a: str, b: str) -> bool:
    return _kind(a) == _kind(b) and _kind(a) in ("letter", "other")


def _last_word(text: str) -> int:
    """Where the word begins that `text` ends with."""
    start = len(text) - 1
    while start and _joined(text[start - 1], text[start]):
        start -= 1
    return start


def _first_word(before: str, text: str) -> int:
    """Where the word ends that `text`, standing behind the character `before`, begins with."""
    end = 0
    while end < len(text) and _joined(before, text[end]):
        before = text[end]
        end += 1
    return end
