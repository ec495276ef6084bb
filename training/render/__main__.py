"""`python -m training.render --seed-range A:B --out DIR`: renders scenes (or packshots), resumable, over processes."""

import argparse
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import Empty, Queue

from tqdm import tqdm

from .layout import Slot, prepare, slot, write_list

PICTURES_PER_PROCESS = 80  # Blender slows down over hundreds of scenes; a fresh process costs three seconds


def seed_range(text: str) -> range:
    try:
        first, last = (int(part) for part in text.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B such as 0:2000, got {text!r}") from None
    if not 0 <= first < last:
        raise argparse.ArgumentTypeError(f"expected 0 <= A < B, got {text!r}")
    return range(first, last)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.render", description=__doc__)
    parser.add_argument("--seed-range", type=seed_range, required=True, help="seeds A:B, B not included")
    parser.add_argument("--out", type=Path, required=True, help="data set folder; finished pictures are kept")
    parser.add_argument("--half", choices=("generic", "bound"), default="generic")
    parser.add_argument("--held-out", action="store_true", help="draw only the shape families kept from training")
    parser.add_argument("--packshots", action="store_true", help="the same products on white, instead of scenes")
    parser.add_argument("--side", type=int, default=192, help="picture side in pixels")
    parser.add_argument("--samples", type=int, default=14, help="Cycles samples per pixel")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def run(jobs: list[dict], workers: int) -> list[dict]:
    """Renders `jobs` over worker processes; returns the answers that report an error."""
    queue: Queue[dict] = Queue()
    for job in jobs:
        queue.put(job)
    failures: list[dict] = []
    progress = tqdm(total=len(jobs), unit="picture", desc="rendering", mininterval=2)

    def feed() -> None:
        process, drawn = None, 0
        while True:
            try:
                job = queue.get_nowait()
            except Empty:
                break
            if process is None or process.poll() is not None:
                command = [sys.executable, "-m", "training.render.worker"]
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
                drawn = 0
            try:
                process.stdin.write(json.dumps(job) + "\n")
                answer = json.loads(process.stdout.readline())
            except (OSError, ValueError):  # a broken pipe, or no answer
                process.kill()
                answer = {"seed": job["seed"], "error": f"the render process died (exit code {process.wait()})"}
            if answer["error"]:
                failures.append(answer)
            progress.update()
            drawn += 1
            if drawn == PICTURES_PER_PROCESS:
                retire(process)
        if process is not None:
            retire(process)

    threads = [threading.Thread(target=feed) for _ in range(min(workers, len(jobs)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    progress.close()
    return failures


def retire(process: subprocess.Popen) -> None:
    process.stdin.close()
    process.wait()


def job_of(seed: int, place: Slot, options: argparse.Namespace) -> dict:
    return {
        "seed": seed, "half": options.half, "held_out": options.held_out, "packshot": options.packshots,
        "picture": str(place.picture), "mask": str(place.mask), "facts": str(place.facts),
        "quality": {"side": options.side, "samples": options.samples},
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    prepare(options.out)
    slots = {seed: slot(options.out, options.half, seed, options.packshots) for seed in options.seed_range}
    jobs = [job_of(seed, place, options) for seed, place in slots.items() if not place.done]
    tqdm.write(f"{len(slots) - len(jobs)} of {len(slots)} pictures are there already, {len(jobs)} to render")
    failures = run(jobs, options.workers) if jobs else []
    listed = write_list(options.out)
    tqdm.write(f"{options.out / 'bg60k_info.txt'} lists {listed} scenes")
    told = {failure["seed"] for failure in failures}
    lost = [seed for seed, place in slots.items() if not place.done and seed not in told]
    failures += ({"seed": seed, "error": "no picture was written"} for seed in lost)
    for failure in failures:
        tqdm.write(f"seed {failure['seed']}: {failure['error']}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
