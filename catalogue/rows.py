"""Reads a catalogue (CSV, JSON Lines or Parquet), a row at a time, and says of each bad row what is wrong and where."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from .folder import Folder, relative_path
from .protocol import ComfyError

FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")
FILE_COLUMNS = ("image", "mask", "reference")
REQUIRED = ("id", "image", "category")
MAX_SEED = 2**64 - 1
# Control characters, line separators, what turns the direction of reading, halves of letters.
_UNSPEAKABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HALF_A_LETTER = re.compile(r"[\ud800-\udfff]")

RelativePath = Annotated[str, Field(max_length=1000), AfterValidator(relative_path)]


class Row(BaseModel):
    """A product. Other columns are kept as they are, for bindings of the user's own."""

    model_config = ConfigDict(extra="allow", str_strip_whitespace=True, coerce_numbers_to_str=True)

    id: str = Field(min_length=1, max_length=200)
    image: RelativePath
    category: str = Field(min_length=1, max_length=200)
    mask: RelativePath | None = None
    reference: RelativePath | None = None
    prompt: str | None = Field(None, max_length=10_000)
    seed: int | None = Field(None, ge=0, le=MAX_SEED)
    variants: int = Field(1, ge=1, le=1000)
    width: int | None = Field(None, ge=16, le=16384)
    height: int | None = Field(None, ge=16, le=16384)

    @field_validator("id", "category")
    @classmethod
    def printable(cls, text: str) -> str:
        if _UNSPEAKABLE.search(text):
            raise ValueError("holds control characters")
        return text

    @model_validator(mode="before")
    @classmethod
    def empty_means_missing(cls, data: Any) -> Any:
        for name, value in data.items():
            unfit = isinstance(value, float) and not math.isfinite(value)
            if unfit or (isinstance(value, bool) and name in ("seed", "variants", "width", "height")):
                raise ValueError(_no_value(name, value))
        cells = {name: value.strip() if isinstance(value, str) else value for name, value in data.items()}
        return {name: value for name, value in cells.items() if value is not None and value != ""}

    @model_validator(mode="after")
    def plain_values(self) -> Row:
        for name, value in (self.model_extra or {}).items():
            text = f"{name}{value}" if isinstance(value, str) else name
            if not isinstance(value, str | int | float | bool) or _HALF_A_LETTER.search(text):
                raise ValueError(_no_value(name, value))
        return self

    def values(self) -> dict[str, Any]:
        """The columns that this row fills, for bindings."""
        return self.model_dump(exclude_none=True)


def _no_value(name: str, value: Any) -> str:
    return f"column {name!r} holds {_shown(value)}: text or a finite number is accepted"


def _shown(value: Any) -> str:
    """A cell for a message; never all of a list that may be nested without end."""
    return repr(str(value)[:60]) if isinstance(value, str | int | float) else f"a {type(value).__name__}"


@dataclass(frozen=True)
class Problem:
    """Why a row can't be run. `line` counts from 1 as an editor does; for Parquet it is the row's number."""

    line: int
    product: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}{f' (id {self.product!r})' if self.product else ''}: {self.reason}"


def read_rows(folder: Folder, name: str) -> Iterator[tuple[int, Row] | Problem]:
    """Every row or what is wrong with it, in order. Raises ComfyError for a file that is no catalogue at all."""
    suffix = _checked_suffix(folder, name)
    read = {".csv": _csv, ".parquet": _parquet}.get(suffix, _json_lines)
    seen: dict[str, int] = {}
    for line, raw in read(folder, name):
        if isinstance(raw, str):
            yield Problem(line, "", raw)
            continue
        known = raw.get("id", "")
        product = str(known).strip()[:50] if isinstance(known, str | int) else ""
        try:
            row = Row.model_validate(raw)
        except ValidationError as error:
            yield Problem(line, product, _account(error))
            continue
        if (first := seen.setdefault(row.id, line)) != line:
            yield Problem(line, product, f"this id is already on line {first}")
            continue
        yield line, row


def read_columns(folder: Folder, name: str) -> set[str] | None:
    """The catalogue's columns; None for JSON Lines, where each row has its own."""
    suffix = _checked_suffix(folder, name)
    if suffix == ".csv":
        with _text(folder, name) as file:
            return set(_header(name, csv.reader(file, strict=True)))
    if suffix == ".parquet":
        return set(_open_parquet(folder, name).schema_arrow.names)
    return None


def _checked_suffix(folder: Folder, name: str) -> str:
    if (suffix := PurePosixPath(name).suffix.lower()) not in FORMATS:
        raise ComfyError(f"{name} is no catalogue: {', '.join(FORMATS)} are accepted.")
    if not folder.has(name):
        raise ComfyError(f"There is no catalogue {folder}/{name}.")
    return suffix


def _account(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        column = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        found = "" if fault["type"] in ("missing", "value_error") else f", found {_shown(fault['input'])}"
        reason = "is empty or missing" if fault["type"] == "missing" else reason
        parts.append(f"{column}: {reason}{found}" if column else reason)
    return "; ".join(parts)


def _text(folder: Folder, name: str) -> io.TextIOBase:
    """The file as text. What isn't UTF-8 becomes U+FFFD, which the row's own check then names."""
    try:
        if folder.local:
            # utf-8-sig: spreadsheets put a mark at the start, which would become part of the first column's name
            return (folder.local / name).open(encoding="utf-8-sig", errors="replace", newline="")
        return io.StringIO(folder.get(name).decode("utf-8-sig", "replace"), newline="")
    except OSError as error:
        raise ComfyError(f"{name} can't be read: {error.strerror or error}.") from error


def _unreadable(row: dict[str, Any] | str) -> str | None:
    text = row if isinstance(row, str) else "".join(part for cell in row.items() for part in cell if type(part) is str)
    if "\ufffd" in text:
        return "is not UTF-8: save the catalogue in that encoding"
    return "holds a NUL character" if "\0" in text else None


class _Lines:
    """A file's lines for csv.reader, which can go back: an unclosed quote swallows the rows after it."""

    def __init__(self, file: io.TextIOBase) -> None:
        self._file, self._again, self._record = file, deque[str](), list[str]()
        self.number = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._record.append(line)
        self.number += 1
        return line

    def begin(self) -> int:
        """A new record; returns the number of its first line."""
        self._record.clear()
        return self.number + 1

    def record(self) -> str:
        return "".join(self._record)

    def back(self) -> bool:
        """To the second line of this record; returns whether it had more than one."""
        more = self._record[1:]
        self._again.extendleft(reversed(more))
        self.number -= len(more)
        return bool(more)


def _csv(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _text(folder, name) as file:
        lines = _Lines(file)
        reader = csv.reader(lines, strict=True)
        header = _header(name, reader)
        while True:
            line = lines.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                hint = "; is a quote opened here and not closed?" if lines.back() else ""
                yield line, f"can't be read as CSV ({error}{hint})"
                continue
            if not cells:
                continue
            if len(cells) != len(header):
                yield line, f"has {len(cells)} cells where the first line has {len(header)} columns"
                continue
            yield line, _unreadable(lines.record()) or dict(zip(header, cells, strict=True))


def _header(name: str, reader: Iterator[list[str]]) -> list[str]:
    try:
        header = [column.strip() for column in next(reader, [])]
    except csv.Error as error:
        raise ComfyError(f"{name} can't be read as CSV: {error}.") from error
    _check_columns(name, header)
    return header


def _json_lines(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _text(folder, name) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                raw = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, _unreadable(text) or f"is no JSON ({str(error)[:100]})"
                continue
            if not isinstance(raw, dict):
                yield line, f"holds {type(raw).__name__} where an object with {', '.join(REQUIRED)} is expected"
                continue
            yield line, _unreadable(raw) or raw


def _parquet(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    table = _open_parquet(folder, name)
    _check_columns(name, list(table.schema_arrow.names))
    line = 0
    for group in range(table.num_row_groups):
        end = line + table.metadata.row_group(group).num_rows
        try:
            for batch in table.iter_batches(1024, row_groups=[group]):
                for raw in _rows_of(batch):
                    line += 1
                    yield line, raw if isinstance(raw, str) else _unreadable(raw) or raw
        except (ValueError, OSError, MemoryError) as error:  # pyarrow's own errors are such
            yield line + 1, f"rows {line + 1} to {end} can't be read ({_in_a_line(error)})"
            line = end


def _open_parquet(folder: Folder, name: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ComfyError(f"Reading {name} needs pyarrow: pip install pyarrow, or save the table as CSV.") from error
    try:
        source = folder.local / name if folder.local else pyarrow.BufferReader(folder.get(name))
        return pyarrow.parquet.ParquetFile(source)
    except (pyarrow.ArrowException, OSError) as error:
        raise ComfyError(f"{name} can't be read as Parquet: {_in_a_line(error)}") from error


def _in_a_line(error: BaseException) -> str:
    text = "".join(letter if letter.isprintable() else " " for letter in str(error)[:500])
    return " ".join(text.split())[:200]


def _rows_of(batch: Any) -> list[dict[str, Any] | str]:
    """A batch's rows; instead of one with a cell that Python can't hold, why."""
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError) as error:
        if batch.num_rows == 1:
            return [f"can't be read ({_in_a_line(error)})"]
        return [row for number in range(batch.num_rows) for row in _rows_of(batch.slice(number, 1))]


def _check_columns(name: str, header: list[str]) -> None:
    if any("\ufffd" in column or "\0" in column for column in header):
        raise ComfyError(f"{name} is not UTF-8: save the catalogue in that encoding.")
    if missing := [column for column in REQUIRED if column not in header]:
        found = ", ".join(column if column.isprintable() else repr(column) for column in header)[:300] or "nothing"
        other = next((f" Cells are separated by ',', not {mark!r}." for mark in ";\t" if mark in "".join(header)), "")
        raise ComfyError(f"{name} lacks the column {' and '.join(missing)}. Its columns are: {found}.{other}")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ComfyError(f"{name} has the column {' and '.join(twice)} twice.")
