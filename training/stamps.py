"""What kept results were made of, as a digest: other pictures or other weights give another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from .data import Record


def sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def begun_from(start: Path) -> dict[str, str]:
    """What metadata say of the file whose weights a run trains further."""
    return {"start": start.name, "start_sha256": sha256(start)}


def stamp_weights(about: Any, module: object) -> None:
    """Adds a network's weights to a hash of `hashlib`'s; anything but a torch module has none."""
    if isinstance(module, nn.Module):
        for value in module.state_dict().values():
            about.update(value.detach().cpu().float().contiguous().numpy().tobytes())


def digest_of(parts: Iterable[object]) -> str:
    """32 hex digits of modules (their weights count), tensors, and what its `repr` says whole."""
    about = hashlib.sha256()
    for part in parts:
        if isinstance(part, nn.Module):
            stamp_weights(about, part)
        elif isinstance(part, Tensor):
            values = part.detach().cpu().contiguous()
            about.update(f"{values.dtype} {tuple(values.shape)} ".encode() + values.numpy().tobytes())
        else:
            about.update(repr(part).encode())
        about.update(b"\n")
    return about.hexdigest()[:32]


def stamp_records(about: Any, records: Iterable[Record]) -> None:
    """Adds the files of data set records: their paths, sizes and times."""
    for path in (path for record in records for path in (record.picture, record.mask)):
        facts = path.stat()
        about.update(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}\n".encode())
