"""One job on one server, from the row to the written files. Every engine runs this; none of it knows the ledger."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .folder import BadFile, Folder
from .job import Job, file_stem, further_seed, key_of, prompt_id_of
from .picture import check_picture, check_result
from .protocol import ComfyError, Denied, Failed, Graph, Rejected, Result, Unreachable, Vanished
from .server import UPLOADS, Server
from .workflow import Workflow

PICTURES = "pictures"
"""Folder of the finished pictures, below the output folder."""


@dataclass(frozen=True)
class Assignment:
    """What all jobs of a run have in common. It can be pickled: other machines get it, too."""

    workflow: Workflow
    object_info: dict[str, Any]
    """Of the nodes that the workflow uses."""
    weights: dict[str, str | None]
    """Model file -> SHA-256; None where the server can't tell."""
    source: str
    out: str
    limit: float = 600.0
    """Seconds that one graph may execute."""
    min_score: float | None = None
    tries: int = 1
    """Seeds to try until the score reaches `min_score`; the best is kept."""


@dataclass
class Prepared:
    job: Job
    graph: Graph
    key: str
    cells: dict[str, Any]
    """The row's values, files by the names that they have on a server."""
    uploads: dict[str, bytes]
    """Name on the server -> content."""
    hashes: dict[str, str]
    """Column -> SHA-256."""


@dataclass
class Outcome:
    key: str
    seed: int
    prompt_id: str
    seconds: float
    score: float | None
    files: dict[str, str]
    """Output's name -> path below the output folder."""
    tries: list[dict[str, Any]] = field(default_factory=list)


def prepare(assignment: Assignment, source: Folder, job: Job) -> Prepared:
    """Read and check the row's files, fill in the graph. Raises BadFile; ValueError where a cell doesn't fit."""
    values, uploads, hashes = dict(job.values), {}, {}
    for column, path in job.files.items():
        content = source.read(path)
        kind = check_picture(path, content)
        hashes[column] = hashlib.sha256(content).hexdigest()
        name = f"{hashes[column][:40]}.{kind}"
        uploads[name] = content
        values[column] = f"{UPLOADS}/{name}"
    graph = assignment.workflow.fill(values, assignment.object_info)
    return Prepared(job, graph, key_of(job, graph, assignment.weights), values, uploads, hashes)


async def run_one(
    server: Server,
    assignment: Assignment,
    prepared: Prepared,
    *,
    submission: int = 0,
    look_first: bool = False,
    on_submit: Callable[[str], None] = lambda prompt_id: None,
) -> Outcome:
    """Run one job and write its files. `look_first`: the server may have the graph already, from a run that was killed.

    `on_submit` hears the prompt id before the server does. Raises what `verdict` understands.
    """
    out, key = Folder(assignment.out), prepared.key
    tried: list[dict[str, Any]] = []
    best: tuple[float, dict[str, bytes], dict[str, Any]] | None = None  # score, contents, facts
    job = prepared.job
    for attempt in range(assignment.tries):
        seed = further_seed(job, attempt)
        graph = prepared.graph
        if attempt:
            graph = assignment.workflow.fill(prepared.cells | {"seed": seed}, assignment.object_info)
        prompt_id = prompt_id_of(key, submission, attempt)
        on_submit(prompt_id)
        result, seconds = await _execute(server, assignment, prepared, _saving_apart(graph, key), prompt_id, look_first)
        contents, texts = await _download(server, assignment.workflow, result)
        score = _score(assignment.workflow, result)
        facts: dict[str, Any] = {"seed": seed, "prompt_id": prompt_id, "seconds": round(seconds, 3), "score": score}
        tried.append(facts)
        if best is None or (score or 0.0) > best[0]:
            best = (score or 0.0, contents, facts | {"texts": texts})
        if score is None or assignment.min_score is None or score >= assignment.min_score:
            break
    assert best is not None
    _, contents, kept = best
    stem = f"{PICTURES}/{file_stem(job, key)}"
    files = {name: f"{stem}{_suffix(name)}" for name in contents}
    beside = {
        "id": job.product, "variant": job.variant, "category": job.category, **kept, "tries": tried,
        "weights": assignment.weights, "workflow": assignment.workflow.digest, "key": key, "server": server.url,
        "inputs": {c: {"path": path, "sha256": prepared.hashes[c]} for c, path in job.files.items()},
        "values": prepared.job.values, "files": files, "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    text = json.dumps(beside, indent=1, ensure_ascii=False).encode()

    def write() -> None:
        for name, content in contents.items():
            out.write(files[name], content)
        out.write(f"{stem}.json", text)  # last: it vouches for the others

    await asyncio.to_thread(write)
    return Outcome(key, kept["seed"], kept["prompt_id"], kept["seconds"], kept["score"], files, tried)


def finished_outcome(out: Folder, job: Job, key: str) -> Outcome | None:
    """What an earlier run wrote for this key, if it wrote it whole."""
    try:
        beside = json.loads(out.get(f"{PICTURES}/{file_stem(job, key)}.json"))
        if beside["key"] != key or not all(out.has(path) for path in beside["files"].values()):
            return None
        return Outcome(**{name: beside[name] for name in Outcome.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def verdict(error: BaseException, failures: int, losses: int, before: str | None, attempts: int) -> tuple[str, float]:
    """What to do about a job's error: the state it gets ("again" or "lost" for another try), and seconds to wait.

    "again" counts as the job's own failure; "lost" says that its server went. `failures`, `losses`: how often each
    happened before, `before`: the last error's message. A node that says the same twice would say it a third time.
    """
    if isinstance(error, BadFile | ValueError):
        return "bad", 0.0
    if isinstance(error, Rejected):
        return "refused", 0.0
    if isinstance(error, Unreachable | Vanished | Denied):
        return ("failed", 0.0) if losses + 1 >= max(attempts, 5) else ("lost", min(2.0**losses, 30.0))
    same = isinstance(error, Failed) and not error.out_of_memory and str(error) == before
    if same or failures + 1 >= attempts:
        return "failed", 0.0
    return "again", min(2.0**failures, 30.0)


def is_full(error: BaseException) -> bool:
    """Whether a disk is full here: nothing of the job's own."""
    if isinstance(error, sqlite3.OperationalError):
        return "full" in str(error)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


async def _execute(
    server: Server, assignment: Assignment, prepared: Prepared, graph: Graph, prompt_id: str, look_first: bool
) -> tuple[Result, float]:
    if not (look_first and await server.knows(prompt_id)):
        await _queue(server, prepared, graph, prompt_id)
    started = time.monotonic()
    result = await server.wait(prompt_id, limit=assignment.limit)
    return result, result.seconds if result.seconds is not None else time.monotonic() - started


async def _queue(server: Server, prepared: Prepared, graph: Graph, prompt_id: str) -> None:
    job, uploads = prepared.job, prepared.uploads
    extra = {"product_background": {"id": job.product, "variant": job.variant, "key": prepared.key}}
    for name, content in uploads.items():
        await server.upload_once(name, content)
    try:
        await server.queue(graph, prompt_id=prompt_id, extra=extra)
    except Unreachable:
        # Did it arrive? The server would run a second one beside it.
        if not await server.knows(prompt_id):
            raise
    except Rejected:
        if all([await server.has_upload(name) for name in uploads]):
            raise
        server.forget_uploads()  # it was started anew, on an empty disk
        for name, content in uploads.items():
            await server.upload_once(name, content)
        await server.queue(graph, prompt_id=prompt_id, extra=extra)


def _saving_apart(graph: Graph, key: str) -> Graph:
    """The graph with a place of its own for each job's files on the server.

    SaveImage counts the files of its folder, which takes long after ten thousands; and a graph that another job had
    exactly so would be served from the cache, with that job's files.
    """
    apart = {node_id: dict(node) for node_id, node in graph.items()}
    for node in apart.values():
        if isinstance(node["inputs"].get("filename_prefix"), str):
            name = PurePosixPath(node["inputs"]["filename_prefix"]).name or "picture"
            node["inputs"] = node["inputs"] | {"filename_prefix": f"{UPLOADS}/{key[:2]}/{key[:24]}_{name}"}
    return apart


async def _download(server: Server, workflow: Workflow, result: Result) -> tuple[dict[str, bytes], dict[str, str]]:
    """Output's name -> content of its picture, and output's name -> text for nodes that show one.

    A node that saved several pictures gives NAME, NAME-2 ...
    """
    contents: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    for name, node_id in workflow.output_nodes().items():
        files = result.images(node_id)
        if not files and (text := result.text(node_id)):
            texts[name] = text
            continue
        if not files:
            raise ComfyError(f"The node for the output {name!r} reported no picture.")
        for number, file in enumerate(files, 1):
            content = await server.download(file)
            await asyncio.to_thread(check_result, content)
            contents[name if number == 1 else f"{name}-{number}"] = content
    return contents, texts


def _suffix(name: str) -> str:
    return ".png" if name == "picture" else f".{name}.png"


def _score(workflow: Workflow, result: Result) -> float | None:
    if workflow.score is None:
        return None
    reported = result.outputs.get(workflow.node(workflow.score), {})
    for value in reported.values():
        try:
            if math.isfinite(number := float(value[0])):
                return number
        except (TypeError, ValueError, IndexError, KeyError):
            continue
    raise ComfyError(f"The node {workflow.score!r} reported no number as score: {str(reported)[:200]}")
