"""Servers that answer as no ComfyUI does: words come of it, not a traceback, and where it can the run goes on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from catalogue.protocol import ComfyError
from tests.catalogue.shop import Heard, Shop, check_pictures, run
from tests.catalogue.standin import StandIn
from tests.catalogue.standin_engine import Habits, Hurt


def page(status: int = 200) -> web.Response:
    return web.Response(status=status, text="<!doctype html><title>Welcome</title>", content_type="text/html")


class Odd(StandIn):
    """Answers `times` requests to `path` in its own way."""

    def __init__(self, path: str, answer: Any, times: int = 10**9, habits: Habits | None = None) -> None:
        super().__init__(habits)
        self.path, self.answer, self.times = path, answer, times

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == self.path and self.times > 0:
            self.times -= 1
            return self.answer() if callable(self.answer) else web.Response(text=self.answer)
        return await super()._misbehave(request, handler)


def painted(shop: Shop, server: StandIn, **options: Any) -> dict[str, Any]:
    async def once() -> dict[str, Any]:
        async with server:
            return await run(shop, server.url, **options)

    return asyncio.run(once())


@pytest.mark.parametrize("answer", [page, "", "[]", "null", "{", '"text"'])
@pytest.mark.parametrize("path", ["/object_info", "/queue"])
def test_another_service_at_that_address(shop: Shop, path: str, answer: Any) -> None:
    with pytest.raises(ComfyError, match="No server can take this catalogue") as error:
        painted(shop, Odd(path, answer))
    assert "something that isn't ComfyUI's" in str(error.value)


@pytest.mark.parametrize("answer", ['{"queue_running": 5}', '{"queue_running": [[1]], "queue_pending": []}', "{}"])
def test_a_queue_that_is_none(shop: Shop, answer: str) -> None:
    with pytest.raises(ComfyError, match="isn't ComfyUI's queue"):
        painted(shop, Odd("/queue", answer))


@pytest.mark.parametrize("answer", [page, lambda: page(404), "{}", "[]", '{"sha256": null}'])
def test_a_server_that_cannot_tell_its_weights(shop: Shop, answer: Any) -> None:
    """Without the pack, or with something in between that has a page for everything."""
    assert painted(shop, Odd("/product_background/weights", answer))["done"] == 8


def test_answers_that_are_odd_for_a_while(shop: Shop) -> None:
    """A proxy whose server is gone, a page instead of a queue or a history: jobs wait, or are tried again."""
    for path, answer in (("/prompt", lambda: page(502)), ("/queue", lambda: page(503)), ("/view", lambda: page(500))):
        for row in shop.rows:
            row["prompt"] = path
        server = Odd(path, answer, times=2, habits=Habits(seconds=0.02))
        assert painted(shop, server)["done"] == 8
        assert server.told()["painted_twice"] == 0 and server.times == 0
        check_some(shop)


def check_some(shop: Shop) -> None:
    assert all((shop.out / entry.files["picture"]).is_file() for entry in shop.entries().values())


def test_a_network_that_is_gone_for_a_while(shop: Shop) -> None:
    """The server paints on meanwhile; what it still has of ours is cancelled, and asked for under another id."""

    heard = Heard()
    del shop.rows[4:]

    async def once() -> None:
        async with StandIn(Habits(seconds=4.0)) as server:
            running = asyncio.create_task(run(shop, server.url, heard=heard))
            while not server.running or not server.queue:
                await asyncio.sleep(0.02)
            await asyncio.sleep(1.0)
            server.habits.drop = 1.0
            while not any("asked again" in line for line in heard.lines):
                await asyncio.sleep(0.02)
            assert server.running, "it must still paint one of ours"
            server.habits.drop, server.habits.seconds = 0.0, 0.1
            assert (await running)["done"] == 4
            assert not server.queue and not server.running and server.told()["executed_twice"] == 0

    asyncio.run(once())
    assert all(entry.failures == 0 for entry in shop.entries().values())
    check_pictures(shop)


def test_messages_that_are_not_comfyuis(shop: Shop) -> None:
    class Noisy(StandIn):
        async def _send(self, client: str, kind: str, data: dict[str, Any]) -> None:
            if socket := self._sockets.get(client):
                for text in ("[1]", "null", "nonsense", '{"type": 5, "data": [1]}', '{"data": {"prompt_id": {}}}'):
                    if self.random.random() < 0.05:
                        await socket.send_str(text)
                if self.random.random() < 0.2:
                    await socket.send_bytes(b"\0\0\0\1preview")
            await super()._send(client, kind, data)

    assert painted(shop, Noisy(Habits(seconds=0.02)))["done"] == 8
    check_pictures(shop)


def test_errors_that_are_hard_to_store_or_print(shop: Shop) -> None:
    nasty = "half a letter \ud800, \udcff, a NUL \0, [red]markup[/red]\n" + "x" * 10**5

    class Nasty(StandIn):
        async def _suffer(self, graph: dict[str, Any]) -> None:
            if graph["4"]["inputs"]["seed"] == 13:
                raise Hurt("4", "ValueError", nasty)

    shop.rows[0]["seed"] = 13
    heard = Heard()
    counts = painted(shop, Nasty(), heard=heard)
    assert (counts["done"], counts["failed"]) == (7, 1)
    error = shop.entries()["p0/0"].error
    (said,) = [line for line in heard.lines if "half a letter" in line]
    assert said == f"line 2 (id 'p0'): failed. {error}"
    assert error and "half a letter ?" in error and len(error) <= 2000


@pytest.mark.parametrize("score", [[], ["high"], [float("nan")], [None], {}, 7])
def test_a_score_that_is_no_number(shop: Shop, score: Any) -> None:
    class Judge(StandIn):
        async def _paint(self, *arguments: Any) -> dict[str, Any]:
            return await super()._paint(*arguments) | {"6": {"score": score}}

    del shop.rows[2:]
    counts = painted(shop, Judge(), score="Inspector", min_score=0.5, tries=3, fleet={"attempts": 1})
    assert counts["failed"] == 2
    assert "reported no number as score" in (shop.entries()["p0/0"].error or "")


def test_a_success_without_a_picture(shop: Shop) -> None:
    class Empty(StandIn):
        async def _paint(self, *arguments: Any) -> dict[str, Any]:
            made = await super()._paint(*arguments)
            return json.loads(json.dumps(made).replace('"images"', '"nothing"'))

    del shop.rows[1:]
    assert painted(shop, Empty(), fleet={"attempts": 1})["failed"] == 1
    assert "reported no picture" in (shop.entries()["p0/0"].error or "")
