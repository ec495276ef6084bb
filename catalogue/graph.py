"""Workflows as data: find nodes by title, set their inputs, turn the browser's format into the API's."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from .protocol import ComfyError, Graph, title_of

# Widgets of the browser; every other input type is a socket.
_WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
# Nodes that exist in the browser only.
_BROWSER_ONLY = ("Note", "MarkdownNote")
_MUTED, _BYPASSED = 2, 4


def load_graph(path: Path, *, browser: bool = False) -> Graph:
    """Read an API graph. `browser` also lets the browser's own format through, for `to_api`; else it is refused.

    Raises ComfyError naming what was found: the server's own error for a wrong file is unreadable.
    """
    try:
        graph = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ComfyError(f"The workflow {path} can't be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise ComfyError(f"The workflow {path} is no JSON ({str(error)[:100]}).") from error
    if isinstance(graph, dict) and "nodes" in graph and "links" in graph:
        if browser:
            return graph
        raise ComfyError(f"{path} is a workflow as the browser saves it. Export it with File > Export (API).")
    nodes = graph.values() if isinstance(graph, dict) else ()
    if not nodes or not all(
        isinstance(node, dict)
        and isinstance(node.get("class_type"), str)
        and isinstance(node.get("inputs"), dict)
        and isinstance(node.get("_meta", {}), dict)
        for node in nodes
    ):
        raise ComfyError(
            f"{path} is no workflow: expected node ids with class_type and inputs, as File > Export (API) saves them."
        )
    return dict(graph)


def find_node(graph: Graph, title: str) -> str:
    """The id of the one node with this title."""
    found = [node_id for node_id in graph if title_of(graph, node_id) == title]
    if len(found) != 1:
        titles = ", ".join(sorted(title_of(graph, node_id) for node_id in graph))
        raise ComfyError(f"{len(found)} nodes are titled {title!r}, one is needed. Titles in this graph: {titles}.")
    return found[0]


def with_inputs(graph: Graph, changes: dict[str, dict[str, Any]]) -> Graph:
    """A copy of the graph with inputs replaced, given as {node title: {input: value}}."""
    changed = copy.deepcopy(graph)
    for title, values in changes.items():
        changed[find_node(changed, title)]["inputs"].update(values)
    return changed


def to_api(workflow: dict[str, Any], object_info: dict[str, Any]) -> Graph:
    """Convert a browser workflow to an API graph, by the order of inputs that the server declares."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    graph: Graph = {}
    for node in sorted(workflow["nodes"], key=lambda node: int(node["id"])):
        if node["type"] in _BROWSER_ONLY or node["mode"] == _MUTED:
            continue
        if node["mode"] == _BYPASSED:
            raise ComfyError(f"Node {node['id']} ({node['type']}) is bypassed; only the browser can export that.")
        if node["type"] not in object_info:
            raise ComfyError(f"The server has no node {node['type']!r} (node {node['id']}).")
        info = object_info[node["type"]]
        inputs = _widget_inputs(node, info)
        inputs |= {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot.get("link") is not None}
        graph[str(node["id"])] = {
            "inputs": inputs,
            "class_type": node["type"],
            "_meta": {"title": node.get("title") or info["display_name"]},
        }
    return graph


def _widget_inputs(node: dict[str, Any], info: dict[str, Any]) -> dict[str, Any]:
    names = _widget_names(info)
    values = node.get("widgets_values", [])
    # A node may have grown optional widgets since the graph was saved: the server has defaults for those.
    grown = names[len(values) :]
    if len(values) > len(names) or any(name not in info["input_order"].get("optional", []) for name in grown):
        raise ComfyError(f"{node['type']} has widgets {names}, but node {node['id']} stores {len(values)} values.")
    # A name of None is a control that only the browser has.
    return {name: value for name, value in zip(names, values, strict=False) if name is not None}


def _widget_names(info: dict[str, Any]) -> list[str | None]:
    names: list[str | None] = []
    for section in ("required", "optional"):
        for name in info["input_order"].get(section, []):
            kind, *rest = info["input"][section][name]
            options = rest[0] if rest else {}
            if not (isinstance(kind, list) or kind in _WIDGET_TYPES) or options.get("forceInput"):
                continue
            names.append(name)
            if options.get("control_after_generate") or options.get("image_upload"):
                names.append(None)  # "fixed / randomize ..." below a seed, the upload button below an image
    return names
