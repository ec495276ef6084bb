"""A blocking client for one server, for scripts and notebooks: upload, queue, wait, download."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .protocol import Graph, OutputFile, Result
from .server import UPLOADS, Server

T = TypeVar("T")


class ComfyClient:
    """`timeout`: seconds for one request; `limit`: seconds that a graph may execute, unless a call says more."""

    def __init__(self, url: str, *, timeout: float = 60.0, limit: float = 600.0) -> None:
        self._loop = asyncio.Runner()
        self._server = Server(url, timeout=timeout, poll=0.2)
        self._limit = limit
        self._do(self._server.__aenter__())

    def __enter__(self) -> ComfyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._do(self._server.__aexit__(None, None, None))
        self._loop.close()

    def system_stats(self) -> dict[str, Any]:
        return self._do(self._server.system_stats())

    def object_info(self) -> dict[str, Any]:
        return self._do(self._server.object_info())

    def upload_image(self, path: Path, *, name: str | None = None, subfolder: str = UPLOADS) -> str:
        return self._do(self._server.upload(name or path.name, path.read_bytes(), subfolder=subfolder))

    def queue(self, graph: Graph, *, prompt_id: str | None = None) -> str:
        return self._do(self._server.queue(graph, prompt_id=prompt_id))

    def cancel(self, prompt_id: str) -> None:
        self._do(self._server.cancel(prompt_id))

    def wait(self, prompt_id: str, *, limit: float | None = None) -> Result:
        return self._do(self._server.wait(prompt_id, limit=self._limit if limit is None else limit))

    def run(self, graph: Graph, *, limit: float | None = None) -> Result:
        return self.wait(self.queue(graph), limit=limit)

    def download(self, file: OutputFile) -> bytes:
        return self._do(self._server.download(file))

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(coroutine)
