"""One ComfyUI server over HTTP and websocket: upload, queue, follow, download."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import aiohttp

from .connection import Connection, checked, parsed
from .protocol import (
    ComfyError,
    Graph,
    OutputFile,
    Result,
    TimedOut,
    Unreachable,
    Vanished,
    finished,
    rejection,
)

UPLOADS = "product_background"
"""Where uploads go in the server's input folder."""


@dataclass
class Watch:
    """A queued graph that somebody waits for."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    started: float | None = None
    """When it began to execute, by time.monotonic(); None while it waits in the queue."""


class Server(Connection):
    """Open it with `async with`.

    A websocket tells when something changes; a look at the queue every `poll` seconds stands behind it, so that a lost
    message or a proxy without websockets costs seconds, not the job.
    """

    def __init__(
        self,
        url: str,
        *,
        client_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        cafile: str | None = None,
        timeout: float = 60.0,
        poll: float = 2.0,
    ) -> None:
        super().__init__(url, headers=headers, cafile=cafile, timeout=timeout)
        # Without a client id ComfyUI leaves cached nodes out of the history: a repeated graph would report no output.
        self.client_id = client_id or uuid.uuid4().hex
        self._poll = poll
        self._watched: dict[str, Watch] = {}
        self._uploaded: set[str] = set()
        self._uploading: dict[str, asyncio.Lock] = {}
        self._begun: set[str] = set()
        self._background: list[asyncio.Task[None]] = []
        self._listening = asyncio.Event()
        self._silent = False

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        self._background.clear()
        await super().__aexit__(kind, error, trace)

    # What the server is

    async def system_stats(self) -> dict[str, Any]:
        return await self.json("GET", "/system_stats")

    async def object_info(self) -> dict[str, Any]:
        """The server's nodes: for each id its inputs, outputs, defaults and tooltips."""
        return await self.json("GET", "/object_info")

    async def weights(self, name: str) -> str | None:
        """SHA-256 of a model file that nodes name `name`; None where the server can't tell (the pack isn't in it)."""
        patient = aiohttp.ClientTimeout(total=1800)  # it reads the whole file the first time
        path = "/product_background/weights"
        status, body = await self.request("GET", path, params={"name": name}, timeout=patient)
        try:
            return str(json.loads(body)["sha256"]) if status == 200 else None
        except (ValueError, KeyError, TypeError):  # a page of something in between
            return None

    # Files

    async def has_upload(self, name: str, subfolder: str = UPLOADS) -> bool:
        params = {"filename": name, "subfolder": subfolder, "type": "input"}
        status, _ = await self.request("HEAD", "/view", params=params)
        return status == 200

    async def upload(self, name: str, content: bytes, *, subfolder: str = UPLOADS) -> str:
        """Put a file into the server's input folder; returns the value that image-loading nodes take.

        A file of that name is replaced. Hence the subfolder: what the user keeps in the input folder stays as it is.
        """

        def form() -> aiohttp.FormData:
            data = aiohttp.FormData()
            data.add_field("image", content, filename=name, content_type="application/octet-stream")
            data.add_field("subfolder", subfolder)
            data.add_field("overwrite", "true")
            return data

        answer = await self.json("POST", "/upload/image", make_data=form)
        return f"{answer['subfolder']}/{answer['name']}" if answer["subfolder"] else str(answer["name"])

    async def upload_once(self, name: str, content: bytes) -> None:
        """Upload a file whose name says its content, unless the server has it.

        One at a time for each file: the server empties a file before it writes it, and a graph might be reading it.
        """
        if name in self._uploaded:
            return
        async with self._uploading.setdefault(name, asyncio.Lock()):
            if name not in self._uploaded and not await self.has_upload(name):
                await self.upload(name, content)
            self._uploaded.add(name)
        self._uploading.pop(name, None)

    def forget_uploads(self) -> None:
        """Somebody emptied the server's input folder: ask again before relying on a file."""
        self._uploaded.clear()

    async def download(self, file: OutputFile) -> bytes:
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        return checked("GET", "/view", *await self.request("GET", "/view", params=params))

    # Graphs

    async def queue(self, graph: Graph, *, prompt_id: str | None = None, extra: Mapping[str, Any] | None = None) -> str:
        """Queue a graph under an id of the caller's choosing. The server does not refuse a duplicate id.

        `extra` goes into the PNG's metadata. Raises Rejected, or Unreachable when it is unknown whether the server got
        the graph: look with `find` before queueing it again.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        body: dict[str, Any] = {"prompt": graph, "prompt_id": prompt_id, "client_id": self.client_id}
        if extra:
            body["extra_data"] = {"extra_pnginfo": dict(extra)}
        await self._follow()
        # Before the server can answer: a graph that is in its cache is done at once.
        self._watched[prompt_id] = Watch()
        try:
            status, content = await self.request("POST", "/prompt", repeat=False, json=body)
            if status == 400:
                raise rejection(graph, parsed("/prompt", content))
            answer = parsed("/prompt", checked("POST", "/prompt", status, content))
            # The server drops an output node whose inputs are wrong and queues the others: half a result is no result.
            if answer.get("node_errors"):
                await self.cancel(prompt_id)
                raise rejection(graph, answer)
        except BaseException:
            del self._watched[prompt_id]
            raise
        return prompt_id

    async def queued(self) -> tuple[dict[str, str], dict[str, str]]:
        """What runs and what waits: prompt id -> client id, of everybody's graphs."""
        queue = await self.json("GET", "/queue")
        try:
            running, waiting = (
                {str(item[1]): str(item[3].get("client_id", "")) for item in queue[kind]}
                for kind in ("queue_running", "queue_pending")
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise ComfyError(f"{self.url}/queue answered with something that isn't ComfyUI's queue.") from error
        return running, waiting

    async def history(self, prompt_id: str) -> dict[str, Any] | None:
        return (await self.json("GET", f"/history/{prompt_id}")).get(prompt_id)

    async def knows(self, prompt_id: str) -> bool:
        """Whether the graph is queued, runs, or has ended. The queue first: a graph moves from there to the history."""
        running, waiting = await self.queued()
        return prompt_id in running or prompt_id in waiting or await self.history(prompt_id) is not None

    async def cancel(self, prompt_id: str) -> None:
        """Take a graph from the queue, or stop it where it already runs. Other graphs go on."""
        for path, body in (("/queue", {"delete": [prompt_id]}), ("/interrupt", {"prompt_id": prompt_id})):
            checked("POST", path, *await self.request("POST", path, json=body))

    async def unqueue(self, prompt_id: str) -> bool:
        """Take a waiting graph from the queue; False where it runs already, or has ended."""
        _, waiting = await self.queued()
        if prompt_id not in waiting:
            return False
        checked("POST", "/queue", *await self.request("POST", "/queue", json={"delete": [prompt_id]}))
        running, _ = await self.queued()
        return prompt_id not in running and await self.history(prompt_id) is None

    def has_begun(self, prompt_id: str) -> bool:
        """Whether a graph that didn't end was seen executing, also after its `wait` was given up."""
        return prompt_id in self._begun

    async def free(self) -> None:
        """Unload models and empty the cache before the next graph."""
        body = {"unload_models": True, "free_memory": True}
        checked("POST", "/free", *await self.request("POST", "/free", json=body))

    async def wait(self, prompt_id: str, *, limit: float = 600.0) -> Result:
        """Wait for a queued graph. `limit`: seconds from when it starts to execute; then it is cancelled.

        Raises Failed, Interrupted, Vanished, TimedOut, or Unreachable when the server has gone.
        """
        await self._follow()
        watch = self._watched.get(prompt_id)
        if watch is None:  # not queued through here: it may have ended long ago
            watch = self._watched[prompt_id] = Watch()
            watch.changed.set()
        try:
            while True:
                while not watch.changed.is_set():
                    left = None if watch.started is None else watch.started + limit - time.monotonic()
                    if left is not None and left <= 0:
                        await self.cancel(prompt_id)
                        raise TimedOut(f"Prompt {prompt_id} did not finish in {limit:.0f} s and was cancelled.")
                    # Not wait_for: before Python 3.12 it drops a cancellation that comes together with the event.
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1.0 if left is None else min(left, 1.0)):
                            await watch.changed.wait()
                watch.changed.clear()
                if self._silent:
                    raise Unreachable(f"ComfyUI at {self.url} has gone.")
                if entry := await self.history(prompt_id):
                    self._begun.discard(prompt_id)
                    return finished(prompt_id, entry)
                if not await self.knows(prompt_id):
                    raise Vanished(f"Prompt {prompt_id} is neither queued nor finished on {self.url}.")
        finally:
            self._watched.pop(prompt_id, None)

    # Following

    async def _follow(self) -> None:
        if not self._background:
            self._background = [asyncio.create_task(job()) for job in (self._listen, self._look)]
            with contextlib.suppress(TimeoutError):  # a proxy may not let websockets through: then looking must do
                async with asyncio.timeout(3.0):
                    await self._listening.wait()

    async def _listen(self) -> None:
        """Keep a websocket open; every ending it tells of wakes who waits for it."""
        assert self._session is not None
        while True:
            # The last two: a message that isn't ComfyUI's.
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError, ValueError, AttributeError):
                async with self._session.ws_connect(
                    f"{self.url}/ws", params={"clientId": self.client_id}, max_msg_size=0, heartbeat=30
                ) as socket:
                    self._listening.set()
                    async for message in socket:
                        if message.type is aiohttp.WSMsgType.TEXT:  # binary ones are previews
                            self._heard(json.loads(message.data))
            await asyncio.sleep(1.0)

    def _start(self, prompt_id: str) -> None:
        watch = self._watched[prompt_id]
        watch.started = watch.started or time.monotonic()
        self._begun.add(prompt_id)

    def _heard(self, message: dict[str, Any]) -> None:
        data = message.get("data") or {}
        watch = self._watched.get(str(data.get("prompt_id")))
        if watch is None:
            return
        kind = message.get("type")
        if kind == "execution_start":
            self._start(str(data["prompt_id"]))
        elif kind == "executing" and data.get("node") is None:
            watch.changed.set()  # not on execution_success, which comes before the history is written

    async def _look(self) -> None:
        """Look at the queue now and then: for what the websocket missed, and for a server that has gone."""
        failures = 0
        while True:
            await asyncio.sleep(self._poll if not failures else 0.5)
            if not self._watched:
                continue
            try:
                running, waiting = await self.queued()
            except ComfyError:
                failures += 1
                if failures >= 3:
                    self._silent = True
                    for watch in self._watched.values():
                        watch.changed.set()
                continue
            failures, self._silent = 0, False
            for prompt_id, watch in self._watched.items():
                if prompt_id in running:
                    self._start(prompt_id)
                if prompt_id not in running and prompt_id not in waiting:
                    watch.changed.set()
