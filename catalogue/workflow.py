"""A workflow with its bindings: which column fills which input, and which node's output is the picture."""

from __future__ import annotations

import copy
import hashlib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from .graph import load_graph, to_api
from .protocol import ComfyError, Graph, title_of
from .rows import FILE_COLUMNS

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_ -]*)\}")
_OPTIONAL = ("mask", "reference", "prompt", "width", "height")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".sft")
_SAVERS = ("SaveImage", "PreviewImage")


@dataclass(frozen=True)
class Binding:
    """What goes into one input. `{column}` in `value` stands for the row's cell.

    A value that is nothing but `{column}` passes the cell on as it is; a row without that cell gets `otherwise`, or
    keeps what the workflow holds. `when`: only for rows that fill this column.
    """

    node: str
    input: str
    value: str
    otherwise: str | None = None
    when: str | None = None

    @staticmethod
    def parse(text: str) -> Binding:
        """`Node title.input={column}`, as the command line takes it."""
        target, equals, value = text.partition("=")
        return Binding.of(target, value) if equals else _bad(f"The binding {text!r} is not NODE.INPUT=VALUE.")

    @staticmethod
    def of(target: str, value: str, otherwise: str | None = None, when: str | None = None) -> Binding:
        node, dot, name = target.strip().rpartition(".")
        if not dot or not node or not name:
            _bad(f"The binding's target {target!r} is not NODE.INPUT, such as 'Sampler.seed' or '7.seed'.")
        return Binding(node, name, value, otherwise, when)

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(_FIELD.findall(self.value + (self.otherwise or "")) + [self.when] * bool(self.when)))

    @property
    def column(self) -> str | None:
        """The one column that is passed on as it is, if the value is that and nothing else."""
        whole = _FIELD.fullmatch(self.value)
        return whole.group(1) if whole else None

    def render(self, values: dict[str, Any]) -> Any:
        """The input's value for a row, or None to leave the workflow's own."""
        if self.when and self.when not in values:
            return None
        if self.column:
            if self.column in values:
                return values[self.column]
            return None if self.otherwise is None else _filled(self.otherwise, values)
        return _filled(self.value, values)


def _filled(template: str, values: dict[str, Any]) -> str:
    return _FIELD.sub(lambda found: str(values.get(found.group(1), "")), template).strip()


def _bad(message: str) -> Any:
    raise ComfyError(message)


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
                f"{len(found)} nodes are called {name!r}, one is needed. Titles in this workflow: {titles}."
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
        graph = copy.deepcopy(self.graph)
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
    return {**info["input"].get("required", {}), **info["input"].get("optional", {})}


def _options(spec: list[Any]) -> list[Any] | None:
    if isinstance(spec[0], list):
        return list(spec[0])
    return list(spec[1].get("options", [])) if spec[0] == "COMBO" else None


def _socket(spec: list[Any]) -> bool:
    return _options(spec) is None and spec[0] not in ("INT", "FLOAT", "STRING", "BOOLEAN")


def _fitting(value: Any, spec: list[Any], column: str) -> Any:
    limits = spec[1] if len(spec) > 1 else {}
    options = _options(spec)
    if options is not None:
        if value not in options and not limits.get("image_upload"):
            some = ", ".join(map(str, options[:12])) + (" ..." if len(options) > 12 else "")
            raise ValueError(f"{column}: {value!r} is none of {some}")
        return value
    try:
        if spec[0] == "INT":
            value = int(value)
        elif spec[0] == "FLOAT":
            value = float(value)
        elif spec[0] == "BOOLEAN":
            value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(value).lower()]
        else:
            return str(value)
    except (ValueError, KeyError):
        raise ValueError(f"{column}: {value!r} does not fit an input of type {spec[0]}") from None
    low, high = limits.get("min"), limits.get("max")
    if spec[0] != "BOOLEAN" and ((low is not None and value < low) or (high is not None and value > high)):
        raise ValueError(f"{column}: {value} is outside {low} to {high}")
    return value


def read_workflow(
    path: Path, bindings_file: Path | None, binds: list[str], outputs: list[str], score: str | None
) -> tuple[Graph | dict[str, Any], tuple[Binding, ...], dict[str, str], str | None]:
    """What the files and the command line say. The graph may still be the browser's: see `resolve`.

    The bindings' file is `bindings_file`, or the one that lies beside the workflow as NAME.bindings.toml.
    """
    raw = load_graph(path, browser=True)
    beside = path.with_suffix(".bindings.toml")
    source = bindings_file or (beside if beside.is_file() else None)
    found, said, scored = _read_bindings(source) if source else ((), {}, None)
    found += tuple(Binding.parse(text) for text in binds)
    for text in outputs:
        name, equals, node = text.partition("=")
        said[name.strip()] = node.strip() if equals else _bad(f"--output {text!r} is not NAME=NODE.")
    last = {(binding.node, binding.input, binding.when): binding for binding in found}  # the command line wins
    return raw, tuple(last.values()), said, score or scored


def _read_bindings(path: Path) -> tuple[tuple[Binding, ...], dict[str, str], str | None]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        bindings = tuple(
            Binding.of(entry["input"], str(entry["value"]), entry.get("otherwise"), entry.get("when"))
            for entry in data.get("bind", [])
        )
        return bindings, dict(data.get("outputs", {})), data.get("score")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ComfyError(f"{path} can't be read: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ComfyError(f"{path}: each [[bind]] needs input and value as text (at {error}).") from error


def resolve(raw: Graph | dict[str, Any], object_info: dict[str, Any]) -> Graph:
    """The API's form of a workflow; a workflow as the browser saves it is converted with the server's own accounts."""
    if "nodes" in raw and "links" in raw:
        return to_api(raw, object_info)
    return raw
