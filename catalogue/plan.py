"""What a run is: a catalogue, a workflow with its bindings, and what the first server adds to them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from .bindings import Binding
from .folder import Folder
from .job import Job, digest, jobs_of
from .ledger import Ledger
from .protocol import ComfyError, Graph
from .rows import Problem, Row, read_columns, read_rows
from .run_one import PICTURES, Assignment
from .server import Server
from .workflow import Workflow, resolve


@dataclass
class Plan:
    """`assignment` is there from the first server on, which tells its nodes and weights."""

    source: str
    name: str
    """The catalogue's file in `source`; its rows' paths are relative to that folder."""
    out: str
    raw: Graph | dict[str, Any]
    bindings: tuple[Binding, ...]
    outputs: dict[str, str]
    score: str | None = None
    limit: float = 600.0
    min_score: float | None = None
    tries: int = 1
    rows: Callable[[], Iterator[tuple[int, Row] | Problem]] | None = None
    """Rows that a program makes, instead of the file's; `name` is then only what they are called."""
    assignment: Assignment | None = None
    problems: list[Problem] = field(default_factory=list)
    """Rows that can't be run."""

    async def admit(self, server: Server) -> None:
        """Raises ComfyError saying why this server can't paint the catalogue."""
        object_info = await server.object_info()
        first = self.assignment
        workflow = first.workflow if first else self._workflow(object_info)
        columns = None if self.rows else read_columns(Folder(self.source), self.name)
        if problems := workflow.problems(object_info, columns):
            raise ComfyError("; ".join(problems))
        weights = {name: await server.weights(name) for name in workflow.weights()}
        if first is None:
            used = {node["class_type"] for node in workflow.graph.values()}
            nodes = {kind: object_info[kind] for kind in used}
            self.assignment = Assignment(
                workflow, nodes, weights, self.source, self.out, self.limit, self.min_score, self.tries
            )
            return
        for name, own in weights.items():
            if own != first.weights[name]:
                raise ComfyError(
                    f"its {name} is another one than the first server's (SHA-256 {own}, {first.weights[name]})"
                )

    def _workflow(self, object_info: dict[str, Any]) -> Workflow:
        return Workflow(resolve(self.raw, object_info), self.bindings, self.outputs, self.score)

    def enter(self, ledger: Ledger) -> str:
        """Put the catalogue's jobs into the ledger; returns a line that says what was found."""
        assert self.assignment is not None
        started = time.monotonic()
        ledger.remember("catalogue", {"source": self.source, "name": self.name, "out": self.out})
        ledger.remember("weights", self.assignment.weights)
        ledger.want(self._stamped())
        if missing := ledger.reopen(_present(Folder(self.out))):
            again = f", {missing} whose files are gone are made again"
        else:
            again = ""
        counts = ledger.counts()
        total, bad = sum(counts.values()), len(self.problems)
        return (
            f"{self.name}: {total} pictures wanted, {counts['done']} are done{again}; {bad} bad rows "
            f"({time.monotonic() - started:.1f} s)"
        )

    def _stamped(self) -> Iterator[tuple[Job, str]]:
        assert self.assignment is not None
        source = Folder(self.source)
        common = digest(self.assignment.workflow.digest, self.assignment.weights, self.min_score, self.tries).hex()
        stamp_of = lru_cache(10_000)(source.stamp)
        self.problems.clear()
        for row in self.rows() if self.rows else read_rows(source, self.name):
            if isinstance(row, Problem):
                self.problems.append(row)
                continue
            for job in jobs_of(*row):
                parts = (common, job.cells, *map(stamp_of, job.files.values()))
                yield job, hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _present(out: Folder) -> set[str] | None:
    """Names of the finished files, of a local folder: a look at 100,000 of them takes a moment."""
    if out.local is None:
        return None
    try:
        return {entry.name for entry in os.scandir(out.local / PICTURES)}
    except FileNotFoundError:
        return set()
