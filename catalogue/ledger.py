"""The ledger: what became of every job, in SQLite, so that a killed run goes on where it was."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .job import Job
from .protocol import ComfyError
from .run_one import Outcome

PENDING, SUBMITTED, DONE, FAILED, REFUSED, BAD = "pending", "submitted", "done", "failed", "refused", "bad"
"""Waiting; given to a server; its files are written; tried too often; refused by the server; its files are no good."""
STATES = (PENDING, SUBMITTED, DONE, FAILED, REFUSED, BAD)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS jobs (
    product TEXT NOT NULL, variant INTEGER NOT NULL, line INTEGER NOT NULL, seed TEXT NOT NULL, cells TEXT NOT NULL,
    stamp TEXT NOT NULL,            -- of row, files' sizes and times, workflow, weights: made without reading
    wanted INTEGER NOT NULL,        -- 0: the catalogue no longer holds it
    state TEXT NOT NULL, key TEXT, prompt_id TEXT, server TEXT,
    submission INTEGER NOT NULL DEFAULT 0,  -- never reset: it makes the prompt id of a retry another one
    failures INTEGER NOT NULL DEFAULT 0, losses INTEGER NOT NULL DEFAULT 0,
    error TEXT, seconds REAL, score REAL, files TEXT, not_before REAL NOT NULL DEFAULT 0, changed REAL NOT NULL,
    PRIMARY KEY (product, variant)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS by_key ON jobs (key) WHERE key IS NOT NULL;
CREATE INDEX IF NOT EXISTS waiting ON jobs (failures + losses, line, variant) WHERE state = 'pending' AND wanted;
CREATE INDEX IF NOT EXISTS by_state ON jobs (wanted, state);
"""


@dataclass
class Entry:
    """A job and what is known of it."""

    job: Job
    state: str
    key: str | None
    prompt_id: str | None
    server: str | None
    submission: int
    failures: int
    losses: int
    error: str | None
    seconds: float | None
    score: float | None
    files: dict[str, str]
    seed: int
    """The finished picture's, which may be a further one than the job's own."""

    @property
    def slot(self) -> tuple[str, int]:
        return self.job.product, self.job.variant


class Ledger:
    """One writer at a time: a second run on the same ledger is refused. `read_only` for `status` and `report`."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self._lock: sqlite3.Connection | None = None
        if read_only:
            if not path.is_file():
                raise ComfyError(f"There is no ledger {path}: nothing was run into that folder.")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            # SQLite's own lock on a file beside: every system has it, and it goes with a killed process.
            self._lock = sqlite3.connect(path.with_suffix(".lock"), isolation_level=None, timeout=0)
            try:
                self._lock.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError:
                self._lock.close()
                raise ComfyError(f"Another run is at work on {path}. Wait for it, or stop it.") from None
        try:
            where = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
            self._db = sqlite3.connect(where, uri=True, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            if not read_only:
                self._db.execute("PRAGMA journal_mode = WAL")
            # A killed process loses nothing then, a power cut the last moment.
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute("PRAGMA busy_timeout = 10000")
            if not read_only:
                self._db.executescript(_SCHEMA)
            self._db.execute("SELECT count(*) FROM about").fetchone()
        except sqlite3.DatabaseError as error:
            raise ComfyError(
                f"{path} is no ledger of a catalogue ({error}). Move it away or name another --out."
            ) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        if self._lock:
            self._lock.close()

    # About the whole

    def remember(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, json.dumps(value)))

    def recall(self, name: str) -> Any:
        row = self._db.execute("SELECT value FROM about WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def client_id(self) -> str:
        """The same for every run on this ledger, so that a server's messages reach the next run, too."""
        if (known := self.recall("client_id")) is None:
            known = uuid.uuid4().hex
            self.remember("client_id", known)
        return str(known)

    # The jobs of a catalogue

    def want(self, stamped: Iterable[tuple[Job, str]]) -> None:
        """Make these the wanted jobs, in one step. What was done under the same stamp stays done.

        Only what has changed is written: 100,000 rows that are as they were take a moment.
        """
        now = time.time()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            rows = self._db.execute("SELECT product, variant, stamp, line FROM jobs WHERE wanted")
            known = {(row[0], row[1]): (row[2], row[3]) for row in rows}
            new = (
                (job.product, job.variant, job.line, str(job.seed), job.cells, stamp, now)
                for job, stamp in stamped
                if known.pop((job.product, job.variant), None) != (stamp, job.line)
            )
            self._db.executemany(
                "INSERT INTO jobs (product, variant, line, seed, cells, stamp, wanted, state, changed)"
                " VALUES (?, ?, ?, ?, ?, ?, 1, 'pending', ?)"
                " ON CONFLICT (product, variant) DO UPDATE SET wanted = 1, line = excluded.line,"
                " seed = iif(stamp = excluded.stamp AND state = 'done', seed, excluded.seed),"
                " cells = excluded.cells, stamp = excluded.stamp,"
                # What the row says has changed. Its key tells, when it is made, whether that matters.
                " failures = iif(stamp = excluded.stamp, failures, 0), losses = iif(stamp = excluded.stamp, losses, 0),"
                " error = iif(stamp = excluded.stamp, error, NULL),"
                " state = iif(stamp = excluded.stamp, state, 'pending')",
                new,
            )
            self._db.executemany("UPDATE jobs SET wanted = 0 WHERE product = ? AND variant = ?", list(known))
            self._db.execute("UPDATE jobs SET not_before = 0 WHERE not_before > 0")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def reopen(self, present: set[str] | None) -> int:
        """Make done jobs pending whose files are gone; `present` holds the names that are there (None: unknown)."""
        if present is None:
            return 0
        rows = self._db.execute("SELECT product, variant, files FROM jobs WHERE wanted AND state = 'done'")
        gone = [
            (row["product"], row["variant"])
            for row in rows
            if not all(path.rpartition("/")[2] in present for path in json.loads(row["files"]).values())
        ]
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany(
            "UPDATE jobs SET state = 'pending', submission = submission + 1 WHERE product = ? AND variant = ?", gone
        )
        self._db.execute("COMMIT")
        return len(gone)

    def counts(self) -> dict[str, int]:
        rows = self._db.execute("SELECT state, count(*) FROM jobs WHERE wanted GROUP BY state")
        return dict.fromkeys(STATES, 0) | dict(tuple(row) for row in rows)

    def waiting(self, limit: int) -> list[Entry]:
        """The next pending jobs: those that never failed first, so that a poisoned row holds up no other."""
        return self._entries(
            "state = 'pending' AND wanted AND not_before <= ? ORDER BY failures + losses, line, variant LIMIT ?",
            time.time(),
            limit,
        )

    def next_time(self) -> float | None:
        """When the earliest pending job may be tried (time.time()), or None when none is pending."""
        row = self._db.execute("SELECT min(not_before) FROM jobs WHERE state = 'pending' AND wanted").fetchone()
        return None if row[0] is None else float(row[0])

    def submitted(self, server: str | None = None) -> list[Entry]:
        """Jobs that a server has, of those that are wanted."""
        if server is None:
            return self._entries("state = 'submitted' AND wanted")
        return self._entries("state = 'submitted' AND wanted AND server = ?", server)

    def entries(self, *states: str) -> Iterator[Entry]:
        marks = ", ".join("?" * len(states))
        yield from self._select(f"wanted AND state IN ({marks}) ORDER BY line, variant", *states)

    def _entries(self, where: str, *arguments: Any) -> list[Entry]:
        return list(self._select(where, *arguments))

    def _select(self, where: str, *arguments: Any) -> Iterator[Entry]:
        for row in self._db.execute(f"SELECT * FROM jobs WHERE {where}", arguments):
            cells, seed = json.loads(row["cells"]), int(row["seed"])
            job = Job(row["product"], row["variant"], row["line"], int(cells.get("seed", seed)), cells)
            yield Entry(
                job, row["state"], row["key"], row["prompt_id"], row["server"], row["submission"], row["failures"],
                row["losses"], row["error"], row["seconds"], row["score"], json.loads(row["files"] or "{}"), seed,
            )  # fmt: skip

    # What happens to one job

    def _set(self, entry: Entry, **fields: Any) -> None:
        columns = ", ".join(f"{name} = ?" for name in fields)
        self._db.execute(
            f"UPDATE jobs SET {columns}, changed = ? WHERE product = ? AND variant = ?",
            (*fields.values(), time.time(), *entry.slot),
        )

    def submit(self, entry: Entry, *, key: str, prompt_id: str, server: str) -> None:
        """Before the server is asked: whatever happens then, the next run knows where to look."""
        entry.key, entry.prompt_id, entry.server, entry.state = key, prompt_id, server, SUBMITTED
        self._set(entry, state=SUBMITTED, key=key, prompt_id=prompt_id, server=server, files=None)

    def done(self, entry: Entry, outcome: Outcome, server: str) -> None:
        entry.state = DONE
        self._set(
            entry, state=DONE, key=outcome.key, files=json.dumps(outcome.files), seed=str(outcome.seed),
            seconds=outcome.seconds, score=outcome.score, server=server, error=None,
        )  # fmt: skip

    def still_done(self, entry: Entry) -> None:
        """Its row or files were touched, and say the same as when it was done."""
        entry.state = DONE
        self._set(entry, state=DONE)

    def ended(self, entry: Entry, state: str, error: str) -> None:
        """It won't be tried again, unless `retry` says so."""
        entry.state, entry.error = state, _storable(error)
        self._set(entry, state=state, error=entry.error, submission=entry.submission + 1)

    def again(self, entry: Entry, error: str, *, failed: bool, pause: float) -> None:
        """Back to the waiting ones: after a failure of its own, or because its server was lost.

        Its next prompt id is another one: the server may still have it under this one, cancelled.
        """
        entry.state, entry.error = PENDING, _storable(error)
        entry.failures += failed
        entry.losses += not failed
        entry.submission += 1
        self._set(
            entry, state=PENDING, error=entry.error, failures=entry.failures, losses=entry.losses,
            submission=entry.submission, not_before=time.time() + pause,
        )  # fmt: skip

    def put_back(self, entry: Entry, *, taken_back: bool = False) -> None:
        """It waits again as if nothing had happened. `taken_back`: the server has cancelled it, or will."""
        entry.state = PENDING
        entry.submission += taken_back
        self._set(entry, state=PENDING, submission=entry.submission)

    def retry(self, states: tuple[str, ...], products: tuple[str, ...] = ()) -> int:
        """Let jobs of these states be tried again; returns their number."""
        marks = ", ".join("?" * len(states))
        where, arguments = f"state IN ({marks})", [*states]
        if products:
            where += f" AND product IN ({', '.join('?' * len(products))})"
            arguments += products
        return self._db.execute(
            f"UPDATE jobs SET state = 'pending', failures = 0, losses = 0, not_before = 0 WHERE {where}", arguments
        ).rowcount


def _storable(error: str) -> str:
    """What a server says may hold halves of letters, which SQLite refuses, and may be endless."""
    return error[:2000].encode("utf-8", "replace").decode()
