"""Hundreds of malformed catalogues, pictures and workflows: each is named, none is a traceback or stops the rest."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalogue.__main__ import main
from catalogue.folder import Folder
from catalogue.protocol import ComfyError
from catalogue.rows import Problem, read_rows
from tests.catalogue import fuzz_cases as cases
from tests.catalogue.shop import Shop, photo, standing
from tests.catalogue.standin import StandIn

MORE = (
    "Sampler.steps={steps}",
    "Sampler.cfg={cfg}",
    "Sampler.sampler={sampler}",
    "Sampler.tiled={tiled}",
    "Sampler.size={size}",
)
COUNTED: Counter[str] = Counter()


@pytest.fixture(scope="module")
def server() -> Iterator[StandIn]:
    with standing() as running:
        yield running


@pytest.fixture
def stock(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    (shop.folder / "good.png").write_bytes(photo(1))
    return shop


def call(capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
    capfd.readouterr()
    code = main([str(word) for word in words])
    out, err = capfd.readouterr()
    assert not re.search(r"Traceback|^\w+Error: ", out + err, flags=re.MULTILINE), (out + err)[-2000:]
    return code, out + err


def csv_of(rows: list[dict[str, Any]]) -> bytes:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def told(said: str) -> Counter[int]:
    return Counter(int(line) for line in re.findall(r"^line (\d+)[ :]", said, flags=re.MULTILINE))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows(stock: Shop, server: StandIn, capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """Good and bad rows by turns: each bad one is told by its line, each good one gets its picture."""
    rows, bad = [], set()
    changes = [*(("id", text) for text in cases.GOOD_IDS), *cases.BAD_CELLS, *cases.UNFIT_CELLS]
    if kind == "csv":  # where all is text, and a row with a line feed would have two lines
        changes = [(column, cell) for column, cell in changes if isinstance(cell, str) and "\ud800" not in cell]
        changes = [(column, cell) for column, cell in changes if "\n" not in cell and "\r" not in cell]
    for number, (column, cell) in enumerate(changes):
        rows.append({"id": f"row{number}", "image": "good.png", "category": "shoe", "seed": number, column: cell})
        if number >= len(cases.GOOD_IDS):
            bad.add(number + (2 if kind == "csv" else 1))
    path = stock.folder / f"products.{kind}"
    path.write_bytes(csv_of(rows) if kind == "csv" else "\n".join(map(json.dumps, rows)).encode())
    COUNTED[kind] = len(bad)
    options = [path, *stock.write().options(server.url)[1:], *(word for text in MORE for word in ("--bind", text))]
    path.write_bytes(csv_of(rows) if kind == "csv" else "\n".join(map(json.dumps, rows)).encode())
    code, said = call(capfd, "check", *options)
    assert code == 1 and told(said) == Counter(bad)
    code, said = call(capfd, "run", *options, "--out", stock.out)
    assert code == 1 and told(said) == Counter(bad)
    assert len(stock.pictures()) == len(cases.GOOD_IDS)
    assert call(capfd, "report", stock.out)[0] == 0


def test_files(stock: Shop, server: StandIn, capfd: pytest.CaptureFixture[str]) -> None:
    good = cases.good_rows(20)
    files = list(cases.catalogue_files(csv_of(good)))
    COUNTED["files"] = len(files)
    options = stock.write().options(server.url)[1:]
    for number, (name, content) in enumerate(files):
        path = stock.folder / name
        path.write_bytes(content)
        code, said = call(capfd, "check", path)
        lines = said.splitlines()
        if code == 2:
            assert len(lines) == 1 and name in lines[0] and lines[0].isprintable(), (name, said)
            continue
        assert re.match(rf"{re.escape(name)}: \d+ good rows, \d+ bad ones$", lines[-1]), (name, said)
        assert code == (len(lines) > 1) and len(told(said)) == len(lines) - 1, (name, said)
        whole = content.startswith(b"id,image,category,prompt,seed\r\n") or name.endswith(".jsonl")
        if whole and re.match(r"\d+\.(csv|jsonl)", name) and number % 48 >= 12:
            assert int(lines[-1].split()[1]) >= 13, (name, said)  # a few turned bits cost a few rows
        if number % 10 == 0:
            code, said = call(capfd, "run", path, *options, "--out", stock.folder / f"out{number}")
            found = re.search(r"^(\d+) done, 0 without a picture, 0 left", said, flags=re.MULTILINE)
            assert found and found.group(1) == lines[-1].split()[1], (name, said)


def test_pictures(stock: Shop, server: StandIn, capfd: pytest.CaptureFixture[str]) -> None:
    bad, flipped = list(cases.bad_pictures()), list(cases.flipped_pictures())
    for name, content in bad + flipped:
        (stock.folder / name).write_bytes(content)
    outside = stock.folder.parent / "outside.png"
    outside.write_bytes(photo(2))
    (stock.folder / "out.png").symlink_to(outside)
    (stock.folder / "way").symlink_to(stock.folder.parent)
    (stock.folder / "round.png").symlink_to("round.png")
    (stock.folder / "dangling.png").symlink_to("lost.png")
    os.mkfifo(stock.folder / "pipe.png")
    (stock.folder / "folder.png").mkdir()
    with (stock.folder / "huge.png").open("wb") as file:
        file.truncate(10**11)
    names = [name for name, _ in bad]
    names += [
        "out.png",
        "way/outside.png",
        "round.png",
        "dangling.png",
        "pipe.png",
        "folder.png",
        "huge.png",
        "lost.png",
    ]
    names += ["GOOD.PNG", "good.png/x", "n" * 300 + ".png", "good.png ."]
    COUNTED["pictures"] = len(names) + len(flipped)
    for number, name in enumerate([*names, *(name for name, _ in flipped)]):
        stock.rows.append({"id": f"bad{number}", "image": name, "category": "shoe"})
        stock.rows.append({"id": f"good{number}", "image": "good.png", "category": "shoe"})
    options = stock.write().options(server.url)
    lines = {2 * number + 2: name for number, name in enumerate(names)}
    for command in (["check", *options], ["run", *options, "--out", stock.out]):
        code, said = call(capfd, *command)
        heard = told(said)
        assert code == 1 and lines.keys() <= heard.keys() and set(heard.values()) == {1}
        assert all(line % 2 == 0 and line < 2 * len(stock.rows) + 2 for line in heard), "no good row is spoken of"
        for line, name in lines.items():
            (text,) = re.findall(rf"^line {line} .*$", said, flags=re.MULTILINE)
            assert name in text, text
    states = Counter(entry.state for entry in stock.entries().values())
    assert states["done"] >= len(stock.rows) / 2 and states["pending"] == states["submitted"] == 0
    assert len(stock.pictures()) == states["done"]


def test_workflows(stock: Shop, server: StandIn, capfd: pytest.CaptureFixture[str]) -> None:
    stock.rows = cases.good_rows(2)
    options = stock.write().options(server.url)
    assert call(capfd, "check", *options)[0] == 0
    whole = stock.workflow.read_bytes()
    bad = [text.encode() for text in cases.bad_workflows()]
    mutated = list(cases.mutations(whole, 15, 40, 8))
    COUNTED["workflows"] = len(bad) + len(mutated)
    before = server.told()["prompts"]
    for number, content in enumerate([*bad, *mutated]):
        stock.workflow.write_bytes(content)
        code, said = call(capfd, "check", *options)
        assert number >= len(bad) or code != 0, content[:200]
        if code:
            *_, line = [line for line in said.splitlines() if "good rows" not in line and "No binding" not in line]
            assert "graph.json" in line or server.url in line, (content[:200], said)
            assert len(said) < 5000
    assert server.told()["prompts"] == before, "nothing was queued"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=30),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
COLUMNS = ("id", "image", "category", "mask", "seed", "variants", "width", "prompt", "colour")


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(st.fixed_dictionaries({}, optional=dict.fromkeys(COLUMNS, ANYTHING)), min_size=1, max_size=8))
def test_any_json(rows: list[dict[str, Any]]) -> None:
    COUNTED["any"] += 1
    folder = Folder("memory://fuzz")
    folder.write("a.jsonl", "\n".join(map(json.dumps, rows)).encode())
    found = list(read_rows(folder, "a.jsonl"))
    assert [each.line if isinstance(each, Problem) else each[0] for each in found] == list(range(1, len(rows) + 1))
    for each in found:
        text = (
            str(each)
            if isinstance(each, Problem)
            else json.dumps(each[1].values(), ensure_ascii=False, allow_nan=False)
        )
        assert text.encode() and len(text) < 5000


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.booleans())
def test_any_bytes(content: bytes, headed: bool) -> None:
    COUNTED["any"] += 1
    folder = Folder("memory://fuzz")
    folder.write("a.csv", b"id,image,category\n" * headed + content)
    try:
        found = list(read_rows(folder, "a.csv"))
    except ComfyError as error:
        assert not headed and "a.csv" in str(error)
        return
    assert all(str(each).encode() for each in found if isinstance(each, Problem))


def test_there_were_enough() -> None:
    """Without those of hypothesis. (It counts what ran: with -k it can't pass.)"""
    assert sum(number for kind, number in COUNTED.items() if kind != "any") >= 300, COUNTED
