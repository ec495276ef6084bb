"""Paint the graphs' thumbnails again, after weights or graphs changed: `python -m scripts.thumbnails`.

Runs every graph of `workflows/api` as it is, in a ComfyUI of its own, and writes what it shows to `workflows/NAME.jpg`.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from bg_core.files import replacing
from catalogue.client import ComfyClient
from catalogue.graph import load_graph

from .comfyui import ROOT, photographs
from .pictures import painted, with_own_server

GRAPHS = ROOT / "workflows" / "api"
SHOWN = ("Where the identifier acted", "Save picture")
"""Titles of the nodes whose picture tells what a graph is for; the first that a graph has."""
SIDE = 512


def shown_node(graph: dict[str, Any]) -> str:
    """The title of the node whose picture becomes the thumbnail."""
    titles = {node.get("_meta", {}).get("title") for node in graph.values()}
    return next(title for title in SHOWN if title in titles)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m scripts.thumbnails", description=__doc__)
    parser.add_argument("--graphs", nargs="+", help="names of graphs (all)")
    options = parser.parse_args()
    paths = sorted(path for path in GRAPHS.glob("*.json") if not options.graphs or path.stem in options.graphs)

    def work(client: ComfyClient) -> None:
        for photo in photographs():
            client.upload_image(photo, subfolder="")
        for path in paths:
            graph, target = load_graph(path), GRAPHS.parent / f"{path.stem}.jpg"
            picture = painted(client, graph, shown_node(graph), SIDE)
            with replacing(target) as temporary:
                picture.save(temporary, "JPEG", quality=85)
            print(target.relative_to(ROOT), flush=True)

    return with_own_server(work)


if __name__ == "__main__":
    sys.exit(main())
