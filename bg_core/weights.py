"""The pack's weight files: safetensors whose header says what they are.

A file is known by its metadata, never by its name. `read_header` looks at the header alone, so that a wrong, foreign or
truncated file is refused with a message before a single tensor is allocated. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from .errors import ProductBackgroundError
from .files import replacing

FORMAT = "product_background"
FORMAT_VERSION = 1
MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library itself

Shape = tuple[int | None, ...]
"""The expected shape of a tensor; None matches any size."""


@dataclass(frozen=True)
class Header:
    """What a weight file says about itself."""

    path: Path
    version: int
    kind: str
    base: str
    config: dict[str, Any]
    training: dict[str, Any]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and validate a weight file's header; allocates no tensor.

    Raises ProductBackgroundError for a file that is missing, truncated, not safetensors, not ours, or too new.
    """
    path = Path(path)
    header = _read_json_header(path)
    metadata = header.pop("__metadata__", {})
    name, _, version = str(metadata.get("format", "")).partition("/")
    if name != FORMAT or not version.isdecimal():
        raise ProductBackgroundError(
            f'{path} is not a weight file of this pack. Expected metadata format "{FORMAT}/{FORMAT_VERSION}", '
            f"got {metadata.get('format', 'none')!r}."
        )
    check_version(int(version), path)
    return Header(
        path=path,
        version=int(version),
        kind=str(metadata.get("kind", "")),
        base=str(metadata.get("base", "")),
        config=_json_field(metadata, "config", path),
        training=_json_field(metadata, "training", path),
        shapes={key: tuple(entry["shape"]) for key, entry in header.items()},
    )


def check_version(version: int, source: object) -> None:
    """Refuse a file written by a newer release of the pack."""
    if version > FORMAT_VERSION:
        raise ProductBackgroundError(
            f"{source} was written by a newer release: it has format version {version}, this one reads up to "
            f"{FORMAT_VERSION}. Update the pack."
        )


def load_checked(
    path: str | os.PathLike[str],
    kind: str,
    base: str | None = None,
    expected: Mapping[str, Shape] | Callable[[Header], Mapping[str, Shape]] | None = None,
) -> tuple[Header, dict[str, Tensor]]:
    """Load a weight file of one kind onto the CPU, after checking its header.

    `base`: the model family it must fit, if that matters. `expected`: exactly the tensors it must hold, or a function
    that derives them from the header (its `config` usually decides the shapes).
    """
    header = read_header(path)
    if header.kind != kind:
        raise ProductBackgroundError(f"{header.path} holds {header.kind!r} weights. Expected {kind!r}.")
    if base is not None and header.base != base:
        raise ProductBackgroundError(f"{header.path} fits the base {header.base!r}. The base in use is {base!r}.")
    if expected is not None:
        check_shapes(header, expected(header) if callable(expected) else expected)
    return header, safetensors.torch.load_file(header.path)


def check_shapes(header: Header, expected: Mapping[str, Shape]) -> None:
    """Compare a file's tensors with what they must be: no more, no fewer, each of its shape."""
    problems = [f"{key}: missing" for key in expected if key not in header.shapes]
    problems += [f"{key}: unexpected" for key in header.shapes if key not in expected]
    for key, shape in expected.items():
        got = header.shapes.get(key)
        if got is not None and not _matches(got, shape):
            wanted = [("any" if size is None else size) for size in shape]
            problems.append(f"{key}: expected {wanted}, got {list(got)}")
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ProductBackgroundError(f"{header.path} does not fit. " + "; ".join(problems[:5]) + more + ".")


def save(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Tensor],
    *,
    kind: str,
    base: str,
    config: Mapping[str, Any],
    training: Mapping[str, Any],
) -> Path:
    """Write a weight file in one step: a reader sees the old file or the whole new one, never a part.

    `config` must be enough to rebuild the module; `training` says where the weights come from (data, steps, seed,
    commit, licence). Both are stored as JSON.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {
        "format": f"{FORMAT}/{FORMAT_VERSION}",
        "kind": kind,
        "base": base,
        "config": json.dumps(dict(config)),
        "training": json.dumps(dict(training)),
    }
    # safetensors refuses views and tensors that share storage (tied weights), so each gets memory of its own
    owned = {key: tensor.detach().cpu().clone().contiguous() for key, tensor in tensors.items()}
    with replacing(path) as temporary:
        # not `save_file`, which makes files that only their owner can read
        temporary.write_bytes(safetensors.torch.save(owned, metadata=metadata))
    return path


def _read_json_header(path: Path) -> dict[str, Any]:
    """The safetensors header as JSON, its offsets checked against the file's true size."""
    if not path.is_file():
        raise ProductBackgroundError(f"No weight file at {path}.")
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else MAX_HEADER_BYTES + 1
        if length > min(MAX_HEADER_BYTES, size - 8):
            raise ProductBackgroundError(f"{path} is not a safetensors file, or is truncated ({size} bytes).")
        raw = file.read(length)
    try:
        header = json.loads(raw)
        entries = {key: entry for key, entry in header.items() if key != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if not all(isinstance(entry["shape"], list) for entry in entries.values()):
            raise TypeError("shape")
        if not isinstance(header.get("__metadata__", {}), dict):
            raise TypeError("metadata")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ProductBackgroundError(f"{path} is not a safetensors file: its header can't be read.") from error
    if size != 8 + length + end:
        raise ProductBackgroundError(f"{path} is truncated or damaged. Expected {8 + length + end} bytes, got {size}.")
    return header


def _json_field(metadata: Mapping[str, str], field: str, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(metadata.get(field, "{}"))
    except ValueError as error:
        raise ProductBackgroundError(f"{path}: metadata field {field!r} is not JSON.") from error
    if not isinstance(value, dict):
        raise ProductBackgroundError(f"{path}: metadata field {field!r} must be a JSON object.")
    return value


def _matches(got: tuple[int, ...], shape: Shape) -> bool:
    return len(got) == len(shape) and all(want is None or want == size for size, want in zip(got, shape, strict=True))
