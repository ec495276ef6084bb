"""A job: one variant of one product. What it is called, by whom, and by which hash it is known."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .protocol import Graph
from .rows import FILE_COLUMNS, MAX_SEED, Row

_encode = json.JSONEncoder(sort_keys=True, default=str).encode
_NAMES = uuid.UUID("6f1d3c1e-58c5-5d0b-9f5b-0f3f0a2b7c11")


@dataclass(frozen=True)
class Job:
    product: str
    variant: int
    line: int
    seed: int
    values: dict[str, Any]
    """The row's cells, with the seed of this variant."""

    @property
    def category(self) -> str:
        return str(self.values["category"])

    @property
    def files(self) -> dict[str, str]:
        """Column -> path, of the files that the row names."""
        return {column: str(self.values[column]) for column in FILE_COLUMNS if column in self.values}

    @cached_property
    def cells(self) -> str:
        """The values as text, the same for the same values."""
        return _encode(self.values)

    def with_seed(self, seed: int) -> Job:
        return Job(self.product, self.variant, self.line, seed, {**self.values, "seed": seed})


def jobs_of(line: int, row: Row) -> Iterator[Job]:
    """The variants of a row. A row without a seed gets one that its id decides, so that a second run asks the same."""
    values = row.values()
    first = row.seed if row.seed is not None else int.from_bytes(digest(row.id)[:6], "big")
    for variant in range(row.variants):
        seed = (first + variant) % (MAX_SEED + 1)
        yield Job(row.id, variant, line, seed, {**values, "seed": seed, "variant": variant})


def further_seed(job: Job, attempt: int) -> int:
    """Another seed for a picture whose score was too low; attempt 0 is the job's own."""
    if attempt == 0:
        return job.seed
    return int.from_bytes(digest(job.product, job.variant, job.seed, attempt)[:6], "big")


def digest(*parts: object) -> bytes:
    return hashlib.sha256(_encode(parts).encode()).digest()


def key_of(job: Job, graph: Graph, weights: dict[str, str | None]) -> str:
    """What a job is: its graph with all inputs filled in (uploads are named by their content), its seed, the weights.

    The product and the variant belong to it, since two products with equal photographs get a picture each.
    """
    bare = {node_id: [node["class_type"], node["inputs"]] for node_id, node in graph.items()}
    return digest(job.product, job.variant, job.seed, bare, weights).hex()


def prompt_id_of(key: str, submission: int, attempt: int) -> str:
    """The id under which a server gets the job, so that a later run finds it there. `submission` counts retries."""
    return str(uuid.uuid5(_NAMES, f"{key}/{submission}/{attempt}"))


def file_stem(job: Job, key: str) -> str:
    """Name of the job's files, fit for every file system. The key's start keeps what an earlier workflow made."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", job.product).strip("._")[:80] or "product"
    return f"{safe}_{job.variant}_{key[:10]}"
