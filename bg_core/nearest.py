"""Finds the category that a free text means, by rules over the names and aliases of a vocabulary.

In this order, and the first that finds something ends the search:

- `exact`: the text is a name or an alias, but for case, plural and punctuation;
- `head noun`: its noun phrase ends with one ("stoneware tea cup": cup);
- `packaging`: so does the phrase without its packaging ("lager can");
- `compound`: its last word does ("multivitamins", "teacup");
- `spelling`: its last words are one with a slip or two ("dark choclate").

A modifier alone decides nothing: a wine glass is no wine.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from . import naming

COMPOUND_LETTERS = 4  # of the end: shorter ones are found in too many words (marzipan holds a pan)


class Table(ABC):
    """Sorted keys, each with the row of the category that it belongs to; a key may occur once for each of several."""

    count: int

    @abstractmethod
    def key(self, index: int) -> str: ...

    @abstractmethod
    def row(self, index: int) -> int: ...

    @abstractmethod
    def all_keys(self) -> tuple[np.ndarray, np.ndarray]:
        """All keys end to end, each with a space behind it, uint8 [bytes], and where each ends, int64 [count]."""

    def rows(self, key: str) -> list[int]:
        """Rows of the categories that are called `key`; binary search."""
        low, high = 0, self.count
        wanted = key.encode("utf-8")
        while low < high:
            middle = (low + high) // 2
            if self.key(middle).encode("utf-8") < wanted:
                low = middle + 1
            else:
                high = middle
        found = []
        while low < self.count and self.key(low) == key:
            found.append(self.row(low))
            low += 1
        return found


@dataclass(frozen=True)
class Found:
    """The rows that fit, the key by which, and the rule. No rows: nothing is near. Several: they share the key."""

    rows: tuple[int, ...]
    key: str
    how: str


NOTHING = Found((), "", "")


def find_nearest(text: str, table: Table) -> Found:
    """The category of `table` that `text` means."""
    whole = naming.key_of(text)
    if rows := table.rows(whole):
        return Found(tuple(rows), whole, "exact")
    heads = list(naming.head_phrases(text))
    for find in (_head_noun, _packaging, _compound, _spelling):
        for head in heads:
            if found := find(head, table):
                return found
    return NOTHING


def similar_keys(text: str, table: Table, limit: int = 32) -> list[tuple[float, str, tuple[int, ...]]]:
    """(similarity, key, rows) of the keys that share most trigrams with the key `text`; Dice's coefficient, best first.

    One pass over the table's bytes; memory is a few times their size while it runs.
    """
    data, ends = table.all_keys()
    own = _trigrams(text)
    if not own or not len(ends):
        return []
    starts = np.concatenate([[0], ends[:-1]])
    # A key ends with a space, and the one before it gives it a space in front: first and last letters count. A trigram
    # belongs to the key that its middle lies in.
    wide = np.concatenate([[ord(" ")], data, [0]]).astype(np.int32)
    codes = (wide[:-2] << 16) + (wide[1:-1] << 8) + wide[2:]
    shared = np.add.reduceat(_are_in(codes, list(own)), starts, dtype=np.int32)
    scores = 2 * np.minimum(shared, len(own)) / (len(own) + ends - starts - 1)
    best = np.argsort(-scores, kind="stable")[:limit]
    return [(float(scores[i]), table.key(int(i)), (table.row(int(i)),)) for i in best if scores[i] > 0]


def _are_in(codes: np.ndarray, wanted: list[int]) -> np.ndarray:
    if len(codes) < 1_000_000:
        return np.isin(codes, wanted)
    table = np.zeros(1 << 24, bool)  # 16 MB for a moment, and ten times as fast where the keys are many
    table[wanted] = True
    return table[codes]


def _trigrams(text: str) -> set[int]:
    raw = f" {text} ".encode()
    return {(a << 16) + (b << 8) + c for a, b, c in zip(raw, raw[1:], raw[2:], strict=False)} if text else set()


def _head_noun(head: list[str], table: Table) -> Found | None:
    return _first(naming.suffixes(head), table, "head noun")


def _packaging(head: list[str], table: Table) -> Found | None:
    return _first(naming.suffixes(naming.without_packaging(head)), table, "packaging")


def _compound(head: list[str], table: Table) -> Found | None:
    for rest, end in naming.compound_ends(head[-1]):
        if len(end) < COMPOUND_LETTERS and end.isascii() and not table.rows(rest):
            continue
        if rows := table.rows(end):
            return Found(tuple(rows), end, "compound")
    return None


def _spelling(head: list[str], table: Table) -> Found | None:
    for key in naming.suffixes(head):
        near = [(name, rows) for _, name, rows in similar_keys(key, table) if naming.is_misspelling(key, name)]
        closest = min((naming.edit_distance(key, name) for name, _ in near), default=0)
        ties = {row for name, rows in near if naming.edit_distance(key, name) == closest for row in rows}
        if len(ties) == 1:
            name = next(name for name, _ in near if naming.edit_distance(key, name) == closest)
            return Found(tuple(ties), name, "spelling")
    return None


def _first(keys: Iterator[str], table: Table, how: str) -> Found | None:
    for key in keys:
        if rows := table.rows(key):
            return Found(tuple(rows), key, how)
    return None
