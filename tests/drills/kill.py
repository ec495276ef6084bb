"""Kill the runner and the servers at random moments, and count what is there in the end.

    python -m tests.drills.kill --products 200 --runner-kills 10 --server-kills 3 [--engine ray] [--record FILE]

Two real ComfyUI servers on a core each, the demonstration base, the shared graph. `kill -9` of the runner, of a server
and, for Ray, of the whole driver with its workers or of one worker. Ends with code 1 if a picture is missing, doubled
or broken, or if the ledger says anything else than the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from catalogue.ledger import STATES, Ledger

from .servers import Victim, record, start_runner, write_catalogue, write_graph


def count_done(out: Path) -> int:
    return len(list((out / "pictures").glob("*.json")))


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """The runner and all that it started: Ray's driver, its workers, its object store."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def kill_a_worker(process: subprocess.Popen[bytes], rng: random.Random) -> bool:
    """Kill one of Ray's actors; False where none runs yet."""
    found = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "Painter" in " ".join(_command(child)) or _command(child)[:1] == ["ray::MapWorker(MapBatches(Painter))"]
    ]
    if not found:
        return False
    rng.choice(found).kill()
    return True


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def verify(out: Path, products: int) -> dict[str, Any]:
    """What is in the folder against what the ledger says."""
    with Ledger(out / "ledger.sqlite3", read_only=True) as ledger:
        entries = list(ledger.entries(*STATES))
        counts = ledger.counts()
    stems = Counter(json.loads(path.read_text())["id"] for path in (out / "pictures").glob("*.json"))
    listed = {name for entry in entries for name in entry.files.values()}
    present = {f"pictures/{path.name}" for path in (out / "pictures").glob("*.png")}
    broken = 0
    for name in present:
        try:
            with Image.open(out / name) as image:
                image.load()
                assert (image.size == (768, 768) and "prompt" in image.info) or name.endswith(".mask.png")
        except (OSError, AssertionError):
            broken += 1
    partial = [path.name for path in out.rglob("*.part")]
    return {
        "products": products,
        "done": counts["done"],
        "missing": products - len(stems),
        "doubled": sum(number > 1 for number in stems.values()),
        "broken": broken,
        "files_unknown_to_ledger": len(present - listed),
        "files_missing_from_folder": len(listed - present),
        "half_written_files": len(partial),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", type=int, default=200)
    parser.add_argument("--runner-kills", type=int, default=10)
    parser.add_argument("--server-kills", type=int, default=3)
    parser.add_argument("--worker-kills", type=int, default=0, help="with --engine ray: actors to kill")
    parser.add_argument("--engine", choices=("asyncio", "ray"), default="asyncio")
    parser.add_argument("--steps", type=int, default=0, help="sampler steps; 0: the graph's own")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--record", type=Path, help="JSON file to add the figures to")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="drill-") as name:
        folder = Path(name)
        catalogue = write_catalogue(folder / "shop", options.products)
        graph, out, log = write_graph(folder, options.steps), folder / "out", folder / "runner.log"
        victims = [Victim(folder / f"server{core}", core) for core in (0, 1)]
        try:
            figures = drill(options, rng, catalogue, graph, out, log, victims)
        finally:
            for victim in victims:
                victim.stop()
        if figures["exit_code"]:
            sys.stderr.write(log.read_text()[-4000:])
    prefix = f"kill_{options.engine}_"
    if options.record:
        record(options.record, {prefix + key: value for key, value in figures.items()})
    else:
        print(json.dumps(figures, indent=1))
    faults = (
        "missing",
        "doubled",
        "broken",
        "files_unknown_to_ledger",
        "files_missing_from_folder",
        "half_written_files",
    )
    return int(any(figures[key] for key in faults) or figures["done"] != options.products)


def drill(options: Any, rng: random.Random, catalogue: Path, graph: Path, out: Path, log: Path, victims: Any) -> Any:
    began = time.monotonic()
    urls = [victim.url for victim in victims]
    # Spread over the work: kills that come when all is done would prove nothing.
    moments = sorted(
        (rng.uniform(0.03, 0.93) * options.products, kind)
        for kind, number in (
            ("runner", options.runner_kills), ("server", options.server_kills), ("worker", options.worker_kills),
        )
        for _ in range(number)
    )  # fmt: skip
    killed: Counter[str] = Counter()

    def start() -> subprocess.Popen[bytes]:
        return start_runner(catalogue, graph, out, urls, log, "--engine", options.engine)

    runner = start()
    waiting: list[threading.Thread] = []
    while True:
        if runner.poll() is not None:
            break
        if moments and count_done(out) >= moments[0][0]:
            time.sleep(rng.uniform(0.0, 3.0))  # anywhere within a job
            kind = moments.pop(0)[1]
            if kind == "runner" and runner.poll() is None:
                kill_tree(runner)
                runner = start()
            elif kind == "worker":
                if runner.poll() is not None or not kill_a_worker(runner, rng):
                    moments.insert(0, (moments[0][0] if moments else 0.0, kind))
                    time.sleep(1.0)
                    continue
            elif kind == "server":
                for thread in waiting:
                    thread.join()  # one at a time is enough
                victim = rng.choice(victims)
                victim.kill()
                waiting.append(threading.Thread(target=revive, args=(victim, rng.uniform(0.0, 8.0))))
                waiting[-1].start()
            killed[kind] += 1
        time.sleep(0.1)
    for thread in waiting:
        thread.join()
    return verify(out, options.products) | {
        "exit_code": runner.returncode,
        "runner_kills": killed["runner"],
        "server_kills": killed["server"],
        "worker_kills": killed["worker"],
        "graphs_executed": sum(victim.executed for victim in victims),
        "seconds": round(time.monotonic() - began, 1),
    }


def revive(victim: Victim, pause: float) -> None:
    time.sleep(pause)
    victim.back()


if __name__ == "__main__":
    sys.exit(main())
