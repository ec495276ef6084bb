"""A route for the list of categories in Category Conditioning:
GET /product_background/categories?weights=FILE&near=TEXT -> {"count", "names", "chosen"}.

`names` are all of the file's where they are few; of many, those that TEXT is spelled most alike. `chosen` says which
category TEXT means, null if none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..bg_core.errors import ProductBackgroundError
from ..bg_core.vocabulary import UnknownCategory
from .category_files import FOLDER
from .routes import add_route, answer

if TYPE_CHECKING:
    from aiohttp import web

MOST = 500  # names in one answer; a browser's list of more is of no use


def listing(name: str, near: str) -> dict[str, object]:
    """What the route answers. Raises ProductBackgroundError for a file that isn't listed or isn't ours."""
    vocabulary = FOLDER.open(name)
    if len(vocabulary) <= MOST:
        names = vocabulary.names()
    else:
        names = vocabulary.nearest_names(near, limit=MOST) if near else vocabulary.names(0, MOST)
    try:
        chosen = vocabulary.find(near).explain(near) if near else None
    except UnknownCategory:
        chosen = None
    return {"count": len(vocabulary), "names": names, "chosen": chosen}


async def categories(request: web.Request) -> web.Response:
    name, near = request.query.get("weights", ""), request.query.get("near", "")
    try:
        return answer(await asyncio.to_thread(listing, name, near))
    except ProductBackgroundError as error:
        return answer({"error": str(error)}, status=404)


def register_category_route() -> None:
    add_route("/product_background/categories", categories)
