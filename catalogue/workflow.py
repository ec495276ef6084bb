"""A workflow with its bindings: which column fills which input, and which node's output is the picture."""

from __future__ import annotations

import graphlib
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .bindings import Binding
from .graph import to_api
from .protocol import ComfyError, Graph, title_of
from .rows import FILE_COLUMNS

_OPTIONAL = ("mask", "reference", "prompt", "width", "height")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")
_SAVERS = ("SaveImage", "PreviewImage")


@dataclass(frozen=True)
class Workflow:
    """`outputs`: name -> title or id of the node that saves it; the first is the picture. `score`: a node's too."""

    graph: Graph
    bindings: tuple[Binding, ...]
    outputs: dict[str, str] = field(default_factory=dict)
    score: str | None = None

    @property
    def digest(self) -> str:
        """Of everything that decides what is painted: titles and places in the browser don't."""
        bare = {node_id: {k: v for k, v in node.items() if k != "_meta"} for node_id, node in self.graph.items()}
        text = json.dumps([bare, [vars(b) for b in self.bindings], self.outputs, self.score], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def node(self, name: str) -> str:
        """The id of the node with this id or title."""
        if name in self.graph:
            return name
        found = [node_id for node_id in self.graph if title_of(self.graph, node_id) == name]
        if len(found) != 1:
            titles = ", ".join(sorted(title_of(self.graph, node_id) for node_id in self.graph))
            raise ComfyError(
                f"{len(found)} nodes are called {name!r}, one is needed. Titles in this workflow: {titles[:1000]}."
            )
        return found[0]

    def output_nodes(self) -> dict[str, str]:
        """Name -> node id. Where nothing is said and one node saves pictures, it is that one."""
        if self.outputs:
            return {name: self.node(title) for name, title in self.outputs.items()}
        savers = [node_id for node_id, node in self.graph.items() if node["class_type"] in _SAVERS]
        if len(savers) != 1:
            titles = ", ".join(title_of(self.graph, node_id) for node_id in savers) or "none"
            raise ComfyError(f"Say which node saves the picture (--output picture=TITLE). Nodes that save: {titles}.")
        return {"picture": savers[0]}

    def columns(self) -> set[str]:
        return {column for binding in self.bindings for column in binding.columns}

    def weights(self) -> list[str]:
        """The model files that the graph names."""
        values = (value for node in self.graph.values() for value in node["inputs"].values())
        return sorted({value for value in values if isinstance(value, str) and value.lower().endswith(_WEIGHTS)})

    def problems(self, object_info: dict[str, Any], columns: set[str] | None = None) -> list[str]:
        """Everything that would make the server refuse the graph or the bindings miss; `columns`: the catalogue's."""
        found = [
            f"the server has no node {node['class_type']!r} ({title_of(self.graph, node_id)})"
            for node_id, node in self.graph.items()
            if node["class_type"] not in object_info
        ]
        for binding in self.bindings:
            found += self._problems_of(binding, object_info, columns)
        found += self._broken_links(object_info) + self._missing_models(object_info)
        if "image" not in self.columns():
            found.append("no binding takes the column 'image' (--bind 'NODE.image={image}')")
        names = [*self.outputs.values(), *([self.score] if self.score else [])]
        checks: list[Callable[[], object]] = [*(partial(self.node, name) for name in names), self.output_nodes]
        for check in checks:
            try:
                check()
            except ComfyError as error:
                found.append(str(error))
        return list(dict.fromkeys(found))

    def _broken_links(self, object_info: dict[str, Any]) -> list[str]:
        """Links to nothing and circles, as far as they lead to a node that puts something out."""
        found, links = [], dict[str, list[str]]()
        waiting = [n for n, node in self.graph.items() if object_info.get(node["class_type"], {}).get("output_node")]
        while waiting:
            node_id = waiting.pop()
            if node_id in links:
                continue
            links[node_id] = []
            for name, value in self.graph[node_id]["inputs"].items():
                if not isinstance(value, list):
                    continue
                if len(value) == 2 and isinstance(value[0], str) and value[0] in self.graph:
                    links[node_id].append(value[0])
                else:
                    where = f"{title_of(self.graph, node_id)}.{name}"
                    found.append(f"{where} is linked to {str(value[:1])[1:-1][:50] or 'nothing'}, which is no node")
            waiting += links[node_id]
        try:
            graphlib.TopologicalSorter(links).prepare()
        except graphlib.CycleError as error:
            circle = ", ".join(title_of(self.graph, node_id) for node_id in error.args[1][:6])
            found.append(f"the links go in a circle: {circle}")
        return found

    def _missing_models(self, object_info: dict[str, Any]) -> list[str]:
        bound = {(binding.node, binding.input) for binding in self.bindings}
        found = []
        for node_id, node in self.graph.items():
            title, declared = title_of(self.graph, node_id), _declared(object_info.get(node["class_type"], {}))
            for name, value in node["inputs"].items():
                options = _options(declared[name]) if name in declared else None
                own = (
                    isinstance(value, str)
                    and value.lower().endswith(_WEIGHTS)
                    and not (bound & {(title, name), (node_id, name)})
                )
                if own and options is not None and value not in options:
                    found.append(f"the server has no model {value!r} ({title}.{name})")
        return found

    def _problems_of(self, binding: Binding, object_info: dict[str, Any], columns: set[str] | None) -> list[str]:
        where = f"binding {binding.node}.{binding.input}"
        try:
            node_id = self.node(binding.node)
        except ComfyError as error:
            return [f"{where}: {error}"]
        kind = self.graph[node_id]["class_type"]
        if kind not in object_info:
            return []  # said already
        declared = _declared(object_info[kind])
        if binding.input not in declared:
            return [f"{where}: {kind} has no input {binding.input!r}; it has {', '.join(sorted(declared))}"]
        if _socket(declared[binding.input]):
            return [f"{where}: that input takes a link of type {declared[binding.input][0]}, no value"]
        if columns is None:
            return []
        known = {*columns, *_OPTIONAL, "seed", "variant"}
        return [f"{where}: the catalogue has no column {c!r}" for c in binding.columns if c not in known]

    def fill(self, values: dict[str, Any], object_info: dict[str, Any]) -> Graph:
        """The graph for one row. Cells of file columns go in as they stand in `values`.

        Raises ValueError naming the column where a cell doesn't fit its input.
        """
        graph = {node_id: {**node, "inputs": dict(node["inputs"])} for node_id, node in self.graph.items()}
        for binding in self.bindings:
            value = binding.render(values)
            if value is None:
                continue
            node_id = self.node(binding.node)
            spec = _declared(object_info[graph[node_id]["class_type"]])[binding.input]
            if binding.column not in FILE_COLUMNS:
                value = _fitting(value, spec, f"{' and '.join(binding.columns) or binding.input}")
            graph[node_id]["inputs"][binding.input] = value
        return graph


def _declared(info: dict[str, Any]) -> dict[str, list[Any]]:
    inputs = info.get("input", {})
    return {**inputs.get("required", {}), **inputs.get("optional", {})}


def _options(spec: list[Any]) -> list[Any] | None:
    if isinstance(spec[0], list):
        return list(spec[0])
    return list(spec[1].get("options", [])) if spec[0] == "COMBO" and len(spec) > 1 else None


def _socket(spec: list[Any]) -> bool:
    return _options(spec) is None and spec[0] not in ("INT", "FLOAT", "STRING", "BOOLEAN")


def _fitting(value: Any, spec: list[Any], column: str) -> Any:
    limits = spec[1] if len(spec) > 1 else {}
    options = _options(spec)
    if options is not None:
        same = next((option for option in options if str(option) == str(value)), None)  # a table holds 512 as text
        if same is None and not limits.get("image_upload"):
            some = ", ".join(map(str, options[:12])) + (" ..." if len(options) > 12 else "")
            raise ValueError(f"{column}: {value!r} is none of {some}")
        return value if same is None else same
    try:
        if spec[0] == "INT":
            value = _whole(value)
        elif spec[0] == "FLOAT":
            value = float(value)
            if not math.isfinite(value):
                raise ValueError
        elif spec[0] == "BOOLEAN":
            value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
        else:
            return str(value)
    except (ValueError, KeyError, OverflowError):
        raise ValueError(f"{column}: {str(value)[:60]!r} does not fit an input of type {spec[0]}") from None
    low, high = limits.get("min"), limits.get("max")
    if spec[0] != "BOOLEAN" and ((low is not None and value < low) or (high is not None and value > high)):
        raise ValueError(f"{column}: {str(value)[:60]} is outside {low} to {high}")
    return value


def _whole(value: Any) -> int:
    """20, "20" and "20.0", as tables write whole numbers; not 20.5."""
    if isinstance(value, int):
        return int(value)
    return int(str(value).removesuffix(".0"))


def resolve(raw: Graph | dict[str, Any], object_info: dict[str, Any]) -> Graph:
    """The API's form of a workflow; a workflow as the browser saves it is converted with the server's own accounts."""
    if "nodes" in raw and "links" in raw:
        try:
            return to_api(raw, object_info)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise ComfyError(
                f"The workflow is one that the browser saved, and it can't be converted ({type(error).__name__}: "
                f"{str(error)[:100]}). Export it with File > Export (API)."
            ) from error
    return raw
