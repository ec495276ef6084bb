"""How much of a server's own speed the runner reaches, and what a second server adds.

    python -m tests.drills.throughput [--jobs 40] [--rounds 3] [--record FILE]

Baseline: the same graphs, all queued at once, so that the server never waits; its own clock says when the first began
and the last ended. Runner and baseline take turns. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from catalogue.bindings import read_workflow
from catalogue.fleet import Fleet
from catalogue.folder import Folder
from catalogue.job import jobs_of
from catalogue.ledger import DONE, Ledger
from catalogue.plan import Plan
from catalogue.rows import Problem, read_rows
from catalogue.run_one import prepare
from catalogue.runner import Runner
from catalogue.server import Server

from .servers import Victim, record, write_catalogue, write_graph


class Silent:
    def say(self, text: str) -> None: ...

    def progress(self, counts: Mapping[str, int], servers: int) -> None: ...


def plan_of(catalogue: Path, graph: Path, out: Path) -> Plan:
    raw, bindings, outputs, score = read_workflow(graph, None, [], [], None)
    return Plan(str(catalogue.parent), catalogue.name, str(out), raw, bindings, outputs, score)


async def with_runner(catalogue: Path, graph: Path, out: Path, urls: list[str]) -> float:
    """Pictures a second, from the first job's start to the last written file."""
    with Ledger(out / "ledger.sqlite3") as ledger:
        began = time.monotonic()
        counts = await Runner(plan_of(catalogue, graph, out), ledger, Fleet(tuple(urls)), Silent()).run()
        assert counts["done"] == sum(counts.values()), counts
        assert len(list(ledger.entries(DONE))) == counts["done"]
        return counts["done"] / (time.monotonic() - began)


async def always_full(catalogue: Path, graph: Path, url: str, round_: int) -> float:
    """Pictures a second of a server whose queue holds everything at once, by its own clock."""
    async with Server(url) as server:
        plan = plan_of(catalogue, graph, catalogue.parent / "unused")
        await plan.admit(server)
        assert plan.assignment
        ids = []
        for row in read_rows(Folder(catalogue.parent), catalogue.name):
            assert not isinstance(row, Problem)
            (job,) = jobs_of(*row)
            # Another seed than the runner's: the server's cache must not do its work for it.
            prepared = prepare(plan.assignment, Folder(plan.source), job.with_seed(job.seed + 1000 + round_))
            for name, content in prepared.uploads.items():
                await server.upload_once(name, content)
            ids.append(await server.queue(prepared.graph))
        for prompt_id in ids:
            await server.wait(prompt_id)
        times = []
        for prompt_id in ids:
            entry = await server.history(prompt_id)
            assert entry
            times += [data["timestamp"] for _, data in entry["status"]["messages"] if "timestamp" in data]
    return len(ids) / ((max(times) - min(times)) / 1000)


async def both_full(catalogue: Path, graph: Path, urls: list[str], round_: int) -> float:
    """Pictures a second of all servers at once, each with a full queue: what the machine itself allows."""
    return sum(await asyncio.gather(*(always_full(catalogue, graph, url, round_ + 100) for url in urls)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--record", type=Path, help="JSON file to add the figures to")
    options = parser.parse_args()
    full, both, one, two = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        catalogue, double = (write_catalogue(folder / f"shop{n}", n * options.jobs) for n in (1, 2))
        graph = write_graph(folder, None)
        victims = [Victim(folder / f"server{core}", core) for core in (0, 1)]
        urls = [victim.url for victim in victims]
        warm = write_catalogue(folder / "warm", 2)
        try:
            for victim in victims:
                asyncio.run(with_runner(warm, graph, folder / f"warm{victim.core}", [victim.url]))
            for number in range(options.rounds):
                order = ["full", "one", "two", "both"][:: 1 if number % 2 == 0 else -1]
                for kind in order:
                    out = folder / f"{kind}{number}"
                    if kind == "full":
                        full.append(asyncio.run(always_full(catalogue, graph, urls[0], number)))
                    elif kind == "both":
                        both.append(asyncio.run(both_full(catalogue, graph, urls, number)))
                    elif kind == "one":
                        one.append(asyncio.run(with_runner(catalogue, graph, out, urls[:1])))
                    else:
                        two.append(asyncio.run(with_runner(double, graph, out, urls)))
        finally:
            for victim in victims:
                victim.stop()
    figures = {
        "throughput_full_queue": statistics.median(full),
        "throughput_both_queues_full": statistics.median(both),
        "throughput_runner": statistics.median(one),
        "throughput_two_servers": statistics.median(two),
        "throughput_ratio": statistics.median(a / b for a, b in zip(one, full, strict=True)),
        "throughput_ratio_two": statistics.median(b / a for a, b in zip(one, two, strict=True)),
        "throughput_ratio_two_of_machine": statistics.median(b / a for a, b in zip(both, two, strict=True)),
        "throughput_machine_ratio_two": statistics.median(b / a for a, b in zip(full, both, strict=True)),
    }
    if options.record:
        record(options.record, {key: round(value, 4) for key, value in figures.items()})
    else:
        print(figures)


if __name__ == "__main__":
    main()
