"""The catalogue's runner against the real server: what the stand-in of tests/catalogue can't vouch for."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from catalogue.__main__ import main
from catalogue.graph import find_node, with_inputs
from catalogue.ledger import DONE, STATES, Entry, Ledger
from catalogue.protocol import Graph
from scripts.comfyui import ROOT, ComfyServer

CHECKPOINT = "product_background_demo_base.safetensors"
GRAPH = ROOT / "workflows" / "api" / "product_background.json"


class Shop:
    """A catalogue with a quick graph."""

    def __init__(self, folder: Path, packshot: Path, graph: Graph) -> None:
        self.folder, self.out = folder, folder / "out"
        (folder / "photos").mkdir()
        (folder / "photos" / "box.png").write_bytes(packshot.read_bytes())
        self.workflow = folder / "graph.json"
        self.write_graph(with_inputs(graph, {"Sampler": {"steps": 1}}))
        bindings = GRAPH.with_suffix(".bindings.toml").read_bytes()
        self.workflow.with_suffix(".bindings.toml").write_bytes(bindings)

    def write_graph(self, graph: Graph) -> None:
        self.workflow.write_text(json.dumps(graph))

    def write_rows(self, *rows: dict[str, object]) -> Path:
        path = self.folder / "products.csv"
        columns = list(dict.fromkeys(["id", "image", "category", *(key for row in rows for key in row)]))
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows({"image": "photos/box.png", "category": "toy"} | row for row in rows)
        return path

    def command(self, server: ComfyServer, *more: str) -> list[str]:
        base = ["run", str(self.folder / "products.csv"), "--workflow", str(self.workflow), "--out", str(self.out)]
        return [*base, "--server", server.url, *more]

    def entries(self) -> dict[tuple[str, int], Entry]:
        with Ledger(self.out / "ledger.sqlite3", read_only=True) as ledger:
            return {entry.slot: entry for entry in ledger.entries(*STATES)}

    def beside(self, entry: Entry) -> dict[str, object]:
        return dict(json.loads((self.out / entry.files["picture"]).with_suffix(".json").read_text()))


@pytest.fixture
def shop(tmp_path: Path, packshot: Path, graph: Graph) -> Shop:
    return Shop(tmp_path, packshot, graph)


def test_weights_are_told_by_their_content(server: ComfyServer) -> None:
    def ask(name: str) -> httpx.Response:
        return httpx.get(f"{server.url}/product_background/weights", params={"name": name}, trust_env=False)

    content = (ROOT / "models" / "checkpoints" / CHECKPOINT).read_bytes()
    assert ask(CHECKPOINT).json() == {"sha256": hashlib.sha256(content).hexdigest(), "folders": ["checkpoints"]}
    for name in ("nothing.safetensors", "", "../../server.py", str(ROOT / "models" / "checkpoints" / CHECKPOINT)):
        assert ask(name).status_code == 404


def test_a_catalogue_from_rows_to_files(server: ComfyServer, shop: Shop) -> None:
    shop.write_rows(
        {"id": "a/b <1>", "prompt": "a toy on oak", "variants": "2", "seed": "7"},
        {"id": "wide", "width": "1024", "height": "512"},
        {"id": "lost", "image": "photos/lost.png"},
        {"id": "out", "image": "../box.png"},
    )
    assert main(shop.command(server)) == 1
    entries = shop.entries()
    assert {slot: entry.state for slot, entry in entries.items()} == {
        ("a/b <1>", 0): DONE, ("a/b <1>", 1): DONE, ("wide", 0): DONE, ("lost", 0): "bad",
    }  # fmt: skip
    first = entries["a/b <1>", 0]
    with Image.open(shop.out / first.files["picture"]) as image:
        assert image.size == (768, 768)
        held = json.loads(image.info["prompt"])
        assert json.loads(image.info["product_background"])["id"] == "a/b <1>"
    assert held[find_node(held, "Background prompt")]["inputs"]["text"] == "a toy on oak"
    assert [entries["a/b <1>", n].job.seed for n in (0, 1)] == [7, 8]
    with Image.open(shop.out / entries["wide", 0].files["picture"]) as image:
        assert image.size == (1024, 512)
    beside = shop.beside(first)
    assert beside["category"] == "toy" and beside["seed"] == 7
    assert beside["weights"] == {
        CHECKPOINT: hashlib.sha256((ROOT / "models/checkpoints" / CHECKPOINT).read_bytes()).hexdigest()
    }
    assert entries["wide", 0].seconds and "toy" in held[find_node(held, "Background prompt")]["inputs"]["text"]

    made = {path: path.stat().st_mtime_ns for path in shop.out.rglob("*.png")}
    assert main(shop.command(server)) == 1
    assert {path: path.stat().st_mtime_ns for path in shop.out.rglob("*.png")} == made  # nothing is painted twice
    assert main(["report", str(shop.out)]) == 0
    assert "\\u003c1>" in (shop.out / "report.html").read_text()


def test_a_changed_row_is_painted_anew_and_the_old_picture_stays(server: ComfyServer, shop: Shop) -> None:
    for prompt in ("a toy on oak", "a toy on slate"):
        shop.write_rows({"id": "a", "prompt": prompt}, {"id": "b"})
        assert main(shop.command(server)) == 0
    pictures = [path.name for path in (shop.out / "pictures").glob("*.png") if ".mask." not in path.name]
    assert sorted(name.split("_")[0] for name in pictures) == ["a", "a", "b"]


def test_a_browsers_workflow_is_converted(server: ComfyServer, shop: Shop) -> None:
    shop.workflow.write_bytes((ROOT / "workflows" / GRAPH.name).read_bytes())
    shop.write_rows({"id": "a"})
    assert main(shop.command(server)) == 0


def test_the_best_of_several_seeds_is_kept(server: ComfyServer, shop: Shop, graph: Graph) -> None:
    """The seed itself as score: an inspector's place can be taken by any node that shows a number."""
    graph["90"] = {"class_type": "PrimitiveInt", "inputs": {"value": 0}, "_meta": {"title": "Number"}}
    graph["91"] = {"class_type": "PreviewAny", "inputs": {"source": ["90", 0]}, "_meta": {"title": "Score"}}
    shop.write_graph(with_inputs(graph, {"Sampler": {"steps": 1}}))
    shop.write_rows({"id": "a", "seed": "3"}, {"id": "b", "seed": str(2**50)})
    scored = ["--bind", "Number.value={seed}", "--score", "Score", "--min-score", str(2**49), "--tries", "3"]
    assert main(shop.command(server, *scored)) == 0
    entries = shop.entries()
    tries = shop.beside(entries["a", 0])["tries"]
    assert isinstance(tries, list) and 2 <= len(tries) <= 3 and tries[0]["seed"] == 3
    assert entries["a", 0].score == max(each["score"] for each in tries) == entries["a", 0].seed
    assert entries["b", 0].score == 2**50 and len(shop.beside(entries["b", 0])["tries"]) == 1  # type: ignore[arg-type]


def test_a_killed_run_finds_its_jobs_on_the_server(server: ComfyServer, shop: Shop, graph: Graph) -> None:
    shop.write_graph(with_inputs(graph, {"Sampler": {"steps": 12}}))
    shop.write_rows(*({"id": str(number)} for number in range(6)))
    before = server.log().count("Prompt executed in")
    command = [sys.executable, "-m", "catalogue", *shop.command(server)]
    runner = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not list(shop.out.glob("pictures/*.json")):
            assert time.monotonic() < deadline and runner.poll() is None
            time.sleep(0.05)
    finally:
        runner.kill()
        runner.wait()
    assert main(shop.command(server)) == 0
    assert {entry.state for entry in shop.entries().values()} == {DONE}
    assert len(list(shop.out.glob("pictures/*.json"))) == 6
    assert server.log().count("Prompt executed in") - before == 6  # what was queued or ran was not painted again


def test_ctrl_c_finishes_what_runs(server: ComfyServer, shop: Shop, graph: Graph) -> None:
    shop.write_graph(with_inputs(graph, {"Sampler": {"steps": 12}}))
    shop.write_rows(*({"id": str(number)} for number in range(8)))
    command = [sys.executable, "-m", "catalogue", *shop.command(server)]
    runner = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not list(shop.out.glob("pictures/*.json")):
        assert time.monotonic() < deadline and runner.poll() is None
        time.sleep(0.05)
    runner.send_signal(signal.SIGINT)
    _, said = runner.communicate(timeout=60)
    assert runner.returncode == 130 and "goes on from here" in said
    states = [entry.state for entry in shop.entries().values()]
    assert states.count(DONE) == len(list(shop.out.glob("pictures/*.json"))) < 8
    assert states.count("pending") == 8 - states.count(DONE)  # nothing hangs in between
    queue = httpx.get(f"{server.url}/queue", trust_env=False).json()
    assert not queue["queue_running"] and not queue["queue_pending"]


def test_a_workflow_that_does_not_fit_is_refused_before_anything_is_queued(
    server: ComfyServer, shop: Shop, graph: Graph, capfd: pytest.CaptureFixture[str]
) -> None:
    graph[find_node(graph, "Decode")]["class_type"] = "NoSuchNode"
    shop.write_graph(graph)
    shop.write_rows({"id": "a"})
    before = server.log().count("got prompt")
    assert main(shop.command(server, "--bind", "Sampler.sead={seed}", "--bind", "Nowhere.x={id}")) == 2
    said = capfd.readouterr().err
    for part in ("NoSuchNode", "no input 'sead'", "Nowhere", "Titles in this workflow"):
        assert part in said
    assert server.log().count("got prompt") == before


@pytest.mark.timeout(300)
def test_ray_paints_the_same(server: ComfyServer, shop: Shop) -> None:
    shop.write_rows({"id": "a"}, {"id": "b", "variants": "2"}, {"id": "lost", "image": "photos/lost.png"})
    command = [sys.executable, "-m", "catalogue", *shop.command(server, "--engine", "ray")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 1, done.stderr
    assert sorted(entry.state for entry in shop.entries().values()) == ["bad", DONE, DONE, DONE]
    assert "lost.png is not in" in done.stderr
    with Ledger(shop.out / "ledger.sqlite3") as ledger:  # the driver dies before it has entered what was painted
        ledger.retry((DONE,))
    before = server.log().count("Prompt executed in")
    assert subprocess.run(command, cwd=ROOT, capture_output=True, timeout=240).returncode == 1
    assert sorted(entry.state for entry in shop.entries().values()) == ["bad", DONE, DONE, DONE]
    assert server.log().count("Prompt executed in") == before
