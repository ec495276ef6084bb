"""Adds routes to the server that runs, without importing one where none does."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # tools that only list nodes have no server, and aiohttp takes a moment to import
    from aiohttp import web


def add_route(path: str, handler: Callable[[web.Request], Awaitable[web.Response]]) -> None:
    """GET `path`, where ComfyUI's server is there; nothing otherwise."""
    instance = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    if instance is not None:
        instance.routes.get(path)(handler)


def answer(content: dict[str, Any], status: int = 200) -> web.Response:
    from aiohttp import web

    return web.json_response(content, status=status)
