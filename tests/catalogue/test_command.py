"""The command line: what it says, once each, and how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalogue.__main__ import main
from tests.catalogue.shop import Shop, photo, standing
from tests.catalogue.standin import StandIn


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing() as running:
        yield running


class Said:
    def __init__(self, code: int, lines: list[str]) -> None:
        self.code, self.lines = code, lines

    def once(self, text: str) -> str:
        found = [line for line in self.lines if text in line]
        assert len(found) == 1, (text, self.lines)
        return found[0]


@pytest.fixture
def call(capfd: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    def command(*words: str | Path) -> Said:
        capfd.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as end:  # argparse
            code = int(str(end.code))
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return Said(code, (out + err).splitlines())

    return command


def spoil(shop: Shop) -> None:
    """Four bad rows among eight."""
    (shop.folder / "0.png").write_text("no picture")
    shop.rows[1]["image"] = "../1.png"
    shop.rows[2]["image"] = "lost.png"
    shop.rows[3]["seed"] = "seven"
    shop.write()


def test_check_tells_every_bad_row_at_once(call, shop: Shop, server: StandIn) -> None:  # type: ignore[no-untyped-def]
    spoil(shop)
    before = server.told()["prompts"]
    for options in ([shop.catalogue], shop.options(server.url)):
        said = call("check", *options)
        assert said.code == 1
        assert said.once("line 2 ").startswith("line 2 (id 'p0'): 0.png is no picture of a known kind")
        assert said.once("line 3 ").startswith("line 3 (id 'p1'): image: '../1.png' leaves the catalogue's folder")
        assert said.once("line 4 ").startswith("line 4 (id 'p2'): lost.png is not in ")
        assert said.once("line 5 ") == "line 5 (id 'p3'): seed: Input should be a valid integer, unable to parse " + (
            "string as an integer, found 'seven'"
        )
        assert said.lines[-1] == "products.csv: 4 good rows, 4 bad ones"
    assert server.told()["prompts"] == before


def test_check_of_a_good_catalogue(call, shop: Shop, server: StandIn) -> None:  # type: ignore[no-untyped-def]
    for row in shop.rows:
        row["prompt"] = "a shoe"
        row["colour"] = "red"
    said = call("check", *shop.write().options(server.url))
    assert said.code == 0
    assert said.lines == ["No binding takes the column colour.", "products.csv: 8 good rows, 0 bad ones"]


def test_check_names_the_faults_of_workflow_and_bindings_and_servers(call, shop: Shop, server: StandIn) -> None:  # type: ignore[no-untyped-def]
    shop.graph["4"]["class_type"] = "Rembrandt"
    said = call("check", *shop.write().options(server.url, "http://127.0.0.1:9"), "--bind", "Save.colour={colour}")
    assert said.code == 1
    line = said.once(server.url)
    assert "no node 'Rembrandt'" in line and "SaveImage has no input 'colour'" in line
    said.once("http://127.0.0.1:9: ComfyUI at http://127.0.0.1:9 does not answer")


def test_a_run_and_what_follows(call, shop: Shop, server: StandIn) -> None:  # type: ignore[no-untyped-def]
    spoil(shop)
    shop.rows[4]["prompt"] = "[fail]"
    shop.write()
    said = call("run", *shop.options(server.url), "--out", shop.out)
    assert said.code == 1
    for line in (2, 3, 4, 5, 6):
        said.once(f"line {line} ")
    assert said.once("done, ") == "3 done, 3 without a picture, 0 left, 2 bad rows"
    said.once(f"{server.url} is up")
    assert said.once("6 of 6").startswith("6 of 6, ")

    said = call("status", shop.out)
    assert said.code == 0 and said.once(" done").split() == ["3", "done"]
    assert said.once("line 6 ").endswith("failed. Sampler (node 4): a node that always fails")

    (shop.folder / "0.png").write_bytes(photo(5))
    shop.rows[4]["prompt"] = "a shoe"
    shop.write()
    said = call("run", *shop.options(server.url), "--out", shop.out)
    assert said.code == 1 and said.once("done, ") == "5 done, 1 without a picture, 0 left, 2 bad rows"
    assert call("retry", shop.out, "p0").lines == ["0 jobs are waiting again; `run` takes them up."]
    assert call("retry", shop.out).lines == ["1 jobs are waiting again; `run` takes them up."]
    (shop.folder / "lost.png").write_bytes(photo(6))
    shop.rows[1]["image"], shop.rows[3]["seed"] = "1.png", "7"
    shop.write()
    said = call("run", *shop.options(server.url), "--out", shop.out)
    assert said.code == 0 and said.once("done, ") == "8 done, 0 without a picture, 0 left, 0 bad rows"
    said = call("report", shop.out)
    assert said.code == 0 and (shop.out / "report.html").is_file() and len(said.lines) == 1
    assert len((shop.out / "results.csv").read_text().splitlines()) == 9


def test_what_is_wrong_is_said_in_a_line(call, shop: Shop, server: StandIn, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    options = shop.write().options(server.url)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "file").write_text("")
    (tmp_path / "lines.jsonl").write_text("")
    others = options[1:]
    for code, words, message in (
        (2, ["run", tmp_path / "lost.csv", *others, "--out", shop.out], "There is no catalogue"),
        (2, ["run", tmp_path / "broken.parquet", *others, "--out", shop.out], "can't be read as Parquet"),
        (2, ["check", tmp_path / "broken.parquet"], "can't be read as Parquet"),
        (2, ["run", *shop.options(), "--out", shop.out], "Name a server"),
        (2, ["run", *options, "--out", tmp_path / "file"], "file"),
        (2, ["run", *options, "--out", "memory://out"], "--ledger FILE"),
        (2, ["run", *options, "--out", shop.out, "--header", "x"], "is not 'Name: value'"),
        (2, ["run", *options, "--out", shop.out, "--header", "a: b\nc: d"], "control characters"),
        (2, ["run", *options, "--out", shop.out, "--token-env", "NO_SUCH_VARIABLE"], "holds no NO_SUCH_VARIABLE"),
        (2, ["run", *options, "--out", shop.out, "--ca", tmp_path / "lost.pem"], "can't be read as certificates"),
        (2, ["run", *options, "--out", shop.out, "--limit", "0"], "0 is not above 0"),
        (2, ["run", *options, "--out", shop.out, "--min-score", "nan"], "nan is no number"),
        (2, ["run", *options, "--out", shop.out, "--in-flight", "0"], "0 is below 1"),
        (2, ["run", *options, "--out", shop.out, "--bind", "seed"], "is not NODE.INPUT=VALUE"),
        (2, ["run", *options, "--out", shop.out, "--bind", "Save.x={seed}"], "SaveImage has no input 'x'"),
        (2, ["run", *options, "--out", shop.out, "--output", "a/b=Save"], "becomes a part of file names"),
        (2, ["run", *shop.options("localhost:8188"), "--out", shop.out], "is no server's address"),
        (2, ["status", tmp_path], "There is no ledger"),
        (2, ["report", tmp_path], "There is no ledger"),
        (2, ["status", tmp_path, "--ledger", tmp_path / "lines.jsonl"], "is no ledger"),
    ):
        said = call(*words)
        assert said.code == code, said.lines
        assert message in said.lines[-1], said.lines
        assert sum(message in line for line in said.lines) == 1
    said = call("run", tmp_path / "lines.jsonl", *others, "--out", shop.out)
    assert said.code == 0 and said.once("done, ") == "0 done, 0 without a picture, 0 left, 0 bad rows"


def test_a_catalogue_and_its_results_may_lie_in_a_store(call, shop: Shop, server: StandIn) -> None:  # type: ignore[no-untyped-def]
    from catalogue.folder import Folder

    store = Folder("memory://shop")
    for path in shop.write().folder.iterdir():
        store.write(path.name, path.read_bytes())
    options = ["memory://shop/products.csv", *shop.options(server.url)[1:], "--ledger", shop.folder / "ledger.sqlite3"]
    assert call("check", options[0]).lines[-1] == "products.csv: 8 good rows, 0 bad ones"
    said = call("run", *options, "--out", "memory://results")
    assert said.code == 0 and said.once("done, ").startswith("8 done")
    out = Folder("memory://results")
    table = out.get("results.csv").decode().splitlines()
    assert len(table) == 9 and all(out.has(line.split(",")[3]) for line in table[1:])
    beside = json.loads(out.get(table[1].split(",")[3].replace(".png", ".json")))
    assert beside["files"]["picture"] == table[1].split(",")[3]
    before = server.told()["executions"]
    assert call("run", *options, "--out", "memory://results").code == 0 and server.told()["executions"] == before


def test_a_terminal_that_lacks_letters(
    shop: Shop, server: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """LANG=C: a message still comes, with the letters' numbers."""
    shop.rows[0] |= {"category": "靴", "image": "靴.png"}
    with (tmp_path / "said").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert main(["check", str(shop.write().catalogue)]) == 1
    assert "\\u9774.png is not in" in (tmp_path / "said").read_text()
