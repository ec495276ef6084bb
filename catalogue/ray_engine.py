"""The same jobs on Ray Data, for servers that many machines drive: one actor a server, each calling `run_one`.

What is done is known by id from two places that outlive a killed driver: the ledger, and the JSON that lies beside each
finished picture and is written last. A job whose picture is there is not painted again, and one that a server still
holds is found there by its prompt id. Ray's own checkpoints would only tell what was written by Ray's own writers.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .fleet import Fleet
from .folder import Folder
from .job import Job
from .ledger import PENDING, Entry, Ledger
from .plan import Plan
from .protocol import ComfyError, Unreachable
from .run_one import Assignment, Outcome, finished_outcome, is_full, prepare, run_one, verdict
from .runner import ENDED, Display
from .server import Server

ROWS = 4
"""Rows a block: results come back to the ledger block by block."""
_SILENCE = 15.0  # seconds after which an actor that doesn't renew its lease counts as dead


class Leases:
    """Which actor drives which server. A Ray actor of its own, since the others come and go."""

    def __init__(self, urls: list[str]) -> None:
        self._renewed = dict.fromkeys(urls, 0.0)
        self._stopping = False

    def acquire(self, avoid: str | None = None) -> str:
        """The server whose actor was silent longest; not `avoid`, which doesn't answer, if there is another."""
        candidates = [url for url in self._renewed if url != avoid] or list(self._renewed)
        url = min(candidates, key=lambda each: self._renewed[each])
        self._renewed[url] = time.time()
        return url

    def renew(self, url: str) -> bool:
        """Whether to go on."""
        self._renewed[url] = time.time()
        return not self._stopping

    def stop(self) -> None:
        self._stopping = True


class Painter:
    """One server's actor. Called with a block of jobs, it gives back what became of each."""

    def __init__(self, assignment: Assignment, fleet: Fleet, client_id: str, leases: Any) -> None:
        self._assignment, self._fleet, self._client_id, self._leases = assignment, fleet, client_id, leases
        self._source, self._out = Folder(assignment.source), Folder(assignment.out)
        self._server: Server | None = None
        self._opening = asyncio.Lock()

    async def __call__(self, batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        told = await asyncio.gather(*(self._job(str(text)) for text in batch["job"]))
        yield {"told": [json.dumps(each) for each in told]}

    async def _job(self, text: str) -> dict[str, Any]:
        """Run one job until it has ended or was tried too often."""
        facts = json.loads(text)
        job, submission = Job(**facts["job"]), int(facts["submission"])
        failures, losses, before = 0, 0, None
        while True:
            server = await self._open()
            try:
                if not await self._leases.renew.remote(server.url):
                    return facts | {"state": PENDING}
                outcome = await self._paint(server, job, submission)
                return facts | {"state": "done", "outcome": asdict(outcome), "server": server.url}
            except Exception as error:
                if is_full(error):
                    await asyncio.sleep(5.0)
                    continue
                state, pause = verdict(error, failures, losses, before, self._fleet.attempts)
                before = str(error) or type(error).__name__
                if state in ENDED:
                    return facts | {"state": ENDED[state], "error": before}
                failures, losses = failures + (state == "again"), losses + (state == "lost")
                submission += state == "again"
                if isinstance(error, Unreachable):
                    await self._change(server)
                await asyncio.sleep(pause)

    async def _paint(self, server: Server, job: Job, submission: int) -> Outcome:
        prepared = await asyncio.to_thread(prepare, self._assignment, self._source, job)
        if earlier := await asyncio.to_thread(finished_outcome, self._out, job, prepared.key):
            return earlier
        return await run_one(server, self._assignment, prepared, submission=submission, look_first=True)

    async def _open(self, avoid: str | None = None) -> Server:
        async with self._opening:
            if self._server is None:
                url = await self._leases.acquire.remote(avoid)
                self._server = Server(
                    url, client_id=f"{self._client_id}-{os.getpid()}", headers=self._fleet.headers,
                    cafile=self._fleet.cafile,
                )  # fmt: skip
                await self._server.__aenter__()
            return self._server

    async def _change(self, gone: Server) -> None:
        """Another server, if this one really doesn't answer."""
        try:
            await gone.system_stats()
        except ComfyError:
            if self._server is gone:
                self._server = None
                await gone.__aexit__(None, None, None)
                await self._open(avoid=gone.url)


class RayRunner:
    """Takes the place of `runner.Runner`."""

    def __init__(self, plan: Plan, ledger: Ledger, fleet: Fleet, display: Display) -> None:
        self.plan, self.ledger, self.fleet, self.display = plan, ledger, fleet, display
        self.stopping = False
        self._leases: Any = None

    def stop(self) -> None:
        self.stopping = True
        if self._leases is not None:
            self._leases.stop.remote()

    async def run(self) -> dict[str, int]:
        """Run until every job has ended. Raises ComfyError when no server can be used."""
        urls = await self._admit()
        self.display.say(self.plan.enter(self.ledger))
        for entry in self.ledger.submitted():  # by a run of the other engine
            self.ledger.put_back(entry)
        work = asyncio.create_task(asyncio.to_thread(self._drive, urls))
        while not work.done():
            self.display.progress(self.ledger.counts(), len(urls))
            await asyncio.wait([work], timeout=1.0)
        await work
        counts = self.ledger.counts()
        self.display.progress(counts, 0)
        return counts

    async def _admit(self) -> list[str]:
        fit, problems = [], []
        for url in self.fleet.addresses():
            try:
                async with Server(url, headers=self.fleet.headers, cafile=self.fleet.cafile) as server:
                    await self.plan.admit(server)
                fit.append(url)
            except ComfyError as error:
                problems.append(f"{url}: {error}")
                self.display.say(problems[-1])
        if not fit:
            raise ComfyError("No server can take this catalogue:\n  " + "\n  ".join(problems))
        return fit

    def _drive(self, urls: list[str]) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise ComfyError(f"--engine ray needs Ray Data ({error}): pip install 'ray[data]'.") from error
        entries = {entry.slot: entry for entry in self.ledger.entries(PENDING)}
        if not entries:
            return
        ray.init(
            include_dashboard=False, log_to_driver=False, ignore_reinit_error=True,
            runtime_env={"py_modules": [str(Path(__file__).parent)]},
        )  # fmt: skip
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = False
        self._leases = ray.remote(num_cpus=0)(Leases).remote(urls)
        if self.stopping:
            self.stop()
        jobs = [{"job": json.dumps({"job": asdict(e.job), "submission": e.submission})} for e in entries.values()]
        painted = ray.data.from_items(jobs, override_num_blocks=max(1, len(jobs) // ROWS)).map_batches(
            Painter,
            fn_constructor_args=(self.plan.assignment, self.fleet, self.ledger.client_id(), self._leases),
            batch_size=ROWS,
            compute=ray.data.ActorPoolStrategy(size=len(urls), max_tasks_in_flight_per_actor=2),
            num_cpus=0.1,
            max_restarts=-1,
            max_task_retries=-1,
        )
        try:
            for told in _rows(painted):
                self._enter(entries, told)
        finally:
            ray.shutdown()

    def _enter(self, entries: dict[tuple[str, int], Entry], told: dict[str, Any]) -> None:
        entry = entries[(told["job"]["product"], told["job"]["variant"])]
        if told["state"] == "done":
            self.ledger.done(entry, Outcome(**told["outcome"]), told["server"])
        elif told["state"] != PENDING:
            self.ledger.ended(entry, told["state"], told["error"])
            self.display.say(f"line {entry.job.line} (id {entry.job.product!r}): {told['state']}. {told['error']}")


def _rows(dataset: Any) -> Iterator[dict[str, Any]]:
    for row in dataset.iter_rows():
        yield json.loads(row["told"])
