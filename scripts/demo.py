"""Paint backgrounds for a folder of product photographs in a real ComfyUI: `make demo [PHOTOS=dir] [OUT=dir]`.

Leaves output/demo/: a picture and a mask for each photograph, contact_sheet.jpg and report.json. The photographs run
through the catalogue's runner, as thousands would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from catalogue.bindings import read_workflow
from catalogue.display import RunDisplay
from catalogue.fleet import Fleet
from catalogue.ledger import BAD, DONE, FAILED, PENDING, REFUSED, SUBMITTED, Entry, Ledger
from catalogue.plan import Plan
from catalogue.protocol import ComfyError
from catalogue.rows import Row
from catalogue.runner import Runner
from catalogue.server import Server

from .comfyui import PHOTOS, ROOT, ComfyServer, HostError, stop_on_sigterm
from .fidelity import FidelityError, Placement, measure_product
from .photos import Product, list_products
from .results import MASKS, RUN, Results, check_folder, prepare_folder

GRAPH = ROOT / "workflows" / "api" / "product_background.json"

# A product that is opaque on less of its box was mostly cut away (or is a very thin one): worth a look.
SMALL_SHARE = 0.2
PATIENCE = 20.0  # seconds; a server of our own that is silent for longer won't come back


class Collector:
    """Takes each finished picture out of the catalogue's run, measures it, and keeps the report complete."""

    def __init__(self, products: list[Product], results: Results, ledger: Ledger, display: RunDisplay) -> None:
        self.products = {product.name: product for product in products}
        self.results, self.ledger, self.display = results, ledger, display
        self._seen: set[str] = set()

    def say(self, text: str) -> None:
        self.display.say(text)

    def progress(self, counts: Mapping[str, int], servers: int) -> None:
        self.display.progress(counts, servers)
        self.collect(DONE, FAILED, REFUSED, BAD)

    def collect(self, *states: str) -> None:
        for entry in self.ledger.entries(*states):
            if entry.job.product in self._seen:
                continue
            self._seen.add(entry.job.product)
            product = self.products[entry.job.product]
            if entry.state != DONE:
                self.fail(product, entry.error or "it was not painted: the run was stopped")
                continue
            try:
                found = collected(product, entry, self.results.folder)
            except (FidelityError, OSError) as error:
                self.fail(product, str(error))
                continue
            self.results.pictures.append(found)
            measured = f"largest error on the product {found['product_max_abs_error']}"
            self.display.say(f"  {product.name}: {found['seconds']:.1f} s, {measured}")
            self.results.write()

    def fail(self, product: Product, reason: str) -> None:
        self.results.failures[product.photo.name] = reason
        self.results.write()


def collected(product: Product, entry: Entry, out: Path) -> dict[str, Any]:
    """Move a finished picture and its mask to their place and measure the product; returns the report's entry."""
    run = out / RUN
    beside = json.loads((run / entry.files["picture"]).with_suffix(".json").read_text(encoding="utf-8"))
    picture, mask = out / f"{product.name}.png", out / MASKS / f"{product.name}.png"
    mask.parent.mkdir(exist_ok=True)
    shutil.copyfile(run / entry.files["picture"], picture)
    shutil.copyfile(run / entry.files["mask"], mask)
    placement = Placement.parse(beside["texts"]["placement"])
    measured = measure_product(product.photo, picture, mask, placement)
    with Image.open(picture) as image:
        canvas = list(image.size)
    return {
        "file": picture.name,
        "photo": os.path.relpath(product.photo.parent.resolve() / product.photo.name, out.resolve()),
        "mask": f"{MASKS}/{mask.name}",
        "seconds": round(beside["seconds"], 2),
        "canvas": canvas,
        "category": product.category,
        "product_max_abs_error": measured.max_abs_error,
        "opaque_share": measured.opaque_share,
        "source_box": placement.source_box,
        "placed_box": placement.placed_box,
        "prompt": product.prompt,
        "seed": product.seed,
    }


def rows(products: list[Product]) -> Iterator[tuple[int, Row]]:
    """The photographs as rows of a catalogue."""
    for line, product in enumerate(products, 1):
        cells = {"id": product.name, "image": product.photo.name, "category": product.category}
        yield line, Row.model_validate(cells | {"prompt": product.prompt, "seed": product.seed})


async def about(url: str) -> tuple[str, str]:
    """ComfyUI's version and its device."""
    async with Server(url) as server:
        stats = await server.system_stats()
    return stats["system"]["comfyui_version"], stats["devices"][0]["name"]


def demonstrate(url: str, folder: Path, out: Path, console: Console) -> int:
    """Paint a folder of photographs into `out`; returns the exit code, 0 only if every product came out unchanged."""
    products = list_products(folder)
    prepare_folder(out, folder)
    version, device = asyncio.run(about(url))
    console.print(f"ComfyUI {version} is up on {device}; {len(products)} photographs to do.", markup=False)
    results = Results(out, {"comfyui": version, "machine": f"{machine()}, device {device}"})
    results.write()
    graph, bindings, outputs, _ = read_workflow(GRAPH, None, [], ["placement=Placement"], None)
    plan = Plan(
        str(folder), str(folder), str(out / RUN), graph, bindings, outputs, rows=lambda: rows(products),
    )  # fmt: skip
    with Ledger(out / RUN / "ledger.sqlite3") as ledger, RunDisplay(console) as display:
        collector = Collector(products, results, ledger, display)
        try:
            asyncio.run(Runner(plan, ledger, Fleet((url,), patience=PATIENCE), collector).run())
        finally:
            collector.collect(DONE, FAILED, REFUSED, BAD, PENDING, SUBMITTED)
            results.write_contact_sheets()
            summarise(results, console)
    shutil.rmtree(out / RUN, ignore_errors=True)
    return 1 if results.failures or changed_products(results) else 0


def summarise(results: Results, console: Console) -> None:
    files = ", ".join([f"{len(results.pictures)} pictures", *results.contact_sheets, "report.json"])
    console.print(f"{files} are in {os.path.relpath(results.folder)}", markup=False)
    if changed := changed_products(results):
        console.print(f"The product was changed in {', '.join(changed)}.", style="red", markup=False)
    for entry in results.pictures:
        if entry["opaque_share"] < SMALL_SHARE:
            share = f"only {entry['opaque_share']:.0%} of the product's box is opaque"
            console.print(f"Look at {entry['mask']}: {share}.", style="yellow", markup=False)
    for name, reason in results.failures.items():
        console.print(f"No picture for {name}: {reason}", style="red", markup=False)


def changed_products(results: Results) -> list[str]:
    return [entry["file"] for entry in results.pictures if entry["product_max_abs_error"] != 0]


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, Python {platform.python_version()}"


def demonstrate_with_server(folder: Path, out: Path, console: Console) -> int:
    with ComfyServer() as server:
        try:
            return demonstrate(server.url, folder, out, console)
        except ComfyError as error:
            if server.exit_code is None:
                raise
            ended = f"ComfyUI ended (exit code {server.exit_code}) in the middle of the work."
            raise HostError(server.with_log(ended)) from error


def main() -> int:
    parser = argparse.ArgumentParser(description="Paint backgrounds for product photographs in a real ComfyUI.")
    parser.add_argument("--photos", type=Path, default=PHOTOS, help="folder of photographs")
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "demo", help="where the results go")
    arguments = parser.parse_args()
    stop_on_sigterm()
    console = Console(highlight=False, soft_wrap=True)
    try:
        # Before the server is started: what is wrong with the folders can be said at once.
        list_products(arguments.photos)
        check_folder(arguments.out, arguments.photos)
        console.print("Starting ComfyUI (about 10 s) ...")
        return demonstrate_with_server(arguments.photos, arguments.out, console)
    except (ComfyError, HostError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
