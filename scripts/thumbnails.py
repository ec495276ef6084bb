"""Paint the graphs' thumbnails again, after weights or graphs changed: `python -m scripts.thumbnails`.

Runs every graph of `workflows/api` as it is, in a ComfyUI of its own, and writes what it shows to `workflows/NAME.jpg`.
"""

from __future__ import annotations

import argparse
import io
import sys
from pathlib import Path

from PIL import Image

from bg_core.files import replacing
from catalogue.client import ComfyClient
from catalogue.graph import find_node, load_graph
from catalogue.protocol import ComfyError

from .comfyui import PHOTOS, ROOT, ComfyServer, HostError

GRAPHS = ROOT / "workflows" / "api"
SHOWN = ("Where the identifier acted", "Save picture")
"""Titles of the nodes whose picture tells what a graph is for; the first that a graph has."""
SIDE = 512


def thumbnail(client: ComfyClient, path: Path) -> Image.Image:
    """The picture that the graph at `path` makes, SIDE pixels wide."""
    graph = load_graph(path)
    titles = {node.get("_meta", {}).get("title") for node in graph.values()}
    shown = find_node(graph, next(title for title in SHOWN if title in titles))
    file = client.run(graph).images(shown)[0]
    with Image.open(io.BytesIO(client.download(file))) as picture:
        return picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.thumbnails", description=__doc__)
    parser.add_argument("--graphs", nargs="+", help="names of graphs (all)")
    options = parser.parse_args()
    paths = sorted(path for path in GRAPHS.glob("*.json") if not options.graphs or path.stem in options.graphs)
    try:
        with ComfyServer() as server, ComfyClient(server.url) as client:
            for photo in sorted(PHOTOS.rglob("*.*")):
                if photo.suffix in (".jpg", ".png"):
                    client.upload_image(photo, subfolder="")
            for path in paths:
                target = GRAPHS.parent / f"{path.stem}.jpg"
                picture = thumbnail(client, path)
                with replacing(target) as temporary:
                    picture.save(temporary, "JPEG", quality=85)
                print(target.relative_to(ROOT), flush=True)
    except (ComfyError, HostError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
