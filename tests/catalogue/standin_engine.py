"""The stand-in's inside: its queue, history, files, and executions that fail as its habits say."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import random
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from aiohttp import web

from tests.catalogue.standin_graph import broken, find, paint


@dataclass
class Habits:
    """Rates are shares of requests, messages or executions; `..._at` is the number of the execution that it hits."""

    seconds: float = 0.0
    """That one graph takes."""
    drop: float = 0.0
    """Connections that break: half of them before the request was heard, half after it was obeyed."""
    errors: float = 0.0
    duplicates: float = 0.0
    lose: float = 0.0
    """Messages of the websocket that never arrive."""
    slow: float = 0.0
    slow_seconds: float = 0.5
    full_disk_at: int = 0
    no_memory_at: int = 0
    hang_at: int = 0
    history: int = 10_000
    keep: int = 20_000
    """Pictures that are kept for download."""
    token: str = ""
    """A bearer token without which nothing is answered."""
    weights: dict[str, str] = field(default_factory=lambda: {"base.safetensors": "ab" * 32})
    seed: int = 0


class Hurt(Exception):
    """An execution fails."""

    def __init__(self, node: str, kind: str, message: str) -> None:
        super().__init__(message)
        self.node, self.kind = node, kind


class Engine:
    def __init__(self, habits: Habits | None = None) -> None:
        self.habits = habits or Habits()
        self.random = random.Random(self.habits.seed)
        self.executed: Counter[str] = Counter()
        """Prompt id -> how often its execution began."""
        self.painted: Counter[tuple[str, Any]] = Counter()
        """(Job's key, seed) -> how often a picture was saved."""
        self.counts: Counter[str] = Counter()
        self.most_waiting = 0
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self.forget()

    def forget(self) -> None:
        """What a restart loses. (The input folder, too: it may be on the machine's own disk.)"""
        self.inputs: dict[str, bytes] = {}
        self.outputs: OrderedDict[str, bytes] = OrderedDict()
        self.history: OrderedDict[str, Any] = OrderedDict()
        self.queue: list[Any] = []
        self.running: list[Any] = []
        self._number = 0
        self._arrived, self._interrupt = asyncio.Event(), asyncio.Event()

    def _status(self) -> dict[str, Any]:
        return {"exec_info": {"queue_remaining": len(self.queue) + len(self.running)}}

    async def _send(self, client: str, kind: str, data: dict[str, Any]) -> None:
        socket = self._sockets.get(client)
        if socket is None or self.random.random() < self.habits.lose:
            return
        for _ in range(2 if self.random.random() < self.habits.duplicates else 1):
            with contextlib.suppress(ConnectionError):
                await socket.send_json({"type": kind, "data": data})

    async def _work(self) -> None:
        while True:
            while not self.queue:
                self._arrived.clear()
                await self._arrived.wait()
            item = heapq.heappop(self.queue)
            self.running = [item]
            await self._execute(item)

    async def _execute(self, item: Any) -> None:
        _, prompt_id, graph, extra, outputs = item
        client, messages = str(extra.get("client_id", "")), []

        async def say(kind: str, **data: Any) -> None:
            data = {"prompt_id": prompt_id, **data, "timestamp": int(time.time() * 1000)}
            messages.append([kind, data])
            await self._send(client, kind, data)

        self._interrupt.clear()
        self.executed[prompt_id] += 1
        await say("execution_start")
        await say("execution_cached", nodes=[])
        made: dict[str, Any] = {}
        try:
            for node_id in graph:
                await self._send(client, "executing", {"node": node_id, "prompt_id": prompt_id})
            await self._suffer(graph)
            made = await self._paint(graph, extra, outputs)
            for node_id, output in made.items():
                await self._send(client, "executed", {"node": node_id, "output": output, "prompt_id": prompt_id})
            await say("execution_success")
        except Hurt as error:
            self.counts["errors"] += 1
            account = {"node_id": error.node, "node_type": graph[error.node]["class_type"], "executed": []}
            if error.kind == "interrupted":
                await say("execution_interrupted", **account)
            else:
                await say(
                    "execution_error", **account, exception_message=str(error), exception_type=error.kind, traceback=[],
                    current_inputs={}, current_outputs=[],
                )  # fmt: skip
        good = messages[-1][0] == "execution_success"
        if len(self.history) > self.habits.history:
            self.history.popitem(last=False)
        status = {"status_str": "success" if good else "error", "completed": good, "messages": messages}
        self.history[prompt_id] = {"prompt": item, "outputs": made, "meta": {}, "status": status}
        self.running = []
        await self._send(client, "status", {"status": self._status()})
        await self._send(client, "executing", {"node": None, "prompt_id": prompt_id})

    async def _suffer(self, graph: dict[str, Any]) -> None:
        """Take the time that it takes, and fail as habits and prompt demand."""
        habits, number = self.habits, self.executed.total()
        sampler = next((node_id for node_id, node in graph.items() if node["class_type"] == "Paint"), next(iter(graph)))
        text = str((find(graph, "CLIPTextEncode") or {}).get("text"))
        hangs = number == habits.hang_at or "[hang]" in text
        with contextlib.suppress(TimeoutError):
            if hangs or habits.seconds:
                # Not wait_for: before Python 3.12 it drops the cancellation that comes together with the interrupt.
                async with asyncio.timeout(None if hangs else habits.seconds):
                    await self._interrupt.wait()
        await asyncio.sleep(0)
        if self._interrupt.is_set():
            raise Hurt(sampler, "interrupted", "")
        if number == habits.full_disk_at:
            raise Hurt(sampler, "OSError", "[Errno 28] No space left on device")
        if number == habits.no_memory_at or "[no memory]" in text:
            raise Hurt(sampler, "torch.OutOfMemoryError", "Allocation on device")
        if "[fail]" in text:
            raise Hurt(sampler, "ValueError", "a node that always fails")
        if self.random.random() < habits.errors:
            raise Hurt(sampler, "RuntimeError", f"a fault at execution {number}")

    async def _paint(self, graph: dict[str, Any], extra: dict[str, Any], outputs: list[str]) -> dict[str, Any]:
        photo = b""
        for node_id, node in graph.items():
            if node["class_type"] == "LoadImage":
                content = self.inputs.get(node["inputs"]["image"], b"")
                if node["inputs"]["image"] in self.inputs and (reason := broken(content)):
                    raise Hurt(node_id, "OSError", reason)
                photo = photo or content
        made: dict[str, Any] = {}
        for node_id in outputs:
            inputs = graph[node_id]["inputs"]
            if graph[node_id]["class_type"] == "Inspect":
                made[node_id] = {"score": [(find(graph, "Paint") or {}).get("seed", 0) % 100 / 100]}
                continue
            prefix, number = PurePosixPath(inputs["filename_prefix"]), 1
            while str(name := prefix.with_name(f"{prefix.name}_{number:05}_.png")) in self.outputs:
                number += 1
            self.outputs[str(name)] = paint(graph, photo, extra)
            if len(self.outputs) > self.habits.keep:
                self.outputs.popitem(last=False)
            files = {"filename": name.name, "subfolder": str(name.parent), "type": "output"}
            made[node_id] = {"images": [files]}
        key = extra.get("extra_pnginfo", {}).get("product_background", {}).get("key", "")
        self.painted[key, (find(graph, "Paint") or {}).get("seed")] += 1
        return made
