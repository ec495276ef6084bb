"""The identifiers of any number of categories, in one file that is never read whole.

A category owns an identifier, learned vectors that stand in the prompt like words (arXiv 2312.13309). The file holds
all identifiers in one tensor [categories, vectors, width], and two tables of text, each the texts end to end as UTF-8
beside the places where they end. `records` has a JSON object for each category, in the order of their names; `keys` has
every name and alias, sorted, a space behind each, with the row it belongs to. So opening reads the header alone, a
look-up is a binary search over slices, and a category costs the same memory and time among ten as among 100,000.
`bg_core.vocabulary_files` writes such files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from . import naming, weights
from .errors import ProductBackgroundError
from .nearest import Found, Table, find_nearest, similar_keys

KIND = "category"
IDENTIFIERS = "identifiers"
RECORDS, RECORD_ENDS = "records", "record_ends"
KEYS, KEY_ENDS, KEY_ROWS = "keys", "key_ends", "key_rows"


@dataclass(frozen=True)
class Category:
    """What a file says of one category.

    `name` is unique in a file. `phrase` stands for `{category}` in prompts, as it did in training; empty: the name.
    `aliases` are other names to find it by. `scene` describes a typical background in words, for bases that no
    identifier fits. `notes`: whatever else its maker wants to keep, JSON.
    """

    name: str
    phrase: str = ""
    aliases: tuple[str, ...] = ()
    scene: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def words(self) -> str:
        """What stands for `{category}` in a prompt."""
        return self.phrase or self.name

    def to_json(self) -> str:
        values = {"name": self.name, "phrase": self.phrase, "aliases": self.aliases, "scene": self.scene}
        return json.dumps({k: v for k, v in (values | {"notes": self.notes}).items() if v}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Category:
        values = json.loads(text)
        return cls(**(values | {"aliases": tuple(values.get("aliases", ()))}))


@dataclass(frozen=True)
class Match:
    """The category that a text was found to mean: its row, its record, and how it was found."""

    row: int
    category: Category
    how: str
    """`name`, `alias`, or a rule of `bg_core.nearest`."""
    matched: str
    """The name or alias that agreed."""

    def explain(self, text: str) -> str:
        """For the user, who must be able to see what was chosen."""
        if self.how == "name":
            return self.category.name
        return f"{self.category.name} ({self.how} '{self.matched}' for '{text}')"


class UnknownCategory(ProductBackgroundError):
    """A text names no category of the file, or several equally well. `suggestions`: the names that come nearest."""

    def __init__(self, message: str, suggestions: Sequence[str]) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


class CategoryVocabulary:
    """A category file, opened by `open`. It keeps the header only; each call reads the few bytes that it needs."""

    def __init__(self, header: weights.Header) -> None:
        self.header = header
        self.count, self.vectors, self.width = header.shapes[IDENTIFIERS]

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> CategoryVocabulary:
        """Check the header of the file at `path`; allocates no tensor.

        Raises ProductBackgroundError for a file that is missing, truncated, foreign, of another kind, or inconsistent.
        """
        header = weights.read_header(path)
        if header.kind != KIND:
            raise ProductBackgroundError(
                f"{header.path} holds weights of the kind {header.kind!r}. Expected {KIND!r}, a file of category "
                "identifiers."
            )
        weights.check_shapes(header, _shapes(header))
        return cls(header)

    def __len__(self) -> int:
        return self.count

    @property
    def path(self) -> Path:
        return self.header.path

    @property
    def base(self) -> str:
        """The model family that the identifiers fit."""
        return self.header.base

    def identifier(self, row: int) -> Tensor:
        """The vectors [vectors, width] float32 of category `row`, read by slice."""
        self._check_row(row)
        with safe_open(self.path, framework="pt") as file:
            return file.get_slice(IDENTIFIERS)[row].float()

    def category(self, row: int) -> Category:
        """The record of category `row`."""
        self._check_row(row)
        with self._reading() as file:
            return self._record(file, row)

    def categories(self, start: int = 0, stop: int | None = None) -> list[Category]:
        """The records of the rows `start` to `stop` (all), in the order of the file, which is by name."""
        with self._reading() as file:
            texts = file.texts(RECORDS, RECORD_ENDS, start, min(self.count if stop is None else stop, self.count))
            return [self._parse(text) for text in texts]

    def names(self, start: int = 0, stop: int | None = None) -> list[str]:
        """Names of the rows `start` to `stop` (all)."""
        return [category.name for category in self.categories(start, stop)]

    def find(self, text: str) -> Match:
        """The category that `text` names: by name, by alias, or the nearest one by the rules of `bg_core.nearest`.

        Raises UnknownCategory, which names the nearest ones, where nothing is near or several are equally near.
        """
        with self._reading() as file:
            found = find_nearest(text, file)
            records = {row: self._record(file, row) for row in found.rows}
        named = [row for row, record in records.items() if naming.key_of(record.name) == found.key]
        rows = named or list(found.rows)  # a name goes before another category's alias
        if len(rows) == 1:
            how = found.how if found.how != "exact" else "name" if named else "alias"
            return Match(rows[0], records[rows[0]], how, found.key)
        raise self._unknown(text, found, [records[row].name for row in rows])

    def nearest_names(self, text: str, limit: int = 5) -> list[str]:
        """Names of the categories whose names or aliases share most letters with `text`, best first."""
        with self._reading() as file:
            near = similar_keys(naming.key_of(text), file, 4 * limit)  # a category has several names
            rows = dict.fromkeys(row for _, _, key_rows in near for row in key_rows)
            return [self._record(file, row).name for row in list(rows)[:limit]]

    def _unknown(self, text: str, found: Found, names: list[str]) -> UnknownCategory:
        if names:
            some = ", ".join(sorted(names)[:5])
            return UnknownCategory(
                f"'{text}' may be several categories of {self.path.name}: '{found.key}' stands for {some}. Use one "
                "of these names.",
                sorted(names),
            )
        near = self.nearest_names(text)
        return UnknownCategory(
            f"No category of {self.path.name} is near '{text}'. It holds {self.count}"
            + (f"; spelled most alike: {', '.join(near)}" if near else "")
            + ". Use one of its names, or add the category (python -m training.add_category).",
            near,
        )

    def _record(self, file: _Reader, row: int) -> Category:
        return self._parse(file.texts(RECORDS, RECORD_ENDS, row, row + 1)[0])

    def _parse(self, text: str) -> Category:
        try:
            return Category.from_json(text)
        except (ValueError, TypeError, AttributeError) as error:
            raise ProductBackgroundError(f"{self.path} is damaged: a category's record can't be read.") from error

    def _check_row(self, row: int) -> None:
        if not 0 <= row < self.count:
            raise ProductBackgroundError(f"{self.path.name} has categories 0 to {self.count - 1}, not {row}.")

    @contextmanager
    def _reading(self) -> Iterator[_Reader]:
        try:
            with safe_open(self.path, framework="np") as file:
                yield _Reader(self.path, file)
        except OSError as error:
            raise ProductBackgroundError(f"{self.path} can't be read any more: {error}.") from error


class _Reader(Table):
    """The tables of an open file. Memory-mapped: only what is sliced is read."""

    def __init__(self, path: Path, file: Any) -> None:
        self._path, self._file = path, file
        self._slices: dict[str, Any] = {}
        self.count = int(self._slice(KEY_ENDS).get_shape()[0])

    def texts(self, data: str, ends: str, start: int, stop: int) -> list[str]:
        """The texts `start` to `stop` of a table."""
        if stop <= start:
            return []
        places = self._slice(ends)[max(start - 1, 0) : stop].tolist()
        places = places if start else [0, *places]
        size = self._slice(data).get_shape()[0]
        if places[0] < 0 or places[-1] > size or any(a > b for a, b in pairwise(places)):
            raise ProductBackgroundError(f"{self._path} is damaged: the table {ends!r} points outside {data!r}.")
        raw = self._slice(data)[places[0] : places[-1]].tobytes()
        try:
            return [raw[a - places[0] : b - places[0]].decode("utf-8") for a, b in pairwise(places)]
        except UnicodeDecodeError as error:
            raise ProductBackgroundError(f"{self._path} is damaged: {data!r} is not UTF-8.") from error

    def key(self, index: int) -> str:
        return self.texts(KEYS, KEY_ENDS, index, index + 1)[0].removesuffix(" ")

    def row(self, index: int) -> int:
        return int(self._slice(KEY_ROWS)[index])

    def all_keys(self) -> tuple[np.ndarray, np.ndarray]:
        return self._slice(KEYS)[:], self._slice(KEY_ENDS)[:]

    def _slice(self, name: str) -> Any:
        if name not in self._slices:
            self._slices[name] = self._file.get_slice(name)
        return self._slices[name]


def _shapes(header: weights.Header) -> dict[str, weights.Shape]:
    """What the file must hold; the counts are its own, but must agree with each other."""
    categories = header.shapes.get(IDENTIFIERS, (None,))[0]
    keys = header.shapes.get(KEY_ROWS, (None,))[0]
    return {
        IDENTIFIERS: (categories, None, None),
        RECORDS: (None,),
        RECORD_ENDS: (categories,),
        KEYS: (None,),
        KEY_ENDS: (keys,),
        KEY_ROWS: (keys,),
    }


def text_table(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The two tensors of a table: uint8 [bytes] and int64 [texts], where each text ends."""
    raw = [text.encode("utf-8") for text in texts]
    ends = np.cumsum([len(part) for part in raw], dtype=np.int64) if raw else np.zeros(0, np.int64)
    return torch.frombuffer(bytearray(b"".join(raw)), dtype=torch.uint8).clone(), torch.from_numpy(ends)
