"""Paint backgrounds for a folder of product photographs in a real ComfyUI: `make demo [PHOTOS=dir]`.

Leaves output/demo/: a picture and a mask for each photograph, contact_sheet.jpg and report.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import shutil
import signal
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from catalogue.client import ComfyClient, ComfyError, Graph
from catalogue.graph import find_node, load_graph, with_inputs

from .comfyui import ROOT, ComfyServer, HostError
from .contact_sheet import SheetRow, contact_sheet
from .fidelity import FidelityError, Placement, product_max_abs_error

PHOTO_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp")
GRAPH = ROOT / "workflows" / "api" / "product_background.json"
SEED = 20240601

# Scenes for photographs that come without a description, in words that the demonstration base was trained on.
SCENES = (
    "on a light oak table, a sage green wall, soft daylight from the left, with green leaves",
    "on white marble, a blush pink wall, soft light from the right, with scattered petals",
    "on a dark walnut table, kitchen shelves, warm evening light",
    "on grey concrete, a seamless sky blue backdrop, hard sunlight from the left",
    "on natural linen, a cream wall, sunlight through a window, with a vase with twigs",
    "on a slate counter, a forest green tiled wall, even studio light, with lemons",
)


@dataclass(frozen=True)
class Product:
    photo: Path
    name: str
    category: str
    prompt: str
    seed: int


def list_products(folder: Path) -> list[Product]:
    """Every photograph of a folder, with category and prompt from its photos.csv where that names them."""
    if not folder.is_dir():
        raise ComfyError(f"There is no folder {folder}.")
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in PHOTO_SUFFIXES)
    if not photos:
        raise ComfyError(f"No photographs in {folder}; looked for {', '.join(PHOTO_SUFFIXES)}.")
    described = read_descriptions(folder)
    if strangers := described.keys() - {photo.name for photo in photos}:
        raise ComfyError(f"photos.csv names files that are not in {folder}: {', '.join(sorted(strangers))}.")
    stems = Counter(photo.stem for photo in photos)
    products = []
    for index, photo in enumerate(photos):
        row = described.get(photo.name, {})
        name = photo.stem if stems[photo.stem] == 1 else photo.name.replace(".", "-")
        prompt = row.get("prompt") or f"a photo of a product {SCENES[index % len(SCENES)]}"
        products.append(Product(photo, name, row.get("category") or "unknown", prompt, SEED + index))
    return products


def read_descriptions(folder: Path) -> dict[str, dict[str, str]]:
    """photos.csv (columns file, category, prompt) in the folder or beside it; there may be none."""
    for path in (folder / "photos.csv", folder.parent / "photos.csv"):
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                return {row["file"]: row for row in csv.DictReader(file)}
    return {}


def paint(client: ComfyClient, graph: Graph, product: Product, out: Path, folder: Path) -> dict[str, Any]:
    """Queue one photograph, save its picture and mask, measure the product; returns the report's entry."""
    started = time.monotonic()
    uploaded = client.upload_image(product.photo)
    filled = with_inputs(
        graph,
        {
            "Product photo": {"image": uploaded},
            "Background prompt": {"text": product.prompt},
            "Sampler": {"seed": product.seed},
        },
    )
    result = client.run(filled)
    picture = out / f"{product.name}.png"
    mask = out / f"{product.name}_mask.png"
    for title, path in (("Save picture", picture), ("Save product mask", mask)):
        (file,) = result.images(find_node(graph, title))
        path.write_bytes(client.download(file))
    seconds = time.monotonic() - started
    placement = Placement.parse(result.text(find_node(graph, "Placement")))
    with Image.open(picture) as image:
        canvas = list(image.size)
    return {
        "file": picture.name,
        "photo": os.path.relpath(product.photo, folder),
        "mask": mask.name,
        "seconds": round(seconds, 2),
        "canvas": canvas,
        "category": product.category,
        "product_max_abs_error": product_max_abs_error(product.photo, picture, mask, placement),
        "source_box": placement.source_box,
        "placed_box": placement.placed_box,
        "prompt": product.prompt,
        "seed": product.seed,
    }


def machine() -> str:
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores, Python {platform.python_version()}"


def paint_all(
    client: ComfyClient, products: list[Product], folder: Path, out: Path, console: Console
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Paint every product; returns the report's entries, and the reasons of those that failed by photograph."""
    graph = load_graph(GRAPH)
    entries: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(products))
        for product in products:
            progress.update(task, description=product.name)
            try:
                entry = paint(client, graph, product, out, folder)
            except (ComfyError, FidelityError) as error:
                failures[product.photo.name] = str(error)
                console.print(f"  {product.name}: FAILED. {error}", style="red", markup=False)
            else:
                entries.append(entry)
                measured = f"largest error on the product {entry['product_max_abs_error']}"
                console.print(f"  {product.name}: {entry['seconds']:.1f} s, {measured}", markup=False)
            progress.advance(task)
    return entries, failures


def demonstrate(client: ComfyClient, folder: Path, out: Path, console: Console) -> int:
    """Paint a folder of photographs into `out`; returns the exit code, 0 only if every product came out unchanged."""
    products = list_products(folder)
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    stats = client.system_stats()
    version, device = stats["system"]["comfyui_version"], stats["devices"][0]["name"]
    console.print(f"ComfyUI {version} is up on {device}; {len(products)} photographs to do.", markup=False)
    entries, failures = paint_all(client, products, folder, out, console)
    report = {
        "pictures": entries,
        "comfyui": version,
        "machine": f"{machine()}, device {device}",
        "failures": failures,
        "note": "seconds are from upload to saved picture; the first picture includes loading the models",
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    if entries:
        rows = [SheetRow.from_report(entry, folder, out) for entry in entries]
        contact_sheet(rows).save(out / "contact_sheet.jpg", quality=90)
    console.print(
        f"{len(entries)} pictures, contact_sheet.jpg and report.json are in {os.path.relpath(out)}", markup=False
    )
    changed = [entry["file"] for entry in entries if entry["product_max_abs_error"] != 0]
    if changed:
        console.print(f"The product was changed in {', '.join(changed)}.", style="red", markup=False)
    for name, reason in failures.items():
        console.print(f"No picture for {name}: {reason}", style="red", markup=False)
    return 1 if failures or changed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Paint backgrounds for product photographs in a real ComfyUI.")
    parser.add_argument("--photos", type=Path, default=ROOT / "examples" / "photos", help="folder of photographs")
    parser.add_argument("--out", type=Path, default=ROOT / "output" / "demo", help="where the results go")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped then, too
    console = Console(highlight=False, soft_wrap=True)
    console.print("Starting ComfyUI (about 10 s) ...")
    try:
        with ComfyServer() as server, ComfyClient(server.url) as client:
            return demonstrate(client, arguments.photos, arguments.out, console)
    except (ComfyError, HostError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
