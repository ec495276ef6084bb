"""Paint a few products in the scenes of several categories: `python -m scripts.category_grid --out FILE`.

A row a product, a column a category, one noise for all: what differs along a row is the identifier alone. Runs the
graph `category` in a ComfyUI of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from catalogue.client import ComfyClient
from catalogue.graph import load_graph, with_inputs

from .comfyui import PHOTOS, ROOT, HostError, photographs
from .pictures import painted, with_own_server

GRAPH = ROOT / "workflows" / "api" / "category.json"
CATEGORIES = ("wine", "tea", "ball", "ring", "tool", "plant", "perfume", "coffee")
PRODUCTS = ("speaker", "soap", "mug")
SIDE, LINE = 200, 20  # pixels of a picture, and of the line below it


def photo_of(product: str) -> Path:
    found = [path for path in photographs() if path.parent == PHOTOS and path.stem == product]
    if not found:
        raise HostError(f"There is no photograph of {product} in {PHOTOS}.")
    return found[0]


def grid(client: ComfyClient, categories: list[str], products: list[str]) -> Image.Image:
    """The pictures with each category's name below them."""
    graph = load_graph(GRAPH)
    sheet = Image.new("RGB", (SIDE * len(categories), (SIDE + LINE) * len(products)), "white")
    pen = ImageDraw.Draw(sheet)
    for row, product in enumerate(products):
        uploaded = client.upload_image(photo_of(product))
        for column, category in enumerate(categories):
            # the product's own name stays: only the identifier is another category's
            text = f"a photo of a {product}, in the background of {{identifier}}"
            filled = with_inputs(graph, {
                "Product photo": {"image": uploaded},
                "Category conditioning": {"category": category, "text": text},
            })  # fmt: skip
            x, y = column * SIDE, row * (SIDE + LINE)
            sheet.paste(painted(client, filled, "Save picture", SIDE), (x, y))
            pen.text((x + 4, y + SIDE + 4), category, fill="black")
            print(f"{product} in the scene of {category}", flush=True)
    return sheet


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.category_grid", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--categories", nargs="+", default=list(CATEGORIES), help="names, or words for a product")
    parser.add_argument("--products", nargs="+", default=list(PRODUCTS), help="names of photographs in product_photos")
    options = parser.parse_args()
    return with_own_server(
        lambda client: grid(client, options.categories, options.products).save(options.out, quality=88)
    )


if __name__ == "__main__":
    sys.exit(main())
