"""Renders jobs over worker processes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue

from tqdm import tqdm

from .layout import Kind, Slot, prepare, slot, write_lists

PICTURES_PER_PROCESS = 80  # Blender slows down over hundreds of scenes; a fresh process costs three seconds


@dataclass(frozen=True)
class Batch:
    """Seeds of one kind that go to one folder."""

    root: Path
    seeds: Sequence[int]
    half: str
    kinds: tuple[Kind, ...] = ("scene",)
    held_out: bool = False
    side: int = 192
    samples: int = 10

    @property
    def slots(self) -> dict[tuple[int, Kind], Slot]:
        return {(seed, kind): slot(self.root, self.half, seed, kind) for seed in self.seeds for kind in self.kinds}

    def jobs(self) -> list[dict]:
        """What is still to be rendered, in the order of the seeds."""
        return [
            {"seed": seed, "kind": kind, "half": self.half, "held_out": self.held_out,
             "picture": str(place.picture), "mask": str(place.mask), "facts": str(place.facts),
             "skipped": str(place.skipped), "quality": {"side": self.side, "samples": self.samples}}
            for (seed, kind), place in self.slots.items() if not place.done
        ]  # fmt: skip


def render_batch(batch: Batch, workers: int, progress: tqdm) -> list[str]:
    """Renders what is missing of `batch` and writes its list files; returns what went wrong, a line each."""
    for kind in batch.kinds:
        prepare(batch.root, kind)
    try:
        failures = run(batch.jobs(), workers, progress)
    finally:  # when it is stopped, too: what is finished can be trained on
        if batch.kinds != ("packshot",):
            tqdm.write(f"{batch.root / 'bg60k_info.txt'} lists {write_lists(batch.root)} pictures")
    lost = [key for key, place in batch.slots.items() if not place.done and key not in failures]
    failures |= dict.fromkeys(lost, "no picture was written")
    return [f"{batch.root} seed {seed} {kind}: {error}" for (seed, kind), error in failures.items()]


def run(jobs: list[dict], workers: int, progress: tqdm) -> dict[tuple[int, Kind], str]:
    """Renders `jobs` over worker processes; returns the errors by seed and kind."""
    queue: Queue[dict] = Queue()
    for job in jobs:
        queue.put(job)
    failures: dict[tuple[int, Kind], str] = {}

    def feed() -> None:
        process, drawn = None, 0
        while True:
            try:
                job = queue.get_nowait()
            except Empty:
                break
            if process is None or process.poll() is not None:
                process, drawn = start(), 0
            try:
                process.stdin.write(json.dumps(job) + "\n")
                answer = json.loads(process.stdout.readline())
            except (OSError, ValueError):  # a broken pipe, or no answer
                process.kill()
                answer = {"error": f"the render process died (exit code {process.wait()})"}
            if answer["error"]:
                failures[job["seed"], job["kind"]] = answer["error"]
            progress.update()
            drawn += 1
            if drawn == PICTURES_PER_PROCESS:
                retire(process)
        if process is not None:
            retire(process)

    threads = [threading.Thread(target=feed, daemon=True) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def start() -> subprocess.Popen:
    command = [sys.executable, "-m", "training.render.worker"]
    single = os.environ | {"OMP_NUM_THREADS": "1"}  # processes are the parallelism
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=single)


def retire(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait()


def report(failures: list[str]) -> int:
    """Prints the first failures; returns the exit code."""
    for failure in failures[:20]:
        print(failure, file=sys.stderr)
    if len(failures) > 20:
        print(f"... and {len(failures) - 20} more", file=sys.stderr)
    return 1 if failures else 0
