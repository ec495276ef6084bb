"""What ComfyUI's API says, put into Python: graphs, results, and errors that a person can read. No network here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

Graph = dict[str, dict[str, Any]]
"""A workflow as the API takes it: node id -> {"class_type", "inputs", "_meta": {"title"}}."""


class ComfyError(RuntimeError):
    """Something asked of the server did not work; the message says what and why."""


class Unreachable(ComfyError):
    """Nobody answered at the server's address, or something between here and there answered in its place."""


class Denied(ComfyError):
    """The server wants other credentials."""


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

    @property
    def out_of_memory(self) -> bool:
        """Whether the device's memory was too small: torch's own class, or what drivers and the host write."""
        return "OutOfMemory" in self.exception or "out of memory" in str(self).lower()


class Interrupted(ComfyError):
    """A queued graph was cancelled."""


class Vanished(Interrupted):
    """A graph is neither queued nor finished: it was deleted, or the server was started anew."""


class TimedOut(ComfyError):
    """A graph ran for longer than it may; it was cancelled."""


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
    seconds: float | None = None
    """How long it executed, by the server's clock."""

    def images(self, node_id: str) -> list[OutputFile]:
        entries = self.outputs.get(node_id, {}).get("images", [])
        return [OutputFile(entry["filename"], entry["subfolder"], entry["type"]) for entry in entries]

    def text(self, node_id: str) -> str:
        return "".join(self.outputs.get(node_id, {}).get("text", []))


def title_of(graph: Graph, node_id: str) -> str:
    node = graph.get(node_id, {})
    return str(node.get("_meta", {}).get("title") or node.get("class_type", "unknown node"))


def rejection(graph: Graph, answer: dict[str, Any]) -> Rejected:
    """The error for a graph that the server refused, from the server's `answer`."""
    node_errors: dict[str, Any] = answer.get("node_errors") or {}
    lines = []
    for node_id, account in node_errors.items():
        for error in account["errors"]:
            lines.append(f"{title_of(graph, node_id)} (node {node_id}): {error['message']}: {error['details']}")
    if not lines:
        error = answer.get("error", {})
        lines = [f"{error.get('message', 'no reason given')} {error.get('details', '')}".strip()]
    return Rejected("ComfyUI refused the graph. " + "; ".join(lines), node_errors)


def finished(prompt_id: str, entry: dict[str, Any]) -> Result:
    """The result that a history `entry` holds; raises Failed, Interrupted or ComfyError where it holds none."""
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
    times = {kind: data["timestamp"] for kind, data in status.get("messages", []) if "timestamp" in data}
    both = "execution_start" in times and "execution_success" in times
    seconds = (times["execution_success"] - times["execution_start"]) / 1000 if both else None
    return Result(prompt_id, entry["outputs"], seconds)


def _files_of(graph: Graph, node_id: str, *, unless_in: str) -> list[str]:
    """The files that a node was to read, which its own message may leave out."""
    inputs = graph.get(node_id, {}).get("inputs", {})
    names = {key: value for key, value in inputs.items() if key == "image" or key.endswith("_name")}
    files = {key: value for key, value in names.items() if isinstance(value, str) and PurePosixPath(value).suffix}
    return [f"{key} {value}" for key, value in files.items() if PurePosixPath(value).name not in unless_in]
