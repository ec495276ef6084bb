"""Reads a catalogue (CSV, JSON Lines or Parquet), a row at a time, and says of each bad row what is wrong and where."""

from __future__ import annotations

import csv
import io
import json
import math
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
        if not text.isprintable():
            raise ValueError("holds control characters")
        return text

    @model_validator(mode="before")
    @classmethod
    def empty_means_missing(cls, data: Any) -> Any:
        return {key: value for key, value in data.items() if value is not None and value != ""}

    @model_validator(mode="after")
    def plain_values(self) -> Row:
        for name, value in (self.model_extra or {}).items():
            if not isinstance(value, str | int | float | bool) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise ValueError(f"column {name!r} holds {str(value)[:50]!r}: text or a finite number is accepted")
        return self

    def values(self) -> dict[str, Any]:
        """The columns that this row fills, for bindings."""
        return self.model_dump(exclude_none=True)


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
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in FORMATS:
        raise ComfyError(f"{name} is no catalogue: {', '.join(FORMATS)} are accepted, by their content's right name.")
    if not folder.has(name):
        raise ComfyError(f"There is no catalogue {name} in {folder}.")
    read = {".csv": _csv, ".parquet": _parquet}.get(suffix, _json_lines)
    seen: dict[str, int] = {}
    for line, raw in read(folder, name):
        if isinstance(raw, str):
            yield Problem(line, "", raw)
            continue
        product = str(raw.get("id") or "")[:50]
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
    if name.lower().endswith(".csv"):
        with _text(folder, name) as file:
            return {column.strip() for column in next(csv.reader(file), [])}
    if name.lower().endswith(".parquet"):
        import pyarrow.parquet

        source = folder.local / name if folder.local else pyarrow.BufferReader(folder.get(name))
        return set(pyarrow.parquet.read_schema(source).names)
    return None


def _account(error: ValidationError) -> str:
    parts = []
    for fault in error.errors():
        column = ".".join(map(str, fault["loc"]))
        reason = fault["msg"].removeprefix("Value error, ")
        found = "" if fault["type"] in ("missing", "value_error") else f", found {str(fault['input'])[:60]!r}"
        reason = "is empty or missing" if fault["type"] == "missing" else reason
        parts.append(f"{column}: {reason}{found}" if column else reason)
    return "; ".join(parts)


def _text(folder: Folder, name: str) -> io.TextIOBase:
    """The file as text. What isn't UTF-8 becomes U+FFFD, which the row's own check then names."""
    if folder.local:
        # utf-8-sig: spreadsheets put a mark at the start, which would become part of the first column's name
        return (folder.local / name).open(encoding="utf-8-sig", errors="replace", newline="")
    return io.StringIO(folder.get(name).decode("utf-8-sig", "replace"), newline="")


def _unreadable(line: dict[str, Any] | str) -> str | None:
    text = line if isinstance(line, str) else "".join(str(part) for part in line.items())
    if "\ufffd" in text:
        return "is not UTF-8: save the catalogue in that encoding"
    return "holds a NUL character" if "\0" in text else None


def _csv(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _text(folder, name) as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [column.strip() for column in next(reader, [])]
        except csv.Error as error:
            raise ComfyError(f"{name} can't be read as CSV: {error}.") from error
        _check_columns(name, header)
        while True:
            before = reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield before + 1, f"can't be read as CSV ({error})"
                if reader.line_num == before:  # it would stand still
                    return
                continue
            line = before + 1
            if not cells:
                continue
            if len(cells) != len(header):
                yield line, f"has {len(cells)} cells where the first line has {len(header)} columns"
                continue
            raw: dict[str, Any] = dict(zip(header, cells, strict=True))
            yield line, _unreadable(raw) or raw


def _json_lines(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    with _text(folder, name) as file:
        for line, text in enumerate(file, 1):
            if not text.strip():
                continue
            try:
                raw = json.loads(text)
            except (ValueError, RecursionError) as error:
                yield line, f"is no JSON ({str(error)[:100]})"
                continue
            if not isinstance(raw, dict):
                yield line, f"holds {type(raw).__name__} where an object with {', '.join(REQUIRED)} is expected"
                continue
            yield line, _unreadable(raw) or raw


def _parquet(folder: Folder, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ComfyError(f"Reading {name} needs pyarrow: pip install pyarrow, or save the table as CSV.") from error
    source = folder.local / name if folder.local else pyarrow.BufferReader(folder.get(name))
    try:
        table = pyarrow.parquet.ParquetFile(source)
        _check_columns(name, list(table.schema_arrow.names))
        line = 0
        for batch in table.iter_batches(1024):
            for raw in batch.to_pylist():
                line += 1
                yield line, _unreadable(raw) or raw
    except (pyarrow.ArrowException, OSError) as error:
        raise ComfyError(f"{name} can't be read as Parquet: {str(error)[:200]}") from error


def _check_columns(name: str, header: list[str]) -> None:
    if missing := [column for column in REQUIRED if column not in header]:
        found = ", ".join(header)[:300] or "nothing"
        raise ComfyError(f"{name} lacks the column {' and '.join(missing)}. Its columns are: {found}.")
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise ComfyError(f"{name} has the column {' and '.join(twice)} twice.")
