"""What commands that paint pictures for the docs share: a ComfyUI of their own, and one picture of a graph's run."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from PIL import Image

from catalogue.client import ComfyClient
from catalogue.graph import find_node
from catalogue.protocol import ComfyError

from .comfyui import ComfyServer, HostError


def painted(client: ComfyClient, graph: dict[str, Any], title: str, side: int) -> Image.Image:
    """The first picture of the node called `title`, after a run of `graph`; `side` pixels wide and high."""
    file = client.run(graph).images(find_node(graph, title))[0]
    with Image.open(io.BytesIO(client.download(file))) as picture:
        return picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)


def with_own_server(work: Callable[[ComfyClient], None]) -> int:
    """Does `work` with a ComfyUI that lives as long as it takes; the exit code, after a message where it went wrong."""
    try:
        with ComfyServer() as server, ComfyClient(server.url) as client:
            work(client)
    except (ComfyError, HostError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0
