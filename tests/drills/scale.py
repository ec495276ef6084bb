"""A hundred thousand products against a stand-in server with faults: complete, with little memory, quick to start.

    python -m tests.drills.scale --rows 100000 [--record FILE]

The runner is killed (-9) in the middle and started again. The stand-in speaks ComfyUI's protocol and paints nothing: it
drops 5% of all connections, 2% of the executions fail, messages come twice, replies come late, its disk is full once.
Ends with code 1 if a picture is missing, wrong or painted twice.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from catalogue.ledger import STATES, Ledger
from scripts.comfyui import ROOT, free_port
from tests.catalogue.standin_graph import BINDINGS, colour_of, example_graph

from .servers import record

FAULTS = {
    "drop": 0.05,
    "errors": 0.02,
    "duplicates": 0.05,
    "lose": 0.01,
    "slow": 0.01,
    "slow-seconds": 0.3,
    "full-disk-at": 100,
    "no-memory-at": 200,
}


class StandInProcess:
    def __init__(self, log: Path, **more: float) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        words = [f"--{name}={value}" for name, value in (FAULTS | more).items()]
        command = [
            sys.executable,
            str(ROOT / "tests" / "catalogue" / "standin.py"),
            "--port",
            self.url.rpartition(":")[2],
        ]
        with log.open("wb") as file:
            self.process = subprocess.Popen([*command, *words], stdout=file, stderr=file)
        while True:
            try:
                self.told()
                return
            except OSError:
                assert self.process.poll() is None, log.read_text()
                time.sleep(0.1)

    def told(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/standin", timeout=30) as answer:
            return dict(json.load(answer))


class Sampler(threading.Thread):
    """Looks at the runner's memory every second, and at how far the run is."""

    def __init__(self, process: subprocess.Popen[bytes], standin: StandInProcess) -> None:
        super().__init__(daemon=True)
        self.process, self.standin = process, standin
        self.samples: list[tuple[int, int]] = []
        """Pictures painted so far, bytes of resident memory."""
        self.cpu = 0.0

    def run(self) -> None:
        watched = psutil.Process(self.process.pid)
        while self.process.poll() is None:
            try:
                memory, times = watched.memory_info().rss, watched.cpu_times()
                self.samples.append((self.standin.told()["pictures"], memory))
            except (psutil.Error, OSError):
                break
            self.cpu = times.user + times.system
            time.sleep(1.0)

    def at(self, pictures: float) -> float:
        """Megabytes when so many were painted."""
        return round(next((memory for done, memory in self.samples if done >= pictures), 0) / 2**20, 1)


def write_catalogue(folder: Path, rows: int, images: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(images):
        Image.new("RGB", (64, 48), (number % 256, number // 256, 99)).save(folder / f"{number}.png")
    path = folder / "products.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "category", "prompt"])
        for number in range(rows):
            prompt = f"a photo of shoe {number} on a light oak table, a cream wall, soft daylight from the left"
            writer.writerow([f"product-{number:06}", f"{number % images}.png", "shoe", prompt])
    (folder / "graph.json").write_text(json.dumps(example_graph()))
    return path


def start(catalogue: Path, out: Path, standin: StandInProcess, log: Path, in_flight: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "catalogue", "run", str(catalogue), "--out", str(out), "--server", standin.url]
    command += ["--workflow", str(catalogue.with_name("graph.json")), "--in-flight", str(in_flight), "--attempts", "6"]
    for text in BINDINGS:
        command += ["--bind", text]
    with log.open("ab") as file:
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)


def until_first_job(process: subprocess.Popen[bytes], standin: StandInProcess, began: float, log: Path) -> float:
    """Seconds from the start of the process to the first job that it submitted."""
    before = standin.told().get("POST prompt", 0)
    while standin.told().get("POST prompt", 0) == before:
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.02)
    return round(time.monotonic() - began, 2)


def verify(catalogue: Path, out: Path, rows: int) -> dict[str, int]:
    """The ledger against the files, and each picture against what its row asks for."""
    photos: dict[str, bytes] = {}
    done = wrong = 0
    with Ledger(out / "ledger.sqlite3", read_only=True) as ledger:
        for entry in ledger.entries(*STATES):
            if entry.state != "done":
                continue
            done += 1
            path = entry.job.files["image"]
            photo = photos.setdefault(path, (catalogue.parent / path).read_bytes())
            with Image.open(out / entry.files["picture"]) as image:
                right = image.getpixel((0, 0)) == colour_of(photo, str(entry.job.values["prompt"]), entry.seed)
                told = json.loads(image.info["product_background"])
            wrong += not right or told["id"] != entry.job.product or told["key"] != entry.key
    files = [path.name for path in (out / "pictures").iterdir()]
    pictures = sum(name.endswith(".png") for name in files)
    return {"rows": rows, "completed": done, "wrong": wrong, "pictures": pictures, "other_files": len(files) - 2 * done}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=0.0, help="that one execution takes")
    parser.add_argument("--record", type=Path, help="JSON file to which the figures are added")
    parser.add_argument("--work", type=Path, help="folder to work in, which is kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        figures = drill(options, options.work or Path(temporary))
    if options.record:
        record(options.record, {f"scale_{key}": value for key, value in figures.items()})
    else:
        print(json.dumps(figures, indent=1))
    good = figures["completed"] == figures["pictures"] == options.rows and not figures["wrong"] + figures["other_files"]
    return 0 if good and not figures["painted_twice"] else 1


def drill(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    out, log = work / "out", work / "runner.log"
    catalogue = write_catalogue(work / "shop", options.rows, options.images)
    standin = StandInProcess(work / "standin.log", seconds=options.seconds)
    samplers: list[Sampler] = []
    try:
        began = time.monotonic()
        seconds: dict[str, float] = {}
        for name in ("start", "resume"):
            launched = time.monotonic()
            process = start(catalogue, out, standin, log, options.in_flight)
            seconds[name] = until_first_job(process, standin, launched, log)
            samplers.append(Sampler(process, standin))
            samplers[-1].start()
            if name == "start":
                while standin.told()["pictures"] < options.rows / 2:
                    assert process.poll() is None, log.read_text()[-3000:]
                    time.sleep(0.5)
                process.kill()
            process.wait()
            samplers[-1].join()
        whole = time.monotonic() - began
        told = standin.told()
    finally:
        standin.process.kill()
        standin.process.wait()
    samples = [memory for sampler in samplers for _, memory in sampler.samples]
    return {
        **verify(catalogue, out, options.rows),
        "painted_twice": told["painted_twice"],
        "executed_twice": told["executed_twice"],
        "faults": {name: told.get(name, 0) for name in ("dropped", "slow", "errors")},
        "exit_code": process.returncode,
        "seconds": round(whole, 1),
        "jobs_per_second": round(options.rows / whole, 1),
        "runner_cpu_seconds": round(sum(sampler.cpu for sampler in samplers), 1),
        "start_seconds": seconds["start"],
        "resume_seconds": seconds["resume"],
        "peak_megabytes": round(max(samples) / 2**20, 1),
        "megabytes_at_20_percent": samplers[0].at(options.rows * 0.2),
        "megabytes_at_60_percent": samplers[1].at(options.rows * 0.6),
        "megabytes_at_100_percent": round(samples[-1] / 2**20, 1),
    }


if __name__ == "__main__":
    sys.exit(main())
