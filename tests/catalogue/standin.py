"""A stand-in for a ComfyUI server: its protocol and its manners, no models, and faults at the rates that one names.

For scale and speed alone; how the runner behaves is also tested on the real server. As a process:

    python tests/catalogue/standin.py --port 8188 --drop 0.05 --errors 0.02

GET /standin tells what was executed, how often, and what went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import heapq
import json
import ssl
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from aiohttp import web

if not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.catalogue.standin_engine import Engine, Habits
from tests.catalogue.standin_graph import object_info, validate


class StandIn(Engine):
    """`async with StandIn() as server` serves at `server.url` until its end."""

    def __init__(self, habits: Habits | None = None, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(habits)
        self.port, self.tls = port, tls
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> StandIn:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    async def up(self) -> None:
        app = web.Application(client_max_size=100 * 2**20, middlewares=[self._misbehave])
        app.add_routes(
            [
                web.get("/ws", self._websocket), web.get("/object_info", self._object_info),
                web.get("/system_stats", self._system_stats), web.post("/prompt", self._prompt),
                web.get("/queue", self._get_queue), web.post("/queue", self._post_queue),
                web.get("/history/{prompt_id}", self._get_history), web.get("/view", self._view),
                web.post("/upload/image", self._upload), web.post("/interrupt", self._post_interrupt),
                web.post("/free", self._free), web.get("/product_background/weights", self._weights),
                web.get("/standin", self._tell),
            ]
        )  # fmt: skip
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        self._worker = asyncio.create_task(self._work())

    async def down(self) -> None:
        """Go away in the middle of everything, as a killed server does."""
        if self._runner is None:
            return
        self._worker.cancel()
        await asyncio.gather(self._worker, return_exceptions=True)
        for handler in list(self._runner.server.connections if self._runner.server else ()):
            handler.force_close()
        await self._runner.cleanup()
        self._runner = None
        self._sockets.clear()
        self.running = []

    def told(self) -> dict[str, Any]:
        return {
            "prompts": len(self.executed), "executions": self.executed.total(), "pictures": self.painted.total(),
            "executed_twice": sum(times > 1 for times in self.executed.values()),
            "painted_twice": sum(times > 1 for times in self.painted.values()),
            "waiting": len(self.queue), "running": len(self.running), "most_waiting": self.most_waiting, **self.counts,
        }  # fmt: skip

    # Requests

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/standin":
            return await handler(request)
        self.counts[f"{request.method} {request.path.split('/')[1]}"] += 1
        if self.habits.token and request.headers.get("Authorization") != f"Bearer {self.habits.token}":
            return web.Response(status=401)
        dropped = self.random.random()
        if dropped < self.habits.drop:
            self.counts["dropped"] += 1
            if dropped < self.habits.drop / 2:
                await handler(request)
            if request.transport:
                request.transport.abort()
            return web.Response()  # nobody hears it
        if self.random.random() < self.habits.slow:
            self.counts["slow"] += 1
            await asyncio.sleep(self.habits.slow_seconds)
        return await handler(request)

    async def _websocket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId", "")
        self._sockets[client] = socket
        await socket.send_json({"type": "status", "data": {"status": self._status(), "sid": client}})
        async for _ in socket:
            pass
        if self._sockets.get(client) is socket:
            del self._sockets[client]
        return socket

    async def _object_info(self, _: web.Request) -> web.Response:
        return web.json_response(object_info(sorted(self.habits.weights)))

    async def _system_stats(self, _: web.Request) -> web.Response:
        return web.json_response({"system": {"comfyui_version": "stand-in"}, "devices": []})

    async def _prompt(self, request: web.Request) -> web.Response:
        body = await request.json()
        uploads = {"example.png", *self.inputs}
        error, outputs, node_errors = validate(body["prompt"], object_info(sorted(self.habits.weights)), uploads)
        if error:
            return web.json_response({"error": error, "node_errors": node_errors}, status=400)
        extra = body.get("extra_data", {}) | {"create_time": int(time.time() * 1000)}
        extra |= {"client_id": body["client_id"]} if "client_id" in body else {}
        self._number += 1
        heapq.heappush(self.queue, (self._number, str(body["prompt_id"]), body["prompt"], extra, outputs))
        self.most_waiting = max(self.most_waiting, len(self.queue))
        self._arrived.set()
        return web.json_response({"prompt_id": body["prompt_id"], "number": self._number, "node_errors": node_errors})

    async def _get_queue(self, _: web.Request) -> web.Response:
        return web.json_response({"queue_running": self.running, "queue_pending": self.queue})

    async def _post_queue(self, request: web.Request) -> web.Response:
        unwanted = set((await request.json()).get("delete", []))
        self.queue = [item for item in self.queue if item[1] not in unwanted]
        heapq.heapify(self.queue)
        return web.Response()

    async def _get_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self.history.get(prompt_id)
        return web.json_response({prompt_id: entry} if entry else {})

    async def _view(self, request: web.Request) -> web.Response:
        place = self.inputs if request.query.get("type") == "input" else self.outputs
        content = place.get(str(PurePosixPath(request.query.get("subfolder", "")) / request.query["filename"]))
        if content is None:
            return web.Response(status=404)
        return web.Response(body=content, content_type="image/png")

    async def _upload(self, request: web.Request) -> web.Response:
        post = await request.post()
        image, subfolder = post["image"], str(post.get("subfolder", ""))
        assert isinstance(image, web.FileField)
        self.inputs[str(PurePosixPath(subfolder) / image.filename)] = image.file.read()
        return web.json_response({"name": image.filename, "subfolder": subfolder, "type": "input"})

    async def _post_interrupt(self, request: web.Request) -> web.Response:
        prompt_id = (await request.json()).get("prompt_id")
        if not prompt_id or any(item[1] == prompt_id for item in self.running):
            self._interrupt.set()
        return web.Response()

    async def _free(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _weights(self, request: web.Request) -> web.Response:
        digest = self.habits.weights.get(request.query["name"])
        if digest is None:
            return web.json_response({"error": "0 model files are called that"}, status=404)
        return web.json_response({"sha256": digest, "folders": ["checkpoints"]})

    async def _tell(self, _: web.Request) -> web.Response:
        return web.json_response(self.told())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    for name, default in dataclasses.asdict(Habits()).items():
        read = json.loads if isinstance(default, dict) else type(default)
        parser.add_argument(f"--{name.replace('_', '-')}", type=read, default=default)
    options = vars(parser.parse_args())

    async def serve() -> None:
        async with StandIn(port=options.pop("port"), habits=Habits(**options)):
            await asyncio.Event().wait()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())


if __name__ == "__main__":
    main()
