"""A small client for ComfyUI's HTTP API: upload, queue, wait, download, with errors a person can read."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

UPLOADS = "product_background"
"""Where uploads go in the server's input folder."""

Graph = dict[str, dict[str, Any]]
"""A workflow as the API takes it: node id -> {"class_type", "inputs", "_meta": {"title"}}."""


class ComfyError(RuntimeError):
    """Something asked of the server did not work; the message says what and why."""


class Unreachable(ComfyError):
    """Nobody answered at the server's address."""


class Rejected(ComfyError):
    """The server refused to queue a graph. `node_errors` is its own account, node by node."""

    def __init__(self, message: str, node_errors: dict[str, Any]) -> None:
        super().__init__(message)
        self.node_errors = node_errors


class Failed(ComfyError):
    """A queued graph stopped at a node."""

    def __init__(self, message: str, *, node_id: str, node_type: str, exception: str) -> None:
        super().__init__(message)
        self.node_id = node_id
        self.node_type = node_type
        self.exception = exception


class Interrupted(ComfyError):
    """A queued graph was cancelled, or left the queue without a result."""


@dataclass(frozen=True)
class OutputFile:
    filename: str
    subfolder: str
    type: str


@dataclass(frozen=True)
class Result:
    """What a finished graph reports: for each output node, its files and texts."""

    prompt_id: str
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def images(self, node_id: str) -> list[OutputFile]:
        entries = self.outputs.get(node_id, {}).get("images", [])
        return [OutputFile(entry["filename"], entry["subfolder"], entry["type"]) for entry in entries]

    def text(self, node_id: str) -> str:
        return "".join(self.outputs.get(node_id, {}).get("text", []))


class ComfyClient:
    """`timeout`: seconds for one request; `limit`: seconds that a queued graph may take, unless a call says more."""

    def __init__(self, url: str, *, timeout: float = 60.0, limit: float = 600.0) -> None:
        # A proxy set for the outside world must not be asked for this machine's own server.
        local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(base_url=url, timeout=timeout, trust_env=not local)
        self._limit = limit
        # Without a client id ComfyUI leaves cached nodes out of the history: a repeated graph would report no output.
        self._client_id = uuid.uuid4().hex

    def __enter__(self) -> ComfyClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def system_stats(self) -> dict[str, Any]:
        return self._json("GET", "/system_stats")

    def object_info(self) -> dict[str, Any]:
        """The server's nodes: for each id its inputs, outputs, defaults and tooltips."""
        return self._json("GET", "/object_info")

    def upload_image(self, path: Path, *, name: str | None = None, subfolder: str = UPLOADS) -> str:
        """Put a file into the server's input folder; returns the value that image-loading nodes take.

        A file of that name is replaced. Hence the subfolder: what the user keeps in the input folder stays as it is.
        """
        with path.open("rb") as content:
            answer = self._json(
                "POST",
                "/upload/image",
                files={"image": (name or path.name, content)},
                data={"subfolder": subfolder, "overwrite": "true"},
            )
        return f"{answer['subfolder']}/{answer['name']}" if answer["subfolder"] else str(answer["name"])

    def queue(self, graph: Graph, *, prompt_id: str | None = None) -> str:
        """Queue a graph under an id of the caller's choosing. The server does not refuse a duplicate id."""
        prompt_id = prompt_id or uuid.uuid4().hex
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": self._client_id}
        try:
            response = self._send("POST", "/prompt", json=body)
        except Unreachable:
            # No answer in time does not mean that the graph was not queued.
            with contextlib.suppress(ComfyError):
                self.cancel(prompt_id)
            raise
        if response.status_code == httpx.codes.BAD_REQUEST:
            raise _rejection(graph, response.json())
        answer = _checked(response).json()
        # The server drops an output node whose inputs are wrong and queues the others; half a result is no result.
        if answer.get("node_errors"):
            self.cancel(prompt_id)
            raise _rejection(graph, answer)
        return prompt_id

    def cancel(self, prompt_id: str) -> None:
        """Take a graph from the queue, or stop it where it already runs. Other graphs go on."""
        self._checked("POST", "/queue", json={"delete": [prompt_id]})
        self._checked("POST", "/interrupt", json={"prompt_id": prompt_id})

    def wait(
        self,
        prompt_id: str,
        *,
        limit: float | None = None,
        interval: float = 0.1,
        on_wait: Callable[[], None] | None = None,
    ) -> Result:
        """Wait for a queued graph; `on_wait` is called between two looks. After the limit the graph is cancelled."""
        limit = self._limit if limit is None else limit
        deadline = time.monotonic() + limit
        while True:
            if entry := self._json("GET", f"/history/{prompt_id}").get(prompt_id):
                return _finished(prompt_id, entry)
            if not self._is_queued(prompt_id) and not self._json("GET", f"/history/{prompt_id}"):
                raise Interrupted(f"Prompt {prompt_id} is neither queued nor finished: it was cancelled.")
            if time.monotonic() > deadline:
                self.cancel(prompt_id)
                raise ComfyError(f"Prompt {prompt_id} did not finish in {limit:.0f} s and was cancelled.")
            if on_wait:
                on_wait()
            time.sleep(interval)

    def run(self, graph: Graph, *, limit: float | None = None, on_wait: Callable[[], None] | None = None) -> Result:
        return self.wait(self.queue(graph), limit=limit, on_wait=on_wait)

    def download(self, file: OutputFile) -> bytes:
        params = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        return self._checked("GET", "/view", params=params).content

    def _is_queued(self, prompt_id: str) -> bool:
        queue = self._json("GET", "/queue")
        return any(item[1] == prompt_id for item in [*queue["queue_running"], *queue["queue_pending"]])

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            return self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise Unreachable(
                f"ComfyUI at {self._http.base_url} does not answer: {error or type(error).__name__}"
            ) from error

    def _json(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return dict(self._checked(method, path, **arguments).json())

    def _checked(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        return _checked(self._send(method, path, **arguments))


def _checked(response: httpx.Response) -> httpx.Response:
    if response.is_error:
        text = response.text.strip()[:500]
        raise ComfyError(f"{response.request.method} {response.request.url.path} gave {response.status_code}: {text}")
    return response


def title_of(graph: Graph, node_id: str) -> str:
    node = graph.get(node_id, {})
    return str(node.get("_meta", {}).get("title") or node.get("class_type", "unknown node"))


def _rejection(graph: Graph, answer: dict[str, Any]) -> Rejected:
    node_errors: dict[str, Any] = answer.get("node_errors") or {}
    lines = []
    for node_id, account in node_errors.items():
        for error in account["errors"]:
            lines.append(f"{title_of(graph, node_id)} (node {node_id}): {error['message']}: {error['details']}")
    if not lines:
        error = answer.get("error", {})
        lines = [f"{error.get('message', 'no reason given')} {error.get('details', '')}".strip()]
    return Rejected("ComfyUI refused the graph. " + "; ".join(lines), node_errors)


def _files_of(graph: Graph, node_id: str, *, unless_in: str) -> list[str]:
    """The files that a node was to read, which its own message may leave out."""
    inputs = graph.get(node_id, {}).get("inputs", {})
    names = {key: value for key, value in inputs.items() if key == "image" or key.endswith("_name")}
    files = {key: value for key, value in names.items() if isinstance(value, str) and PurePosixPath(value).suffix}
    return [f"{key} {value}" for key, value in files.items() if PurePosixPath(value).name not in unless_in]


def _finished(prompt_id: str, entry: dict[str, Any]) -> Result:
    status = entry.get("status") or {}
    for kind, data in status.get("messages", []):
        if kind == "execution_error":
            graph: Graph = entry["prompt"][2]
            reason = str(data["exception_message"]).strip()
            where = ", ".join([f"node {data['node_id']}", *_files_of(graph, data["node_id"], unless_in=reason)])
            raise Failed(
                f"{title_of(graph, data['node_id'])} ({where}): {reason}",
                node_id=data["node_id"],
                node_type=data["node_type"],
                exception=data["exception_type"],
            )
        if kind == "execution_interrupted":
            raise Interrupted(f"Prompt {prompt_id} was interrupted at node {data['node_id']}.")
    if status.get("status_str") != "success":
        raise ComfyError(f"Prompt {prompt_id} ended as {status.get('status_str')!r} without a reason.")
    return Result(prompt_id, entry["outputs"])
