"""What the drills share: a catalogue of our own photographs, servers that can be killed and come back, a record."""

from __future__ import annotations

import csv
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalogue.graph import find_node, load_graph, with_inputs
from scripts.comfyui import PHOTOS, ROOT, ComfyServer
from scripts.photos import SCENES, list_products

GRAPH = ROOT / "workflows" / "api" / "product_background.json"


def write_catalogue(folder: Path, products: int) -> Path:
    """Our photographs in turn, each row with a scene of its own and a seed that its id decides."""
    folder.mkdir(parents=True, exist_ok=True)
    photos = list_products(PHOTOS)
    for product in photos:
        shutil.copy(product.photo, folder)
    path = folder / "products.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "image", "category", "prompt"])
        for number in range(products):
            product = photos[number % len(photos)]
            scene = SCENES[number // len(photos) % len(SCENES)]
            prompt = f"a photo of a {product.category} {scene}"
            writer.writerow([f"product-{number:05}", product.photo.name, product.category, prompt])
    return path


def write_graph(folder: Path, steps: int | None) -> Path:
    """The shared graph, with fewer steps where a drill is about something else than painting."""
    graph = load_graph(GRAPH)
    if steps:
        find_node(graph, "Sampler")
        graph = with_inputs(graph, {"Sampler": {"steps": steps}})
    path = folder / GRAPH.name
    path.write_text(json.dumps(graph))
    shutil.copy(GRAPH.with_suffix(".bindings.toml"), folder)
    return path


class Victim:
    """A ComfyUI on one core that can be killed and comes back at the same address, with an empty memory."""

    def __init__(self, base: Path, core: int) -> None:
        self.base, self.core = base, core
        self.server = self._start(0)
        self.url, self.kills = self.server.url, 0
        self.executed_before = 0

    def _start(self, port: int) -> ComfyServer:
        server = ComfyServer(self.base, port=port, cpu=True, threads=1)
        server.__enter__()
        assert server.process
        if hasattr(os, "sched_setaffinity"):
            pin(server.process.pid, self.core)
        return server

    def kill(self) -> None:
        assert self.server.process
        self.executed_before += self.executed_now()
        os.killpg(self.server.process.pid, signal.SIGKILL)
        self.server.process.wait()
        self.kills += 1

    def back(self) -> None:
        self.server = self._start(self.server.port)

    def executed_now(self) -> int:
        return self.server.log().count("Prompt executed in")

    @property
    def executed(self) -> int:
        """Graphs that it has executed, by its own log."""
        return self.executed_before + self.executed_now()

    def stop(self) -> None:
        self.server.stop()


def pin(process: int, core: int) -> None:
    """All threads of a process, those of torch too, onto one core."""
    for thread in os.listdir(f"/proc/{process}/task"):
        os.sched_setaffinity(int(thread), {core % (os.cpu_count() or 1)})


def start_runner(
    catalogue: Path, graph: Path, out: Path, urls: list[str], log: Path, *more: str
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "catalogue", "run", str(catalogue), "--workflow", str(graph), "--out", str(out)]
    for url in urls:
        command += ["--server", url]
    with log.open("ab") as file:
        return subprocess.Popen([*command, *more], cwd=ROOT, stdout=file, stderr=file, start_new_session=True)


def record(path: Path, figures: Mapping[str, Any]) -> None:
    """Add a drill's figures to the JSON file that holds all of them."""
    known = json.loads(path.read_text()) if path.is_file() else {}
    known.update(figures)
    known["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(json.dumps(dict(figures), indent=1))
