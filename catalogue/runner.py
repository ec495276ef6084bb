"""Runs a catalogue over many servers at once, and loses nothing when any of them, or this program, goes down."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sqlite3
import statistics
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from .fleet import Fleet, Lane
from .folder import Folder
from .ledger import BAD, FAILED, REFUSED, Entry, Ledger
from .plan import Plan
from .protocol import ComfyError, Failed, Unreachable
from .run_one import finished_outcome, is_full, prepare, run_one, verdict
from .server import Server

_GRACE = 5.0  # seconds that servers have to come up before the jobs which a killed run gave them go to others
_BEAT = 1.0  # seconds between two looks at the whole run
_IDLE = 0.1  # seconds between two looks for work where there was none
_ROOM = 5.0  # seconds to wait for room on a full disk
_ROUNDS = 12  # on one server, for lost requests and full disks
ENDED = {"bad": BAD, "failed": FAILED, "refused": REFUSED}


class Display(Protocol):
    """Where the run shows what it does."""

    def say(self, text: str) -> None: ...

    def progress(self, counts: Mapping[str, int], servers: int) -> None: ...


class Runner:
    def __init__(self, plan: Plan, ledger: Ledger, fleet: Fleet, display: Display) -> None:
        self.plan, self.ledger, self.fleet, self.display = plan, ledger, fleet, display
        self.source, self.out = Folder(plan.source), Folder(plan.out)
        self.lanes: dict[str, Lane] = {}
        self.stopping = False
        self.counts: dict[str, int] = {}
        self._ready: deque[Entry] = deque()
        self._taken: set[tuple[str, int]] = set()
        self._planning = asyncio.Lock()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._alone_since = time.monotonic()
        self._entered = math.inf
        """When the catalogue was in the ledger, by time.monotonic(): reading a large one takes seconds."""
        self._closing = False
        self._empty_until = 0.0
        self._ended = asyncio.Event()
        """Wakes `run`, which looks every second only."""

    async def run(self) -> dict[str, int]:
        """Run until every job has ended, or `stop` was called. Returns the number of jobs by state.

        Raises ComfyError when no server can be used.
        """
        ended = asyncio.create_task(self._ended.wait())
        try:
            while not self._over():
                for url in self.fleet.addresses():
                    if url not in self._tasks:
                        self.lanes[url] = Lane(url)
                        self._tasks[url] = asyncio.create_task(self._lane(self.lanes[url]))
                self._check_fleet()
                if not self._tasks:  # the list of servers is still empty
                    await asyncio.sleep(_BEAT)
                    continue
                watched = [ended, *self._tasks.values()]
                done, _ = await asyncio.wait(watched, timeout=_BEAT, return_when=asyncio.FIRST_COMPLETED)
                for task in done - {ended}:
                    task.result()  # a fault of this program's own: let it be seen
                if self.plan.assignment:
                    if time.monotonic() - self._entered > _GRACE:
                        self._reclaim()
                    self.counts = self.ledger.counts()
                    self.display.progress(self.counts, sum(lane.up for lane in self.lanes.values()))
        finally:
            self._closing = True
            for task in (ended, *self._tasks.values()):
                task.cancel()
            await asyncio.gather(ended, *self._tasks.values(), return_exceptions=True)
        self.counts = self.ledger.counts()
        self.display.progress(self.counts, 0)
        return self.counts

    def stop(self) -> None:
        """Finish what runs, begin nothing new. What waits on a server is taken back."""
        self.stopping = True

    def _over(self) -> bool:
        if self.stopping:
            return not any(lane.work for lane in self.lanes.values())
        if self.plan.assignment is None:
            return False
        counts = self.ledger.counts()
        return counts["pending"] + counts["submitted"] == 0

    def _check_fleet(self) -> None:
        unfit = [lane for lane in self.lanes.values() if lane.unfit]
        if self.lanes and len(unfit) == len(self.lanes):
            raise ComfyError("No server can take this catalogue:\n  " + "\n  ".join(str(lane.unfit) for lane in unfit))
        for lane in unfit:
            if lane.told != lane.unfit:
                lane.told = lane.unfit
                self.display.say(f"{lane.unfit}; it gets no jobs")
        if any(lane.up for lane in self.lanes.values()):
            self._alone_since = time.monotonic()
            return
        if time.monotonic() - self._alone_since > self.fleet.patience:
            named = ", ".join(self.lanes) or "none were named"
            raise ComfyError(f"No server has answered for {self.fleet.patience:.0f} s ({named}). Nothing done is lost.")

    # One server

    async def _lane(self, lane: Lane) -> None:
        pause, told = 0.5, False
        while True:
            try:
                async with Server(
                    lane.url,
                    client_id=self.ledger.client_id(),
                    headers=self.fleet.headers,
                    cafile=self.fleet.cafile,
                ) as server:
                    await self._admit(server)
                    self.display.say(f"{lane.url} is up")
                    lane.up, lane.down, lane.unfit, lane.last = True, False, None, time.monotonic()
                    pause, told = 0.5, False
                    try:
                        await self._work(lane, server)
                    finally:
                        lane.up = False
                        await self._release(lane)  # before the server closes, else its jobs fail for that
            except Unreachable as error:
                lane.down = True
                if not told:
                    self.display.say(f"{error}; its jobs go to others, and it is asked again")
                told = True
            except ComfyError as error:
                lane.down, lane.unfit = True, f"{lane.url}: {error}"
                pause = 30.0
            await asyncio.sleep(pause)
            pause = min(pause * 2, 15.0)

    async def _admit(self, server: Server) -> None:
        """Whether the server has the nodes and the weights. The first one that has decides what the run is."""
        async with self._planning:
            first = self.plan.assignment is None
            await self.plan.admit(server)
            if first:
                try:
                    self.display.say(self.plan.enter(self.ledger))
                    self._entered = time.monotonic()
                except BaseException:
                    self.plan.assignment = None  # else the run would be over with nothing to do
                    raise
        # Our graphs that are queued there and were given to others since must not be painted twice.
        running, waiting = await server.queued()
        ours = {entry.prompt_id for entry in self.ledger.submitted(server.url)}
        for prompt_id, client in (running | waiting).items():
            if client == server.client_id and prompt_id not in ours:
                await server.cancel(prompt_id)

    async def _work(self, lane: Lane, server: Server) -> None:
        for entry in self.ledger.submitted(server.url):
            if entry.slot not in self._taken:
                self._start(lane, server, entry, look_first=True)
        while True:
            if self.stopping:
                await self._take_back(lane, server)
            else:
                depth = self._depth(lane)
                while len(lane.work) < depth and (following := self._next()):
                    self._start(lane, server, following)
            if not lane.work:
                if self.stopping and self._over():
                    self._ended.set()
                await asyncio.sleep(_IDLE)
                continue
            done, _ = await asyncio.wait(lane.work, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                lane.work.pop(task)
                if not task.cancelled() and (error := task.exception()):  # cancelled: it was taken back
                    raise error

    def _depth(self, lane: Lane) -> int:
        """How many jobs the server should hold: enough never to idle, no more than that, and few when few are left."""
        up = [other for other in self.lanes.values() if other.up]
        paces = [other.pace for other in up if other.pace is not None]
        if lane.pace is None:
            return min(2, self.fleet.in_flight)
        scarce = self.counts.get("pending", 1) < 2 * len(up) and len(up) > 1
        if scarce or lane.pace > 3 * statistics.median(paces):
            return 1
        return min(self.fleet.in_flight, 1 + math.ceil(0.5 / max(lane.pace, 0.001)))

    def _next(self) -> Entry | None:
        if not self._ready and time.monotonic() >= self._empty_until:
            waiting = self.ledger.waiting(64 + len(self._taken))
            self._ready.extend(entry for entry in waiting if entry.slot not in self._taken)
            if not self._ready:
                self._empty_until = time.monotonic() + _IDLE  # hundreds of idle servers ask once, not each for itself
                if not any(lane.work for lane in self.lanes.values()) and self._over():
                    self._ended.set()
        return self._ready.popleft() if self._ready else None

    def _reclaim(self) -> None:
        """Jobs that a killed run gave to servers that aren't there now: others shall have them."""
        for entry in self.ledger.submitted():
            lane = self.lanes.get(str(entry.server))
            if (lane is None or lane.down) and entry.slot not in self._taken:
                self.ledger.put_back(entry, taken_back=True)

    def _start(self, lane: Lane, server: Server, entry: Entry, *, look_first: bool = False) -> None:
        self._taken.add(entry.slot)
        task = asyncio.create_task(self._one(lane, server, entry, look_first))
        lane.work[task] = entry

    async def _release(self, lane: Lane) -> None:
        """The server is gone: what it had waits for another one."""
        tasks = list(lane.work)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        lane.work.clear()

    async def _take_back(self, lane: Lane, server: Server) -> None:
        for task, entry in list(lane.work.items()):
            if entry.prompt_id and not server.has_begun(entry.prompt_id) and await server.unqueue(entry.prompt_id):
                task.cancel()

    # One job

    async def _one(self, lane: Lane, server: Server, entry: Entry, look_first: bool) -> None:
        """Run one job and enter what became of it. Raises Unreachable when the server is gone."""
        try:
            for left in range(_ROUNDS, -1, -1):
                try:
                    await self._paint(server, entry, look_first)
                    lane.finished_one()
                    return
                except Unreachable:
                    if not left:
                        raise
                    await server.system_stats()  # gone? Else a request was lost, and the server may have the graph
                    look_first = True
                except (OSError, sqlite3.OperationalError) as error:
                    if not is_full(error) or not left:
                        raise
                    self.display.say(f"The disk of {self.out} is full; waiting for room")
                    await asyncio.sleep(_ROOM)
                    look_first = True
        except asyncio.CancelledError:
            if entry.state == "submitted" and not self._closing:  # else the next run finds it on the server
                self._return(server, entry)
            raise
        except Unreachable:
            self._return(server, entry)
            raise
        except Exception as error:
            await self._failed(server, entry, error)
        finally:
            self._taken.discard(entry.slot)

    async def _paint(self, server: Server, entry: Entry, look_first: bool) -> None:
        assignment = self.plan.assignment
        assert assignment is not None
        prepared = await asyncio.to_thread(prepare, assignment, self.source, entry.job)
        if entry.key == prepared.key and entry.files and all(map(self.out.has, entry.files.values())):
            self.ledger.still_done(entry)
            return
        if entry.key is not None or look_first:
            earlier = await asyncio.to_thread(finished_outcome, self.out, entry.job, prepared.key)
            if earlier:  # killed between the files and the ledger
                self.ledger.done(entry, earlier, server.url)
                return

        def submitted(prompt_id: str) -> None:
            self.ledger.submit(entry, key=prepared.key, prompt_id=prompt_id, server=server.url)

        outcome = await run_one(
            server, assignment, prepared, submission=entry.submission, look_first=look_first, on_submit=submitted
        )
        self.ledger.done(entry, outcome, server.url)

    def _return(self, server: Server, entry: Entry) -> None:
        """Its server went: to the waiting ones. A job that was being painted is counted, it may be what killed it."""
        if entry.prompt_id and server.has_begun(entry.prompt_id) and not self.stopping:
            self._enter(entry, Unreachable(f"{server.url} was lost while it painted this"))
        else:
            self.ledger.put_back(entry, taken_back=True)

    async def _failed(self, server: Server, entry: Entry, error: Exception) -> None:
        if isinstance(error, Failed) and error.out_of_memory:
            with contextlib.suppress(ComfyError):
                await server.free()
        self._enter(entry, error)

    def _enter(self, entry: Entry, error: Exception) -> None:
        text = (
            str(error) if isinstance(error, ComfyError | ValueError | OSError) else f"{type(error).__name__}: {error}"
        )
        state, pause = verdict(error, entry.failures, entry.losses, entry.error, self.fleet.attempts)
        if state in ENDED:
            self.ledger.ended(entry, ENDED[state], text)
            self.display.say(f"line {entry.job.line} (id {entry.job.product!r}): {state}. {entry.error}")
        else:
            self.ledger.again(entry, text, failed=state == "again", pause=pause)
