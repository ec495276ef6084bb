"""The report and the table: complete, and harmless whatever the rows say."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalogue.folder import Folder
from catalogue.job import Job
from catalogue.ledger import FAILED, Ledger
from catalogue.protocol import ComfyError
from catalogue.report import write_report, write_table
from catalogue.run_one import Outcome
from tests.catalogue.shop import photo

NASTY = [
    "<script>alert(1)</script>", "</script><img src=x onerror=alert(1)>", "<!--<script>", '" onmouseover="x',
    "__COUNT__", "__DATA__", "&lt;b&gt;", "\\u003cscript>", "line\u2028end", "👩‍👩‍👧", "=HYPERLINK(1)",
]  # fmt: skip


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.data = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if data.startswith('{"rows"'):
            self.data = data


def finished(ledger: Ledger, out: Path, ids: list[str], output: str = "picture") -> None:
    (out / "pictures").mkdir(parents=True)
    ledger.want((Job(text, 0, line, line, {"category": text}), "s") for line, text in enumerate(ids, 2))
    for number, entry in enumerate(ledger.waiting(99)):
        path = f"pictures/{number}.png"
        (out / path).write_bytes(photo(number, size=(600, 300)))
        made = Outcome(f"k{number}", 100 + number, "i", 1.0, number / 10, {output: path})
        ledger.done(entry, made, "http://a/<b>")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "out" / "ledger.sqlite3") as opened:
        yield opened


def test_the_page_holds_every_row_as_data(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(ledger, out, [*NASTY, "lost"])
    lost = next(entry for entry in ledger.entries("done") if entry.job.product == "lost")
    ledger.ended(lost, FAILED, "<script>alert(2)</script>")
    path = write_report(ledger, Folder(out))
    page = Page(path.read_text())
    assert page.tags.count("script") == 2 and "img" not in page.tags
    data = json.loads(page.data)
    assert [row[0] for row in data["rows"]] == NASTY == [row[2] for row in data["rows"]]
    assert data["failures"] == [[13, "lost", "failed", "<script>alert(2)</script>"]]
    assert f"<h1>{len(NASTY)} done, 1 failed</h1>" in path.read_text()
    script = path.read_text().rpartition("<script>")[2]
    assert "innerHTML" not in script and "outerHTML" not in script and "document.write" not in script
    for row in data["rows"]:
        assert (out / row[3]).is_file() and re.fullmatch("[A-Za-z0-9_./-]+", row[3] + row[4])
        with Image.open(out / row[4]) as thumbnail:
            assert thumbnail.size == (256, 128)


def test_thumbnails_are_made_once(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(ledger, out, ["a", "b"])
    seen: list[int] = []
    write_report(ledger, Folder(out), lambda: seen.append(1))
    before = {path: path.stat().st_mtime_ns for path in (out / "thumbnails").iterdir()}
    write_report(ledger, Folder(out))
    assert {path: path.stat().st_mtime_ns for path in (out / "thumbnails").iterdir()} == before and len(before) == 2
    assert len(seen) == 2


def test_pictures_that_are_gone_or_broken_do_not_stop_the_report(ledger: Ledger, tmp_path: Path) -> None:
    out = tmp_path / "out"
    finished(ledger, out, ["a", "b", "c"])
    (out / "pictures" / "0.png").unlink()
    content = (out / "pictures" / "1.png").read_bytes()
    (out / "pictures" / "1.png").write_bytes(content[:40] + b"\xff" * 40 + content[80:])
    data = json.loads(Page(write_report(ledger, Folder(out)).read_text()).data)
    assert [bool(row[4]) for row in data["rows"]] == [False, False, True]
    assert sorted(path.name for path in (out / "thumbnails").iterdir()) == ["2.jpg"]


def test_an_output_of_another_name(ledger: Ledger, tmp_path: Path) -> None:
    """The first one is the picture, whatever it is called."""
    out = tmp_path / "out"
    finished(ledger, out, ["a"], output="front")
    write_table(ledger, Folder(out))
    data = json.loads(Page(write_report(ledger, Folder(out)).read_text()).data)
    assert data["rows"][0][3] == "pictures/0.png" and data["rows"][0][4]
    assert "pictures/0.png" in (out / "results.csv").read_text()


def test_the_table_reads_back(ledger: Ledger, tmp_path: Path) -> None:
    finished(ledger, tmp_path / "out", [*NASTY, 'a "b", c\nd'])
    folder = Folder("memory://table")
    write_table(ledger, folder)
    rows = list(csv.DictReader(io.StringIO(folder.get("results.csv").decode(), newline="")))
    assert [row["id"] for row in rows] == [*NASTY, 'a "b", c\nd']
    assert rows[0] == {
        "id": NASTY[0], "variant": "0", "state": "done", "picture": "pictures/0.png", "score": "0", "seed": "100",
        "seconds": "1", "server": "http://a/<b>", "error": "",
    }  # fmt: skip
    with pytest.raises(ComfyError, match="is a store"):
        write_report(ledger, folder)
