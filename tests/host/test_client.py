"""The API client against the real server: what a batch of thousands relies on."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from catalogue.client import ComfyClient
from catalogue.graph import find_node, load_graph, with_inputs
from catalogue.protocol import ComfyError, Graph, Interrupted, Rejected, TimedOut, Unreachable
from scripts.comfyui import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


def test_prompt_id_is_the_callers(client: ComfyClient, graph: Graph, packshot: Path) -> None:
    filled = with_inputs(graph, {"Product photo": {"image": client.upload_image(packshot)}, "Sampler": {"steps": 1}})
    chosen = uuid.uuid4().hex
    assert client.queue(filled, prompt_id=chosen) == chosen
    assert client.wait(chosen).prompt_id == chosen


def test_upload_into_a_subfolder(client: ComfyClient, packshot: Path) -> None:
    assert client.upload_image(packshot, name="a.png", subfolder="shop/spring") == "shop/spring/a.png"


def test_uploads_leave_the_users_own_files_alone(client: ComfyClient, packshot: Path) -> None:
    assert client.upload_image(packshot) == "product_background/packshot.png"


def test_a_graph_beyond_its_time_is_cancelled(client: ComfyClient, graph: Graph, packshot: Path) -> None:
    """Else it would go on, and hold up every graph after it."""
    photo = client.upload_image(packshot)
    endless = client.queue(with_inputs(graph, {"Product photo": {"image": photo}, "Sampler": {"steps": 10_000}}))
    waiting = client.queue(with_inputs(graph, {"Product photo": {"image": photo}, "Sampler": {"steps": 9_999}}))
    for prompt_id in (endless, waiting):  # the time that a graph waits in the queue isn't its own
        with pytest.raises(TimedOut, match="did not finish in 2 s and was cancelled"):
            client.wait(prompt_id, limit=2)
    for prompt_id in (waiting, endless):
        with pytest.raises(Interrupted):
            client.wait(prompt_id)


def test_unknown_prompt_does_not_wait_for_ever(client: ComfyClient) -> None:
    with pytest.raises(Interrupted, match="neither queued nor finished"):
        client.wait("never-queued", limit=5)


def test_a_partly_wrong_graph_is_not_queued(client: ComfyClient, graph: Graph, packshot: Path) -> None:
    """ComfyUI would drop the wrong output, run the others and call that a success."""
    filled = with_inputs(graph, {"Product photo": {"image": client.upload_image(packshot)}})
    del filled[find_node(filled, "Save picture")]["inputs"]["images"]
    with pytest.raises(Rejected, match=r"Save picture.*images"):
        client.run(filled)


def test_a_node_that_is_not_installed_is_named(client: ComfyClient, graph: Graph) -> None:
    graph[find_node(graph, "Decode")]["class_type"] = "NoSuchNode"
    with pytest.raises(Rejected, match="NoSuchNode"):
        client.queue(graph)


def test_nobody_answers() -> None:
    with ComfyClient(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(Unreachable, match="does not answer"):
        client.system_stats()


def test_a_browser_workflow_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match=r"Export \(API\)"):
        load_graph(ROOT / "workflows" / "product_background.json")
    (tmp_path / "graph.json").write_text(json.dumps({"1": {"class_type": "A", "inputs": {}}}))
    with pytest.raises(ComfyError, match="Titles in this graph: A"):
        find_node(load_graph(tmp_path / "graph.json"), "Sampler")
