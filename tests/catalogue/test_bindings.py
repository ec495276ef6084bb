"""The files of a workflow and its bindings: what they may say, and that anything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from catalogue.bindings import read_workflow
from catalogue.protocol import ComfyError
from tests.catalogue.standin_graph import example_graph


def read(folder: Path, graph: Any, toml: str = "", *binds: str, outputs: tuple[str, ...] = ()) -> Any:
    path = folder / "graph.json"
    path.write_text(graph if isinstance(graph, str) else json.dumps(graph))
    if toml:
        (folder / "graph.bindings.toml").write_text(toml)
    return read_workflow(path, None, list(binds), list(outputs), None)


TOML = """
score = "Inspector"
[[bind]]
input = "Photo.image"
value = "{image}"
[[bind]]
input = "Sampler.steps"
value = 30
[[bind]]
input = "Prompt.text"
value = "{prompt}"
otherwise = "a {category}"
[outputs]
picture = "Save"
"""


def test_bindings_lie_beside_the_workflow_and_the_command_line_wins(tmp_path: Path) -> None:
    graph, bindings, outputs, score = read(
        tmp_path, example_graph(), TOML, "Sampler.steps={steps}", outputs=("mask = 6",)
    )
    assert graph == example_graph() and outputs == {"picture": "Save", "mask": "6"} and score == "Inspector"
    assert {f"{b.node}.{b.input}": b.value for b in bindings} == {
        "Photo.image": "{image}", "Sampler.steps": "{steps}", "Prompt.text": "{prompt}",
    }  # fmt: skip


BAD_TOML = {
    "no TOML": "[[bind",
    "one table": "[bind]\ninput='A.b'\nvalue='c'",
    "text": "bind = 'x'",
    "texts": "bind = ['x']",
    "no value": "[[bind]]\ninput='A.b'",
    "no input": "[[bind]]\nvalue='A.b'",
    "list": "[[bind]]\ninput='A.b'\nvalue=[1]",
    "odd otherwise": "[[bind]]\ninput='A.b'\nvalue='c'\notherwise=3",
    "odd when": "[[bind]]\ninput='A.b'\nvalue=1\nwhen=[]",
    "odd target": "[[bind]]\ninput='image'\nvalue='{image}'",
    "outputs as text": "outputs = 'Save'",
    "odd outputs": "[outputs]\npicture = 5",
    "output that is a path": "[outputs]\n'../x' = 'Save'",
    "odd score": "score = 1",
    "deep": "a = " + "[" * 5000,
}


@pytest.mark.parametrize("case", BAD_TOML)
def test_bad_bindings(tmp_path: Path, case: str) -> None:
    with pytest.raises(ComfyError) as error:
        read(tmp_path, example_graph(), BAD_TOML[case])
    assert str(error.value).isprintable() or "\n" in str(error.value)


def test_bindings_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(example_graph()))
    with pytest.raises(ComfyError, match=r"lost\.toml can't be read"):
        read_workflow(tmp_path / "graph.json", tmp_path / "lost.toml", [], [], None)


NO_WORKFLOWS: dict[str, str] = {
    "empty": "",
    "no JSON": "{",
    "list": "[]",
    "number": "7",
    "nothing in it": "{}",
    "null": "null",
    "deep": "[" * 10**5,
    "no class_type": '{"1": {"inputs": {}}}',
    "no inputs": '{"1": {"class_type": "A"}}',
    "odd node": '{"1": []}',
    "odd class": '{"1": {"class_type": 3, "inputs": {}}}',
    "odd inputs": '{"1": {"class_type": "A", "inputs": []}}',
    "odd title": '{"1": {"class_type": "A", "inputs": {}, "_meta": "x"}}',
    "body of a request": '{"prompt": {}}',
}


@pytest.mark.parametrize("case", NO_WORKFLOWS)
def test_no_workflows(tmp_path: Path, case: str) -> None:
    with pytest.raises(ComfyError, match=r"graph\.json is no (workflow|JSON)"):
        read(tmp_path, NO_WORKFLOWS[case])


def test_a_workflow_that_is_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_bytes(b"\xff\xfe{\0}\0")
    for path in (tmp_path / "graph.json", tmp_path / "lost.json", tmp_path):
        with pytest.raises(ComfyError, match=f"The workflow {path} "):
            read_workflow(path, None, [], [], None)
