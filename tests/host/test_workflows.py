"""The shared graphs, against the nodes of a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from catalogue.graph import load_graph, to_api
from catalogue.protocol import ComfyError
from scripts.comfyui import PACK_FOLDER, PHOTOS, ComfyServer

ROOT = Path(__file__).resolve().parent.parent.parent
WORKFLOWS = sorted((ROOT / "workflows").glob("*.json"))
assert WORKFLOWS, "no shared graphs: every test below would pass on nothing"


def own_nodes(object_info: dict[str, Any]) -> dict[str, Any]:
    return {node_id: info for node_id, info in object_info.items() if node_id.startswith("PBG_")}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_browser_and_api_graph_say_the_same(path: Path, object_info: dict[str, Any]) -> None:
    workflow = json.loads(path.read_text())
    assert to_api(workflow, object_info) == load_graph(path.parent / "api" / path.name)


def test_a_graph_saved_before_a_widget_was_added_still_converts(object_info: dict[str, Any]) -> None:
    workflow = json.loads((ROOT / "workflows" / "product_background.json").read_text())
    (prepare,) = (node for node in workflow["nodes"] if node["type"] == "PBG_PrepareProduct")
    prepare["widgets_values"].pop()  # `aspect`, which is optional
    graph = to_api(workflow, object_info)
    assert "aspect" not in graph[str(prepare["id"])]["inputs"]
    del prepare["widgets_values"][-2:]
    with pytest.raises(ComfyError, match="stores 6 values"):
        to_api(workflow, object_info)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_links_are_consistent(path: Path, object_info: dict[str, Any]) -> None:
    """The browser reads links in three places; they must agree, and types must fit the server's."""
    workflow = json.loads(path.read_text())
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link_id, source, source_slot, target, target_slot, kind in workflow["links"]:
        output = nodes[source]["outputs"][source_slot]
        info = object_info[nodes[source]["type"]]
        assert link_id in output["links"]
        assert nodes[target]["inputs"][target_slot]["link"] == link_id
        assert output["type"] == info["output"][source_slot] == kind
        assert output["name"] == info["output_name"][source_slot]
    known = {link[0] for link in workflow["links"]}
    for node in workflow["nodes"]:
        assert {slot["link"] for slot in node["inputs"] if slot["link"] is not None} <= known
        assert {link for slot in node["outputs"] for link in slot["links"] or []} <= known
    assert workflow["last_link_id"] >= max(known)
    assert workflow["last_node_id"] >= max(nodes)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_every_workflow_has_an_api_graph_and_no_api_graph_stands_alone(path: Path) -> None:
    assert (path.parent / "api" / path.name).is_file()
    assert {api.name for api in (path.parent / "api").glob("*.json")} == {ui.name for ui in WORKFLOWS}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_server_offers_the_graph_as_template_with_its_thumbnail(path: Path, server: ComfyServer) -> None:
    offered = httpx.get(f"{server.url}/workflow_templates", trust_env=False).json()
    assert path.stem in offered[PACK_FOLDER]
    for name, kind in ((path.name, "application/json"), (f"{path.stem}.jpg", "image/jpeg")):
        answer = httpx.get(f"{server.url}/api/workflow_templates/{PACK_FOLDER}/{name}", trust_env=False)
        assert answer.status_code == 200, name
        assert answer.headers["content-type"] == kind


def test_no_other_folder_takes_the_templates_place() -> None:
    """ComfyUI offers the first of these folders that it finds as the pack's templates; ours is `workflows`."""
    assert [name for name in ("example_workflows", "example", "examples", "workflow") if (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_graph_opens_on_one_of_our_photographs(path: Path) -> None:
    graph = load_graph(path.parent / "api" / path.name)
    chosen = [node["inputs"]["image"] for node in graph.values() if node["class_type"] == "PBG_LoadProductPhoto"]
    assert chosen and set(chosen) <= {photo.name for photo in PHOTOS.iterdir()}


def test_every_node_of_ours_is_in_some_graph(object_info: dict[str, Any]) -> None:
    used = {node["class_type"] for path in WORKFLOWS for node in load_graph(path.parent / "api" / path.name).values()}
    assert own_nodes(object_info).keys() - used == set()


def test_every_input_and_output_has_a_tooltip(object_info: dict[str, Any]) -> None:
    missing = []
    for node_id, info in own_nodes(object_info).items():
        for section in info["input"].values():
            missing += [f"{node_id}.{name}" for name, spec in section.items() if not _tooltip(spec)]
        tips = info.get("output_tooltips") or [None] * len(info["output"])
        missing += [f"{node_id} -> {name}" for name, tip in zip(info["output_name"], tips, strict=True) if not tip]
        if not info["description"]:
            missing.append(node_id)
    assert missing == []


def _tooltip(spec: Any) -> str | None:
    return spec[1].get("tooltip") if isinstance(spec, list) and len(spec) > 1 else None


def test_every_node_has_a_help_page(object_info: dict[str, Any]) -> None:
    pages = {node_id: ROOT / "web" / "docs" / node_id / "en.md" for node_id in own_nodes(object_info)}
    assert [node_id for node_id, page in pages.items() if not page.is_file()] == []
    for node_id, page in pages.items():
        text = page.read_text()
        info = object_info[node_id]
        names = [name for section in info["input"].values() for name in section] + info["output_name"]
        assert [name for name in names if name not in text] == [], f"{page.relative_to(ROOT)} leaves these out"
