"""A catalogue of products through one or many ComfyUI servers.

python -m catalogue check shop/products.csv --workflow graph.json [--server URL]
python -m catalogue run   shop/products.csv --workflow graph.json --out out --server URL [--server URL ...]
python -m catalogue status out | retry out | report out
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import signal
import sqlite3
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import track

from .bindings import read_workflow
from .display import RunDisplay
from .fleet import Fleet
from .folder import BadFile, Folder
from .job import jobs_of
from .ledger import BAD, FAILED, REFUSED, Ledger
from .options import make_parser
from .picture import check_picture
from .plan import Plan
from .protocol import ComfyError
from .report import write_report, write_table
from .rows import Problem, read_columns, read_rows
from .runner import Runner
from .server import Server

LEDGER = "ledger.sqlite3"


def main(arguments: list[str] | None = None) -> int:
    options = make_parser(__doc__).parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without an id's letters shows their numbers
    console = Console(stderr=options.command == "run", highlight=False, soft_wrap=True)
    try:
        return int(_COMMANDS[options.command](options, console))
    except ComfyError as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except BrokenPipeError:
        return 2
    except (OSError, sqlite3.Error) as error:
        console.print(f"{type(error).__name__}: {error}. Nothing done is lost.", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


def _run(options: argparse.Namespace, console: Console) -> int:
    plan = _plan(options, options.out)
    headers = _headers(options)
    fleet = Fleet(
        tuple(options.server), options.servers, headers, options.ca, options.in_flight, options.attempts,
        options.patience,
    )  # fmt: skip
    if not fleet.urls and not fleet.listing:
        raise ComfyError("Name a server: --server http://127.0.0.1:8188 (again for more), or --servers FILE.")
    with Ledger(_ledger_path(options)) as ledger:
        if options.retry:
            ledger.retry((FAILED, REFUSED, BAD))
        with RunDisplay(console) as display:
            if options.engine == "ray":
                from .ray_engine import RayRunner

                runner: Runner | RayRunner = RayRunner(plan, ledger, fleet, display)
            else:
                runner = Runner(plan, ledger, fleet, display)
            counts = asyncio.run(_until_stopped(runner, display))
        write_table(ledger, Folder(options.out))
        for problem in plan.problems:
            console.print(str(problem), style="yellow", markup=False)
        began = plan.assignment is not None
        return _conclude(counts, len(plan.problems), options, console) if began else 130


async def _until_stopped(runner, display: RunDisplay) -> dict[str, int]:  # type: ignore[no-untyped-def]
    """Run; the first Ctrl-C (or SIGTERM) lets what runs finish, the second one doesn't."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def interrupted() -> None:
        if runner.stopping and task:
            task.cancel()
            return
        runner.stop()
        display.say("Stopping: what runs is finished, nothing new begins. Again to stop at once; nothing is lost.")

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, interrupted)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(interrupted))
    try:
        return dict(await runner.run())
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


def _conclude(counts: dict[str, int], bad_rows: int, options: argparse.Namespace, console: Console) -> int:
    lost = counts[FAILED] + counts[REFUSED] + counts[BAD]
    left = counts["pending"] + counts["submitted"]
    console.print(f"{counts['done']} done, {lost} without a picture, {left} left, {bad_rows} bad rows", markup=False)
    if left:
        console.print("The same command goes on from here.")
        return 130
    if lost:
        where = f"{options.out} --ledger {options.ledger}" if options.ledger else options.out
        console.print(f"`python -m catalogue status {where}` says why; `retry` lets them be tried again.", markup=False)
    return 1 if lost or bad_rows else 0


def _check(options: argparse.Namespace, console: Console) -> int:
    """Every bad row at once, and every fault of workflow and bindings; pictures are opened, nothing is queued."""
    source, name = _source(options.catalogue)
    found = 0
    workflow_problems: list[str] = []
    plan = None
    if options.workflow:
        plan = _plan(options, ".")
        workflow_problems = asyncio.run(_check_with_server(plan, options)) if options.server else []
        for text in workflow_problems:
            console.print(text, style="red", markup=False)
    rows = 0
    unbound: set[str] = set()
    bound = {column for binding in plan.bindings for column in binding.columns} if plan else set()
    folder = Folder(source)
    for row in track(
        read_rows(folder, name), "checking", console=Console(stderr=True), disable=not sys.stderr.isatty()
    ):
        if isinstance(row, Problem):
            console.print(str(row), markup=False)
            found += 1
            continue
        rows += 1
        line, content = row
        (job, *_) = jobs_of(line, content)
        problems = []
        for path in job.files.values():
            try:
                check_picture(path, folder.read(path))
            except (BadFile, OSError) as error:
                problems.append(str(error))
        if plan and plan.assignment:
            try:
                plan.assignment.workflow.fill(job.values, plan.assignment.object_info)
            except ValueError as error:
                problems.append(str(error))
        if plan:
            unbound |= set(job.values) - bound - {"id", "category", "variant", "variants"}
        if problems:
            console.print(str(Problem(line, job.product, "; ".join(problems))), markup=False)
            found += 1
            rows -= 1
    if unbound:
        console.print(f"No binding takes the column {', '.join(sorted(unbound))}.", style="yellow", markup=False)
    console.print(f"{name}: {rows} good rows, {found} bad ones", markup=False)
    return 1 if found or workflow_problems else 0


async def _check_with_server(plan: Plan, options: argparse.Namespace) -> list[str]:
    problems = []
    for url in options.server:
        async with Server(url, headers=_headers(options), cafile=options.ca) as server:
            try:
                await plan.admit(server)
            except ComfyError as error:
                problems.append(f"{url}: {error}")
    return problems


def _status(options: argparse.Namespace, console: Console) -> int:
    with Ledger(_ledger_path(options), read_only=True) as ledger:
        counts = ledger.counts()
        for state, number in counts.items():
            console.print(f"{number:>9} {state}")
        for entry in ledger.entries(FAILED, REFUSED, BAD):
            console.print(
                f"line {entry.job.line} (id {entry.job.product!r}): {entry.state}. {entry.error}", markup=False
            )
    return 0


def _retry(options: argparse.Namespace, console: Console) -> int:
    with Ledger(_ledger_path(options)) as ledger:
        number = ledger.retry(tuple(options.state or (FAILED, REFUSED, BAD)), tuple(options.id))
    console.print(f"{number} jobs are waiting again; `run` takes them up.")
    return 0


def _report(options: argparse.Namespace, console: Console) -> int:
    with Ledger(_ledger_path(options), read_only=True) as ledger:
        total = ledger.counts()["done"]
        with RunDisplay(console):
            progress = iter(track(range(total), "thumbnails", console=console, disable=not console.is_terminal))
            path = write_report(ledger, Folder(options.out), lambda: next(progress, None))
    console.print(f"The report is {path}", markup=False)
    return 0


def _source(catalogue: str) -> tuple[str, str]:
    """Folder and name of a catalogue, which may lie in a store."""
    if "://" in catalogue:
        folder, _, name = catalogue.rpartition("/")
        return folder, name
    path = Path(catalogue)
    return str(path.parent), path.name


def _plan(options: argparse.Namespace, out: str) -> Plan:
    source, name = _source(options.catalogue)
    read_columns(Folder(source), name)  # what is no catalogue at all is said before a server is asked
    raw, bindings, outputs, score = read_workflow(
        options.workflow, options.bindings, options.bind, options.output, options.score
    )
    return Plan(
        source, name, str(out), raw, bindings, outputs, score, options.limit, options.min_score,
        options.tries if options.min_score is not None else 1,
    )  # fmt: skip


def _ledger_path(options: argparse.Namespace) -> Path:
    if options.ledger:
        return Path(options.ledger)
    if "://" in str(options.out):
        raise ComfyError("The results go to a store: name a file on this machine for the ledger, with --ledger FILE.")
    return Path(options.out) / LEDGER


def _headers(options: argparse.Namespace) -> dict[str, str]:
    headers = {}
    for text in options.header:
        name, colon, value = text.partition(":")
        if not colon:
            raise ComfyError(f"--header {text!r} is not 'Name: value'.")
        headers[name.strip()] = value.strip()
        if not text.isprintable():
            raise ComfyError(f"--header {text!r} holds control characters.")
    if options.token_env:
        if not (token := os.environ.get(options.token_env, "").strip()):
            raise ComfyError(f"The environment holds no {options.token_env}.")
        headers["Authorization"] = f"Bearer {token}"
    return headers


_COMMANDS = {"check": _check, "run": _run, "status": _status, "retry": _retry, "report": _report}

if __name__ == "__main__":
    sys.exit(main())
