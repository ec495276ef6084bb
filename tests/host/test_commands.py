"""`make demo` and `make comfyui` after their set-up: the commands as a user starts and stops them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from scripts.comfyui import PHOTOS, ROOT, free_port
from scripts.photos import list_products

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "DISPLAY": "", "WAYLAND_DISPLAY": ""}


@contextmanager
def command(log: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], cwd=ROOT, env=ENVIRONMENT, stdout=output, stderr=output
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)  # by force its server would be left behind
            process.wait(30)


def wait_for(log: Path, text: str, process: subprocess.Popen[bytes], limit: float = 120) -> str:
    deadline = time.monotonic() + limit
    while text not in (said := log.read_text()):
        assert process.poll() is None and time.monotonic() < deadline, said
        time.sleep(0.2)
    return said


def test_demo_paints_two_photographs(tmp_path: Path) -> None:
    photos, out, log = tmp_path / "photos", tmp_path / "out", tmp_path / "log"
    photos.mkdir()
    for product in list_products(PHOTOS)[:2]:
        shutil.copy(product.photo, photos)
    with command(log, "scripts.demo", "--photos", str(photos), "--out", str(out)) as process:
        assert process.wait(240) == 0, log.read_text()
    report = json.loads((out / "report.json").read_text())
    assert [entry["product_max_abs_error"] for entry in report["pictures"]] == [0, 0]
    assert all(entry["opaque_share"] > 0.2 for entry in report["pictures"])
    assert not report["failures"]
    with command(log, "scripts.demo", "--photos", str(photos), "--out", str(photos / "out")) as process:
        assert process.wait(60) == 1
    assert "lies in the other" in log.read_text() and "Starting" not in log.read_text()


def test_comfyui_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with command(log, "scripts.comfyui", "--port", str(port), "--folder", str(tmp_path / "mine")) as process:
        wait_for(log, f"ComfyUI is at http://127.0.0.1:{port}", process)
        choice = httpx.get(f"http://127.0.0.1:{port}/object_info/PBG_LoadProductPhoto", trust_env=False).json()
        offered = choice["PBG_LoadProductPhoto"]["input"]["required"]["image"][1]["options"]
        assert {product.photo.name for product in list_products(PHOTOS)} <= set(offered)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143
    assert free_port(port) == port


def test_a_server_that_dies_ends_the_command(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with command(log, "scripts.comfyui", "--port", str(port), "--folder", str(tmp_path / "mine")) as process:
        wait_for(log, "ComfyUI is at", process)
        (server,) = psutil.Process(process.pid).children()
        server.kill()
        assert process.wait(30) == 1
    assert "ended by itself (exit code -9)" in log.read_text()
