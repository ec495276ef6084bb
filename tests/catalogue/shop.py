"""A small catalogue with pictures, and a run over it in this process."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from catalogue.bindings import Binding
from catalogue.fleet import Fleet
from catalogue.ledger import Entry, Ledger
from catalogue.plan import Plan
from catalogue.runner import Runner
from tests.catalogue.standin import StandIn
from tests.catalogue.standin_engine import Habits
from tests.catalogue.standin_graph import BINDINGS, colour_of, example_graph

Row = dict[str, Any]


def photo(number: int = 0, kind: str = "PNG", size: tuple[int, int] = (24, 16)) -> bytes:
    """A picture of one colour, another one for each number."""
    colour = (number * 37 % 256, number // 256 % 256, number % 256)
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, kind)
    return content.getvalue()


class Shop:
    """A folder with a catalogue, its pictures and its workflow."""

    def __init__(self, folder: Path, products: int = 0) -> None:
        self.folder, self.out = folder, folder / "out"
        self.rows = [{"id": f"p{number}", "image": f"{number}.png", "category": "shoe"} for number in range(products)]
        self.graph = example_graph()
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(products):
            (folder / f"{number}.png").write_bytes(photo(number))

    @property
    def catalogue(self) -> Path:
        return self.folder / "products.csv"

    @property
    def workflow(self) -> Path:
        return self.folder / "graph.json"

    def write(self) -> Shop:
        columns = list(dict.fromkeys(["id", "image", "category", *(name for row in self.rows for name in row)]))
        with self.catalogue.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        self.workflow.write_text(json.dumps(self.graph))
        return self

    def plan(self, *, bind: tuple[str, ...] = (), outputs: dict[str, str] | None = None, **options: Any) -> Plan:
        bindings = [Binding.parse(text) for text in bind]
        bindings += [Binding.parse(text) for text in BINDINGS if "prompt" not in text]
        bindings.append(Binding.of("Prompt.text", "{prompt}", otherwise="a photo of a {category}"))
        return Plan(
            str(self.folder), self.catalogue.name, str(self.out), self.graph, tuple(bindings), outputs or {}, **options
        )

    def options(self, *servers: str) -> list[str]:
        """For the command line, after the command."""
        words = [str(self.catalogue), "--workflow", str(self.workflow)]
        for text in BINDINGS:
            words += ["--bind", text]
        for url in servers:
            words += ["--server", url]
        return words

    def entries(self) -> dict[str, Entry]:
        with Ledger(self.ledger, read_only=True) as ledger:
            states = ("pending", "submitted", "done", "failed", "refused", "bad")
            return {f"{e.job.product}/{e.job.variant}": e for e in ledger.entries(*states)}

    @property
    def ledger(self) -> Path:
        return self.out / "ledger.sqlite3"

    def pictures(self) -> list[str]:
        return sorted(path.name for path in (self.out / "pictures").glob("*.png"))


def check_pictures(shop: Shop) -> None:
    """Every done entry has its picture, painted from its own photo, prompt and seed."""
    for entry in shop.entries().values():
        if entry.state != "done":
            continue
        with Image.open(shop.out / entry.files["picture"]) as image:
            text = entry.job.values.get("prompt") or f"a photo of a {entry.job.category}"
            content = (shop.folder / entry.job.files["image"]).read_bytes()
            assert image.getpixel((3, 3)) == colour_of(content, text, entry.seed)
            assert json.loads(image.info["product_background"])["id"] == entry.job.product
    assert len(shop.pictures()) == sum(entry.state == "done" for entry in shop.entries().values())


class Heard:
    """A display that keeps what it was told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, counts: Mapping[str, int], servers: int) -> None:
        pass


async def run(shop: Shop, *urls: str, heard: Heard | None = None, fleet: Row | None = None, **plan: Any) -> Row:
    """Run the catalogue to its end. Returns the number of jobs by state."""
    shop.write()
    with Ledger(shop.ledger) as ledger:
        runner = Runner(shop.plan(**plan), ledger, Fleet(urls, **(fleet or {})), heard or Heard())
        return await asyncio.wait_for(runner.run(), 60)


@contextmanager
def standing(habits: Habits | None = None) -> Iterator[StandIn]:
    """A stand-in in a thread of its own, for what runs an event loop itself."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    server: list[StandIn] = []

    async def serve() -> None:
        async with StandIn(habits) as running:
            server.append(running)
            started.set()
            await stop.wait()

    stop = asyncio.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield server[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
