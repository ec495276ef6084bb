"""Paint backgrounds for a folder of product photographs in a real ComfyUI: `make demo [PHOTOS=dir] [OUT=dir]`.

Leaves output/demo/: a picture and a mask for each photograph, contact_sheet.jpg and report.json.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from catalogue.client import ComfyClient
from catalogue.graph import find_node, load_graph, with_inputs
from catalogue.protocol import ComfyError, Graph, Unreachable

from .comfyui import PHOTOS, ROOT, ComfyServer, HostError, stop_on_sigterm
from .fidelity import FidelityError, Placement, measure_product
from .photos import Product, list_products
from .results import MASKS, Results, check_folder, prepare_folder

GRAPH = ROOT / "workflows" / "api" / "product_background.json"

# A product that is opaque on less of its box was mostly cut away (or is a very thin one): worth a look.
SMALL_SHARE = 0.2


def paint(client: ComfyClient, graph: Graph, product: Product, out: Path) -> dict[str, Any]:
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
    mask = out / MASKS / f"{product.name}.png"
    mask.parent.mkdir(exist_ok=True)
    for title, path in (("Save picture", picture), ("Save product mask", mask)):
        (file,) = result.images(find_node(graph, title))
        path.write_bytes(client.download(file))
    seconds = time.monotonic() - started
    placement = Placement.parse(result.text(find_node(graph, "Placement")))
    measured = measure_product(product.photo, picture, mask, placement)
    with Image.open(picture) as image:
        canvas = list(image.size)
    return {
        "file": picture.name,
        "photo": os.path.relpath(product.photo.parent.resolve() / product.photo.name, out.resolve()),
        "mask": f"{MASKS}/{mask.name}",
        "seconds": round(seconds, 2),
        "canvas": canvas,
        "category": product.category,
        "product_max_abs_error": measured.max_abs_error,
        "opaque_share": measured.opaque_share,
        "source_box": placement.source_box,
        "placed_box": placement.placed_box,
        "prompt": product.prompt,
        "seed": product.seed,
    }


def paint_all(client: ComfyClient, products: list[Product], results: Results, console: Console) -> None:
    """Paint every product. The report is complete after each; an `Unreachable` server ends the run."""
    graph = load_graph(GRAPH)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
    )
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("", total=len(products))
        for index, product in enumerate(products):
            progress.update(task, description=product.name)
            try:
                entry = paint(client, graph, product, results.folder)
            except Unreachable as error:
                results.failures |= {left.photo.name: str(error) for left in products[index:]}
                raise
            except (ComfyError, FidelityError) as error:
                results.failures[product.photo.name] = str(error)
                console.print(f"  {product.name}: FAILED. {error}", style="red", markup=False)
            else:
                results.pictures.append(entry)
                measured = f"largest error on the product {entry['product_max_abs_error']}"
                console.print(f"  {product.name}: {entry['seconds']:.1f} s, {measured}", markup=False)
            finally:
                results.write()
            progress.advance(task)


def demonstrate(client: ComfyClient, folder: Path, out: Path, console: Console) -> int:
    """Paint a folder of photographs into `out`; returns the exit code, 0 only if every product came out unchanged."""
    products = list_products(folder)
    prepare_folder(out, folder)
    stats = client.system_stats()
    version, device = stats["system"]["comfyui_version"], stats["devices"][0]["name"]
    console.print(f"ComfyUI {version} is up on {device}; {len(products)} photographs to do.", markup=False)
    results = Results(out, {"comfyui": version, "machine": f"{machine()}, device {device}"})
    results.write()
    try:
        paint_all(client, products, results, console)
    finally:
        results.write_contact_sheets()
        summarise(results, console)
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
    with ComfyServer() as server, ComfyClient(server.url) as client:
        try:
            return demonstrate(client, folder, out, console)
        except Unreachable as error:
            ended = "does not answer" if server.exit_code is None else f"ended (exit code {server.exit_code})"
            raise HostError(server.with_log(f"ComfyUI {ended} in the middle of the work.")) from error


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
