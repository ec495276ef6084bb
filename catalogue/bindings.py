"""Bindings: which column of a catalogue fills which input of a workflow, from a file and the command line."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .graph import load_graph
from .protocol import ComfyError, Graph

_FIELD = re.compile(r"\{([^\W\d][\w -]*)\}")
_OUTPUT_NAME = re.compile(r"[\w -]+")  # it becomes a part of file names


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
    for name in said:
        if not _OUTPUT_NAME.fullmatch(name):
            _bad(
                f"The output's name {name!r} becomes a part of file names: letters, digits, spaces and - are accepted."
            )
    last = {(binding.node, binding.input, binding.when): binding for binding in found}  # the command line wins
    return raw, tuple(last.values()), said, score or scored


def _read_bindings(path: Path) -> tuple[tuple[Binding, ...], dict[str, str], str | None]:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ComfyError(f"{path} can't be read: {str(error)[:300]}") from error
    entries, outputs, score = data.get("bind", []), data.get("outputs", {}), data.get("score")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        _bad(f"{path}: bindings are tables, each under [[bind]].")
    for entry in entries:
        texts = [entry.get("input"), entry.get("otherwise", ""), entry.get("when", "")]
        if not all(isinstance(text, str) for text in texts) or not isinstance(entry.get("value"), str | int | float):
            _bad(
                f"{path}: each [[bind]] needs input and value as text; otherwise and when are text, too. Found {entry}."
            )
    if not isinstance(outputs, dict) or not all(isinstance(node, str) for node in outputs.values()):
        _bad(f'{path}: [outputs] holds lines of NAME = "NODE".')
    if not isinstance(score, str | None):
        _bad(f"{path}: score is the title of a node.")
    bindings = tuple(
        Binding.of(entry["input"], str(entry["value"]), entry.get("otherwise"), entry.get("when")) for entry in entries
    )
    return bindings, outputs, score
