"""Servers that come late, go, return, or differ."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from catalogue import runner
from catalogue.fleet import Fleet
from catalogue.ledger import Ledger
from catalogue.protocol import ComfyError
from catalogue.runner import Runner
from tests.catalogue.shop import Heard, Shop, run
from tests.catalogue.standin import StandIn
from tests.catalogue.standin_engine import Habits


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_server_that_comes_late(shop: Shop) -> None:
    heard = Heard()

    async def once() -> None:
        server = StandIn(port=free_port())
        running = asyncio.create_task(run(shop, server.url, heard=heard))
        await asyncio.sleep(0.8)
        async with server:
            assert (await running)["done"] == 8

    asyncio.run(once())
    assert [line for line in heard.lines if "asked again" in line] == heard.lines[:1], "it is said once"


def test_a_server_that_goes_and_returns_empty(shop: Shop) -> None:
    """A restart within a moment, or a longer absence: queue, history and uploads are lost."""

    async def once(absent: float) -> None:
        async with StandIn(Habits(seconds=0.15)) as server:
            running = asyncio.create_task(run(shop, server.url))
            for _ in range(2):
                while not server.running or len(server.history) < 2:
                    await asyncio.sleep(0.02)
                await server.down()
                server.forget()
                await asyncio.sleep(absent)
                await server.up()
            counts = await running
            assert counts["done"] == 8, (counts, [entry.error for entry in shop.entries().values()])

    for absent in (0.0, 2.0):
        asyncio.run(once(absent))
        for row in shop.rows:
            row["prompt"] = "painted anew"


def test_one_of_two_servers_dies_for_ever(shop: Shop) -> None:
    async def once() -> None:
        async with StandIn(Habits(seconds=0.1)) as first, StandIn(Habits(seconds=0.1)) as second:
            running = asyncio.create_task(run(shop, first.url, second.url))
            while not (first.history and second.history and first.running):
                await asyncio.sleep(0.02)
            await first.down()
            assert (await running)["done"] == 8
            assert first.painted.total() >= 1 and second.painted.total() >= 2

    asyncio.run(once())


def test_a_slow_server_gets_fewer_jobs(shop: Shop) -> None:
    for number in range(8, 60):
        shop.rows.append({"id": f"p{number}", "image": "0.png", "category": "bag"})

    async def once() -> None:
        async with StandIn(Habits(seconds=0.02)) as quick, StandIn(Habits(seconds=1.0)) as slow:
            began = time.monotonic()
            assert (await run(shop, quick.url, slow.url))["done"] == 60
            assert slow.painted.total() <= 8 and slow.most_waiting <= 2
            assert time.monotonic() - began < 15

    asyncio.run(once())


def test_idle_servers_do_not_keep_the_ledger_busy(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would ask it for work ten times a second."""
    asked: list[float] = []
    for name in ("waiting", "counts"):
        original = getattr(Ledger, name)

        def counted(self: Ledger, *arguments: int, original: Any = original) -> Any:
            asked.append(time.monotonic())
            return original(self, *arguments)

        monkeypatch.setattr(Ledger, name, counted)
    monkeypatch.setattr(runner, "_BEAT", 1.0)
    del shop.rows[1:]

    async def once() -> None:
        servers = [StandIn(Habits(seconds=3.0)) for _ in range(20)]
        async with contextlib.AsyncExitStack() as stack:
            for server in servers:
                await stack.enter_async_context(server)
            assert (await run(shop, *(server.url for server in servers)))["done"] == 1

    asyncio.run(once())
    span = asked[-1] - asked[0]
    assert span > 3 and len(asked) / span < 25


def test_a_server_with_other_weights_gets_no_jobs(shop: Shop) -> None:
    """The first one that answers decides with which weights the run is painted."""
    heard, other = Heard(), Habits(seconds=0.1, weights={"base.safetensors": "cd" * 32})

    async def once() -> None:
        async with StandIn(Habits(seconds=0.1)) as one, StandIn(other) as two:
            assert (await run(shop, one.url, two.url, heard=heard))["done"] == 8
            assert sorted([one.told()["prompts"], two.told()["prompts"]]) == [0, 8]

    asyncio.run(once())
    (line,) = [line for line in heard.lines if "another one than the first server's" in line]
    assert "base.safetensors" in line and "cd" * 32 in line and line.endswith("it gets no jobs")


def test_no_fit_server(shop: Shop) -> None:
    async def once() -> None:
        async with StandIn(Habits(weights={"other.safetensors": "ab"})) as server, StandIn(Habits(token="x")) as closed:
            with pytest.raises(ComfyError, match="No server can take this catalogue") as error:
                await run(shop, server.url, closed.url)
            assert "has no model 'base.safetensors'" in str(error.value) and "denies access (401)" in str(error.value)
            assert server.told()["prompts"] == 0

    asyncio.run(once())


def test_a_token_opens_a_server(shop: Shop) -> None:
    async def once() -> None:
        async with StandIn(Habits(token="secret")) as server:
            headers = {"Authorization": "Bearer secret"}
            assert (await run(shop, server.url, fleet={"headers": headers}))["done"] == 8

    asyncio.run(once())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_a_server_on_tls(shop: Shop, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)

    async def once() -> None:
        async with StandIn(tls=context) as server:
            url = f"https://localhost:{server.port}"
            with pytest.raises(ComfyError, match="No server has answered"):
                await run(shop, url, fleet={"patience": 0.5})
            assert server.told()["prompts"] == 0
            assert (await run(shop, url, fleet={"cafile": str(certificate)}))["done"] == 8

    asyncio.run(once())


def test_a_list_of_servers_that_grows(shop: Shop, tmp_path: Path) -> None:
    listing = tmp_path / "servers.txt"

    async def once() -> None:
        async with StandIn(Habits(seconds=0.2)) as first, StandIn() as second:
            running = asyncio.create_task(run(shop, fleet={"listing": listing}))
            await asyncio.sleep(0.2)
            listing.write_text(first.url)
            while not first.history:
                await asyncio.sleep(0.02)
            listing.write_text(f"{first.url}\n{second.url}/\n")
            assert (await running)["done"] == 8
            assert second.painted.total() >= 3

    asyncio.run(once())


def test_a_short_history_costs_no_picture(shop: Shop) -> None:
    async def once() -> None:
        async with StandIn(Habits(history=3, seconds=0.01)) as server:
            assert (await run(shop, server.url))["done"] == 8

    asyncio.run(once())


def test_jobs_of_a_server_that_is_gone_go_to_others(shop: Shop) -> None:
    """A killed run gave them to it, and it never came back."""
    shop.write()

    async def once() -> None:
        async with StandIn(Habits(seconds=9)) as first, StandIn() as second:
            with Ledger(shop.ledger) as ledger:
                painter = Runner(shop.plan(), ledger, Fleet((first.url,)), Heard())
                running = asyncio.create_task(painter.run())
                while not first.running:
                    await asyncio.sleep(0.02)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert ledger.counts()["submitted"] >= 1
            await first.down()
            assert (await run(shop, second.url))["done"] == 8

    asyncio.run(once())
