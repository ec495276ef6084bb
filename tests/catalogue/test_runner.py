"""The runner against the stand-in: whatever servers do, every product gets its pictures, none twice."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from catalogue.folder import Folder
from catalogue.ledger import Ledger
from catalogue.protocol import ComfyError
from catalogue.server import Server
from tests.catalogue.shop import Heard, Shop, check_pictures, photo, run
from tests.catalogue.standin import StandIn
from tests.catalogue.standin_engine import Habits
from tests.catalogue.standin_graph import colour_of


def states(shop: Shop) -> dict[str, int]:
    found = [entry.state for entry in shop.entries().values()]
    return {state: found.count(state) for state in sorted(set(found))}


def test_every_product_gets_its_pictures_once(shop: Shop) -> None:
    shop.rows[0] |= {"variants": 3, "seed": 7}
    shop.rows[1]["prompt"] = "a blue shoe"
    shop.rows[2]["image"] = "3.png"

    async def twice() -> None:
        async with StandIn() as server:
            assert (await run(shop, server.url))["done"] == 10
            told = server.told()
            assert (told["executions"], told["executed_twice"], told["painted_twice"]) == (10, 0, 0)
            assert told["POST upload"] == 7, "equal photographs are uploaded once"
            assert (await run(shop, server.url))["done"] == 10
            assert server.told()["executions"] == 10

    asyncio.run(twice())
    check_pictures(shop)
    entry = shop.entries()["p0/2"]
    beside = json.loads((shop.out / entry.files["picture"]).with_suffix(".json").read_text())
    assert (beside["id"], beside["variant"], beside["seed"], beside["category"]) == ("p0", 2, 9, "shoe")
    assert beside["weights"] == {"base.safetensors": "ab" * 32} and beside["key"] == entry.key
    with Image.open(shop.out / entry.files["picture"]) as image:
        graph = json.loads(image.info["prompt"])
    assert graph["4"]["inputs"]["seed"] == 9, "the picture holds its workflow"


def test_masks_and_a_second_output(shop: Shop) -> None:
    """A row without a mask keeps the workflow's own file."""
    example = shop.graph["1"]["inputs"]["image"]
    shop.graph["7"] = {"class_type": "LoadImage", "inputs": {"image": example}, "_meta": {"title": "Mask"}}
    shop.graph["8"] = {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "shop/mask"}}
    shop.graph["8"]["_meta"] = {"title": "Save mask"}
    (shop.folder / "m.png").write_bytes(photo(99))
    shop.rows[0]["mask"] = "m.png"
    outputs = {"picture": "Save", "mask": "Save mask"}

    async def once() -> None:
        async with StandIn() as server:
            assert (await run(shop, server.url, bind=("Mask.image={mask}",), outputs=outputs))["done"] == 8
            assert server.told()["POST upload"] == 9

    asyncio.run(once())
    for name, entry in shop.entries().items():
        assert list(entry.files) == ["picture", "mask"] and entry.files["mask"].endswith(".mask.png")
        with Image.open(shop.out / entry.files["mask"]) as image:
            used = json.loads(image.info["prompt"])["7"]["inputs"]["image"]
        digest = hashlib.sha256(photo(99)).hexdigest()[:40]
        assert used == (f"product_background/{digest}.png" if name == "p0/0" else example)


def test_many_faults_at_once(shop: Shop) -> None:
    for number in range(8, 40):
        shop.rows.append({"id": f"p{number}", "image": f"{number % 8}.png", "category": "bag"})
    habits = Habits(
        seconds=0.005, drop=0.1, errors=0.05, duplicates=0.5, lose=0.2, slow=0.02, full_disk_at=5, no_memory_at=9
    )

    async def once() -> dict[str, Any]:
        async with StandIn(habits) as server:
            assert (await run(shop, server.url, fleet={"attempts": 6}))["done"] == 40
            return server.told()

    told = asyncio.run(once())
    assert told["dropped"] > 5 and told["errors"] >= 2, "the faults must happen"
    assert told["executed_twice"] == told["painted_twice"] == 0 and told["pictures"] == 40
    check_pictures(shop)


def test_a_poisoned_row_holds_up_no_other(shop: Shop) -> None:
    shop.rows[0]["prompt"] = "[fail]"
    heard = Heard()

    async def once() -> None:
        async with StandIn(Habits(seconds=0.01)) as server:
            assert (await run(shop, server.url, heard=heard))["failed"] == 1
            assert server.told()["executions"] == 9, "a node that says the same twice isn't asked a third time"

    asyncio.run(once())
    assert states(shop) == {"done": 7, "failed": 1}
    lines = [line for line in heard.lines if "p0" in line]
    assert lines == ["line 2 (id 'p0'): failed. Sampler (node 4): a node that always fails"]


def test_a_refused_graph_is_not_tried_again(shop: Shop) -> None:
    shop.rows[3]["prompt"] = "[refuse]"

    async def once() -> None:
        async with StandIn() as server:
            await run(shop, server.url)
            assert server.told()["POST prompt"] == 8

    asyncio.run(once())
    assert states(shop) == {"done": 7, "refused": 1}
    assert "Prompt (node 3): Custom validation failed" in (shop.entries()["p3/0"].error or "")


def test_out_of_memory_frees_and_tries_again(shop: Shop) -> None:
    shop.rows[5]["prompt"] = "[no memory]"

    async def once() -> None:
        async with StandIn(Habits(no_memory_at=3)) as server:
            # one at a time, or a busy machine may run row 5 as the third
            await run(shop, server.url, fleet={"attempts": 2, "in_flight": 1})
            assert server.told()["POST free"] == 3

    asyncio.run(once())
    assert states(shop) == {"done": 7, "failed": 1}


def test_a_hung_job_is_cancelled_and_the_next_ones_run(shop: Shop) -> None:
    shop.rows[0]["prompt"] = "[hang]"

    async def once() -> None:
        async with StandIn(Habits(hang_at=4)) as server:
            await run(shop, server.url, fleet={"attempts": 2}, limit=0.4)
            assert not server.running and not server.queue

    asyncio.run(once())
    assert states(shop) == {"done": 7, "failed": 1}
    assert "did not finish in 0 s and was cancelled" in (shop.entries()["p0/0"].error or "")


def test_without_a_websocket_looking_must_do(shop: Shop) -> None:
    del shop.rows[2:]

    async def once() -> None:
        async with StandIn(Habits(lose=1.0)) as server:
            await run(shop, server.url)

    asyncio.run(once())
    assert states(shop) == {"done": 2}


def test_scores(shop: Shop) -> None:
    """The stand-in's inspector gives a seed's last two digits."""
    shop.rows[0]["seed"], shop.rows[1]["seed"] = 99, 10
    shop.rows[2]["seed"] = 95

    async def once() -> None:
        async with StandIn() as server:
            await run(shop, server.url, score="Inspector", min_score=0.95, tries=3)
            await run(shop, server.url, score="Inspector", min_score=0.95, tries=3)

    asyncio.run(once())
    check_pictures(shop)
    for name, entry in shop.entries().items():
        tries = json.loads((shop.out / entry.files["picture"]).with_suffix(".json").read_text())["tries"]
        scores = [each["score"] for each in tries]
        assert entry.score == max(scores) == entry.seed % 100 / 100
        assert all(score < 0.95 for score in scores[:-1]) and (len(scores) == 3 or scores[-1] >= 0.95)
        assert len({each["seed"] for each in tries}) == len(tries) and tries[0]["seed"] == entry.job.seed, name
    assert shop.entries()["p0/0"].seed == 99 and shop.entries()["p1/0"].seed != 10


def test_a_changed_row_and_a_lost_file_are_made_again(shop: Shop) -> None:
    async def three_times() -> None:
        async with StandIn() as server:
            await run(shop, server.url)
            shop.rows[0]["prompt"] = "a red shoe"
            (shop.folder / "1.png").write_bytes(photo(77))
            (shop.folder / "2.png").touch()
            (shop.out / shop.entries()["p3/0"].files["picture"]).unlink()
            before = server.told()["executions"]
            assert (await run(shop, server.url))["done"] == 8
            assert server.told()["executions"] == before + 3
            del shop.rows[4:]
            assert (await run(shop, server.url))["done"] == 4
            assert server.told()["executions"] == before + 3

    asyncio.run(three_times())
    for number, text in ((0, "a red shoe"), (1, "a photo of a shoe")):
        entry = shop.entries()[f"p{number}/0"]
        with Image.open(shop.out / entry.files["picture"]) as image:
            content = (shop.folder / f"{number}.png").read_bytes()
            assert image.getpixel((0, 0)) == colour_of(content, text, entry.seed)


def test_bad_files_do_not_reach_a_server(shop: Shop) -> None:
    (shop.folder / "0.png").write_text("no picture")
    (shop.folder / "1.png").unlink()
    shop.rows[2]["steps"] = "many"

    async def once() -> None:
        async with StandIn() as server:
            await run(shop, server.url)
            assert server.told()["POST prompt"] == 6

    asyncio.run(once())
    assert states(shop) == {"bad": 2, "done": 6}
    assert "0.png is no picture" in (shop.entries()["p0/0"].error or "")


def test_a_full_disk_here_is_waited_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    write, failures, heard = Folder.write, [1, 1, 1], Heard()

    def sometimes(self: Folder, name: str, content: bytes) -> None:
        if failures and name.endswith(".json"):
            failures.pop()
            raise OSError(28, "No space left on device")
        write(self, name, content)

    monkeypatch.setattr(Folder, "write", sometimes)

    async def once() -> None:
        async with StandIn() as server:
            await run(shop, server.url, heard=heard)
            assert server.told()["executions"] == 8, "what was painted is fetched again, not painted again"

    asyncio.run(once())
    assert states(shop) == {"done": 8} and any("is full; waiting for room" in line for line in heard.lines)


def test_what_others_queued_is_left_alone_and_our_orphans_are_cancelled(shop: Shop) -> None:
    shop.write()

    async def once() -> None:
        async with StandIn(Habits(seconds=1.5)) as server:
            with Ledger(shop.ledger) as ledger:
                client_id = ledger.client_id()
            graph = shop.graph | {"1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}}}
            for client in ("somebody", client_id, "somebody", client_id):
                async with Server(server.url, client_id=client) as their:
                    await their.queue(graph)
            server.habits.seconds = 0.0  # for all but the one that runs
            assert (await run(shop, server.url))["done"] == 8
            clients = [entry["prompt"][3]["client_id"] for entry in server.history.values() if entry["outputs"]]
            assert clients.count("somebody") == 2 and clients.count(client_id) == 8

    asyncio.run(once())


def test_no_server_at_all(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match=r"No server has answered for 0 s \(http://127\.0\.0\.1:9\)\. Nothing done is"):
        asyncio.run(run(shop, "http://127.0.0.1:9", fleet={"patience": 0.3}))
    with pytest.raises(ComfyError, match="none were named"):
        asyncio.run(run(shop, fleet={"patience": 0.3, "listing": tmp_path / "servers.txt"}))
    for url in ("127.0.0.1:8188", "ftp://a", "http://", "http://[", "http://a:99999", "nothing"):
        with pytest.raises(ComfyError, match="is no server's address"):
            asyncio.run(run(shop, url))


def test_a_result_that_came_broken_is_fetched_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    download, failures = Server.download, [1, 1]

    async def sometimes(self: Server, file: Any) -> bytes:
        content = await download(self, file)
        return content[:50] if failures and failures.pop() else content

    monkeypatch.setattr(Server, "download", sometimes)

    async def once() -> None:
        async with StandIn() as server:
            assert (await run(shop, server.url))["done"] == 8

    asyncio.run(once())
    check_pictures(shop)
    assert Image.open(io.BytesIO((shop.out / shop.entries()["p0/0"].files["picture"]).read_bytes())).size == (8, 8)
