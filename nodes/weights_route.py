"""A route that says which weights a server has: GET /product_background/weights?name=FILE -> {"sha256", "folders"}.

Names of model files mean nothing across machines; a batch over many servers must know that all paint with the same
weights. ComfyUI itself tells a file's name and header only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from typing import TYPE_CHECKING

import folder_paths

from .routes import add_route, answer

if TYPE_CHECKING:
    from aiohttp import web

_known: dict[tuple[str, int, int], str] = {}  # (path, size, time of change) -> SHA-256


def sha256_of(path: str) -> str:
    facts = os.stat(path)
    stamp = (path, facts.st_size, facts.st_mtime_ns)
    if stamp not in _known:
        with open(path, "rb") as file:
            _known[stamp] = hashlib.file_digest(file, "sha256").hexdigest()
    return _known[stamp]


def find(name: str) -> dict[str, str]:
    """Kind of model -> full path, for every model folder that lists a file of this name."""
    kinds = [kind for kind in folder_paths.folder_names_and_paths if kind not in ("custom_nodes", "configs")]
    found = {}
    for kind in kinds:
        # Only files that the folder lists, as its loaders would: no path outside is ever read.
        if name in folder_paths.get_filename_list(kind) and (path := folder_paths.get_full_path(kind, name)):
            found[kind] = path
    return found


async def weights(request: web.Request) -> web.Response:
    name = request.query.get("name", "")
    paths = await asyncio.to_thread(find, name)
    digests = {await asyncio.to_thread(sha256_of, path) for path in sorted(set(paths.values()))}
    if len(digests) != 1:
        reason = f"{len(digests)} model files are called {name!r}"
        return answer({"error": reason}, status=404 if not digests else 409)
    return answer({"sha256": digests.pop(), "folders": sorted(paths)})


def register_weights_route() -> None:
    add_route("/product_background/weights", weights)
