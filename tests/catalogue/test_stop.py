"""Runs that are stopped, interrupted or killed: the next one goes on, and nothing is painted twice."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from catalogue.fleet import Fleet
from catalogue.ledger import Ledger
from catalogue.plan import Plan
from catalogue.runner import Runner
from catalogue.server import Server
from tests.catalogue.shop import Heard, Shop, check_pictures, run, standing
from tests.catalogue.standin import StandIn
from tests.catalogue.standin_engine import Habits
from tests.catalogue.standin_graph import example_graph

ROOT = Path(__file__).resolve().parents[2]


def done(shop: Shop) -> int:
    return sum(entry.state == "done" for entry in shop.entries().values())


def test_stopping_finishes_what_runs_and_takes_back_the_rest(shop: Shop) -> None:
    shop.write()

    async def once() -> None:
        async with StandIn(Habits(seconds=0.3)) as server:
            with Ledger(shop.ledger) as ledger:
                painter = Runner(shop.plan(), ledger, Fleet((server.url,)), Heard())
                running = asyncio.create_task(painter.run())
                while not server.history:
                    await asyncio.sleep(0.02)
                painter.stop()
                counts = await asyncio.wait_for(running, 20)
            assert counts["submitted"] == 0 and counts["done"] == server.executed.total() < 8
            assert not server.queue and not server.running
            assert (await run(shop, server.url))["done"] == 8
            assert (server.told()["executions"], server.told()["painted_twice"]) == (8, 0)

    asyncio.run(once())
    check_pictures(shop)


def test_stopping_at_once_leaves_the_jobs_to_the_next_run(shop: Shop) -> None:
    shop.write()

    async def once() -> None:
        async with StandIn(Habits(seconds=0.1)) as server:
            with Ledger(shop.ledger) as ledger:
                painter = Runner(shop.plan(), ledger, Fleet((server.url,)), Heard())
                running = asyncio.create_task(painter.run())
                while not server.history:
                    await asyncio.sleep(0.02)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert ledger.counts()["submitted"] >= 1
            assert (await run(shop, server.url))["done"] == 8
            assert (server.told()["executions"], server.told()["executed_twice"]) == (8, 0)

    asyncio.run(once())
    check_pictures(shop)


def start(shop: Shop, *urls: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "catalogue", "run", *shop.options(*urls), "--out", str(shop.out)]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)


def test_a_killed_run_is_taken_up_and_nothing_is_painted_twice(shop: Shop) -> None:
    for number in range(8, 24):
        shop.rows.append({"id": f"p{number}", "image": f"{number % 8}.png", "category": "bag"})
    shop.write()
    with standing(Habits(seconds=0.08)) as server:
        for kills in (1, 2):
            before = len(server.history)
            process = start(shop, server.url)
            while len(server.history) < before + 5:
                assert process.poll() is None, process.stderr and process.stderr.read().decode()
                time.sleep(0.02)
            process.kill()
            process.wait()
            assert done(shop) < 24, kills
        process = start(shop, server.url)
        assert process.wait(60) == 0
        assert b"24 done, 0 without a picture, 0 left, 0 bad rows" in (process.stderr.read() if process.stderr else b"")
        told = server.told()
    assert done(shop) == len(shop.pictures()) == 24
    assert (told["executions"], told["executed_twice"], told["painted_twice"]) == (24, 0, 0)


def test_ctrl_c(shop: Shop) -> None:
    """Once: what runs is finished. Twice: at once, and the jobs are found again."""
    shop.write()
    with standing(Habits(seconds=0.3)) as server:
        for presses in (1, 2):
            process, before = start(shop, server.url), len(server.history)
            while len(server.history) <= before or not server.running:
                assert process.poll() is None
                time.sleep(0.02)
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
                time.sleep(0.1)
            assert process.wait(30) == 130
            said = process.stderr.read().decode() if process.stderr else ""
            assert "Traceback" not in said and said.count("Stopping: what runs is finished") == 1, said
            assert ("The same command goes on from here." in said) == (presses == 1)
            assert not server.queue or presses == 2
        process = start(shop, server.url)
        assert process.wait(60) == 0
        assert (server.told()["executions"], server.told()["painted_twice"]) == (8, 0)
    assert done(shop) == 8


def test_a_catalogue_that_takes_long_to_read_loses_no_job(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a killed run gave to a server isn't given away while the next run only reads."""
    shop.write()
    enter = Plan.enter

    def slowly(self: Plan, ledger: Ledger) -> str:
        time.sleep(2.0)
        return enter(self, ledger)

    async def once() -> None:
        async with StandIn(Habits(seconds=0.3)) as server:
            with Ledger(shop.ledger) as ledger:
                running = asyncio.create_task(Runner(shop.plan(), ledger, Fleet((server.url,)), Heard()).run())
                while not server.running:
                    await asyncio.sleep(0.02)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            monkeypatch.setattr(Plan, "enter", slowly)
            assert (await run(shop, server.url))["done"] == 8
            assert (server.told()["executions"], server.told()["executed_twice"]) == (8, 0)

    asyncio.run(once())


def graph_of_its_own() -> dict[str, Any]:
    """One whose photograph the server has."""
    return example_graph() | {"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}


def test_a_wait_can_be_ended_in_the_moment_when_news_come() -> None:
    """Its server goes while it wakes: a job that went on all the same would be painted twice."""

    async def once(lag: int) -> None:
        async with StandIn(Habits(hang_at=1)) as server, Server(server.url) as client:
            prompt_id = await client.queue(graph_of_its_own())
            waiting = asyncio.create_task(client.wait(prompt_id))
            while not server.running:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            client._watched[prompt_id].changed.set()
            for _ in range(lag):
                await asyncio.sleep(0)
            waiting.cancel()
            done, _ = await asyncio.wait([waiting], timeout=2)
            assert done and waiting.cancelled(), f"{lag} turns of the loop after the news it goes on"

    for lag in range(5):
        asyncio.run(once(lag))


def test_a_stand_in_goes_down_in_the_moment_of_an_interrupt() -> None:
    async def once(lag: int) -> None:
        async with StandIn(Habits(seconds=30)) as server, Server(server.url) as client:
            await client.queue(graph_of_its_own())
            while not server.running:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.1)
            server._interrupt.set()
            for _ in range(lag):
                await asyncio.sleep(0)
            async with asyncio.timeout(2):
                await server.down()

    for lag in range(5):
        asyncio.run(once(lag))
