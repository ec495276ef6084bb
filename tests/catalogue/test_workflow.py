"""Workflows and bindings: what fills which input, what is checked before anything is queued, the browser's format."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from catalogue.bindings import Binding, read_workflow
from catalogue.graph import load_graph
from catalogue.protocol import ComfyError
from catalogue.workflow import Workflow, resolve
from tests.catalogue.standin_graph import BINDINGS, example_graph, object_info

ROOT = Path(__file__).resolve().parents[2]
NODES = object_info(["base.safetensors"])
ROW = {"id": "x", "image": "up/a.png", "category": "shoe", "seed": 7, "variants": 1, "variant": 0}


def workflow(*bindings: Binding | str, graph: Any = None, **more: Any) -> Workflow:
    parsed = [binding if isinstance(binding, Binding) else Binding.parse(binding) for binding in bindings]
    return Workflow(graph or example_graph(), tuple(parsed), **more)


def filled(binding: Binding | str, **row: Any) -> Any:
    """What a binding puts into the sampler's or the prompt's input for a row."""
    found = workflow(binding).fill(ROW | row, NODES)
    parsed = binding if isinstance(binding, Binding) else Binding.parse(binding)
    return found[workflow().node(parsed.node)]["inputs"][parsed.input]


def test_a_binding_is_read() -> None:
    assert Binding.parse("Photo.image={image}") == Binding("Photo", "image", "{image}")
    assert Binding.parse("Load image (v1.5).image = a=b") == Binding("Load image (v1.5)", "image", " a=b")
    for text in ("Photo.image", "image={image}", ".image={image}", "Photo.={image}"):
        with pytest.raises(ComfyError, match=r"NODE\.INPUT"):
            Binding.parse(text)


def test_a_cell_is_passed_on_or_stands_in_a_sentence() -> None:
    assert filled("Sampler.seed={seed}", seed=2**64 - 1) == 2**64 - 1
    assert filled("4.steps={steps}", steps="30") == 30
    assert filled("Sampler.steps={steps}") == 4, "a row without the cell keeps the workflow's"
    assert (
        filled("Prompt.text=a {category} of {brand}, {größe}", brand="A {seed}", größe="42") == "a shoe of A {seed}, 42"
    )
    assert filled("Prompt.text=a {category} {brand}") == "a shoe"
    assert filled("Prompt.text={ not a column } {0}") == "{ not a column } {0}"


def test_otherwise_and_when() -> None:
    prompt = Binding.of("Prompt.text", "{prompt}", otherwise="a photo of a {category}")
    assert filled(prompt) == "a photo of a shoe" and filled(prompt, prompt="blue") == "blue"
    steps = Binding.of("Sampler.steps", "50", when="width")
    assert filled(steps) == 4 and filled(steps, width=512) == 50
    assert set(prompt.columns) == {"prompt", "category"} and steps.columns == ("width",)


FITTING = [
    ("steps", "30", 30), ("steps", 30.0, 30), ("steps", "30.0", 30), ("cfg", "7.5", 7.5), ("cfg", 8, 8.0),
    ("size", "768", 768), ("size", 512, 512), ("sampler", "heun", "heun"), ("tiled", "Yes", True), ("tiled", 0, False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cell", "value"), FITTING)
def test_a_cell_takes_the_inputs_type(name: str, cell: Any, value: Any) -> None:
    found = filled(f"Sampler.{name}={{own}}", own=cell)
    assert found == value and type(found) is type(value)


UNFITTING = [
    ("steps", "many", "'many' does not fit an input of type INT"), ("steps", 7.5, "'7.5' does not fit"),
    ("steps", 0, "0 is outside 1 to 100"), ("steps", "9" * 5000, "does not fit"), ("steps", 10**4000, "outside"),
    ("cfg", "nan", "'nan' does not fit an input of type FLOAT"), ("cfg", 10**400, "does not fit"),
    ("cfg", "1e999", "does not fit"), ("cfg", -1, "-1.0 is outside 0.0 to 100.0"),
    ("sampler", "brush", "'brush' is none of euler, heun"), ("tiled", "maybe", "'maybe' does not fit"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cell", "reason"), UNFITTING)
def test_a_cell_that_does_not_fit_is_named(name: str, cell: Any, reason: str) -> None:
    with pytest.raises(ValueError, match="own: ") as error:
        filled(f"Sampler.{name}={{own}}", own=cell)
    assert reason in str(error.value) and len(str(error.value)) < 200


def test_filling_leaves_the_workflow_as_it_was() -> None:
    graph = example_graph()
    made = workflow("Sampler.seed={seed}", graph=graph)
    made.fill(ROW, NODES)["4"]["inputs"]["steps"] = 99
    assert graph == example_graph() and made.fill(ROW, NODES)["4"]["inputs"]["steps"] == 4


def changed(path: str, value: Any) -> Any:
    """The example with one thing changed; a value of None takes it away."""
    graph = example_graph()
    place, *rest = path.split("/")
    at: Any = graph[place]
    for name in rest[:-1]:
        at = at[name]
    if value is None:
        del at[rest[-1]]
    else:
        at[rest[-1]] = value
    return graph


PROBLEMS = {
    "no such node type": (changed("4/class_type", "Rembrandt"), (), "the server has no node 'Rembrandt' (Sampler)"),
    "link to nothing": (changed("4/inputs/image", ["77", 0]), (), "Sampler.image is linked to '77', which is no node"),
    "odd link": (changed("5/inputs/images", []), (), "Save.images is linked to nothing, which is no node"),
    "circle": (changed("1/inputs/mask", ["5", 0]), (), "the links go in a circle: "),
    "missing model": (
        changed("2/inputs/ckpt_name", "other.safetensors"), (),
        "the server has no model 'other.safetensors' (Checkpoint.ckpt_name)",
    ),
    "binding to no node": (None, ("Brush.seed={seed}",), "0 nodes are called 'Brush', one is needed. Titles"),
    "binding to two nodes": (changed("2/_meta/title", "Photo"), (), "2 nodes are called 'Photo', one is needed"),
    "binding to no input": (None, ("Sampler.sed={seed}",), "Paint has no input 'sed'; it has cfg, image, mask, model"),
    "binding to a link": (None, ("Sampler.model={seed}",), "that input takes a link of type MODEL, no value"),
    "no such column": (None, ("Prompt.text={promt}",), "the catalogue has no column 'promt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_problems_are_said_before_anything_is_queued(case: str) -> None:
    graph, bindings, message = PROBLEMS[case]
    assert workflow(*BINDINGS).problems(NODES, set(ROW)) == []
    found = workflow(*BINDINGS, *bindings, graph=graph).problems(NODES, set(ROW))
    assert any(message in problem for problem in found), found
    assert len(found) == len(set(found))


def test_a_photo_must_be_bound_and_an_output_found() -> None:
    assert "no binding takes the column 'image' (--bind 'NODE.image={image}')" in workflow().problems(NODES)
    two = example_graph() | {"9": copy.deepcopy(example_graph()["5"])}
    two["9"]["_meta"]["title"] = "Save mask"
    (found,) = workflow(*BINDINGS, graph=two).problems(NODES)
    assert "Nodes that save: Save, Save mask." in found
    named = workflow(*BINDINGS, graph=two, outputs={"picture": "Save", "mask": "9"})
    assert named.problems(NODES) == [] and named.output_nodes() == {"picture": "5", "mask": "9"}
    (found,) = workflow(*BINDINGS, score="Judge").problems(NODES)
    assert "0 nodes are called 'Judge'" in found


def test_a_model_that_a_column_chooses_may_be_missing_from_the_workflow() -> None:
    graph = changed("2/inputs/ckpt_name", "other.safetensors")
    for name in ("Checkpoint", "2"):
        assert workflow(*BINDINGS, f"{name}.ckpt_name={{model}}", graph=graph).problems(NODES) == []


def test_an_unused_node_may_be_linked_to_nothing() -> None:
    """The server doesn't look at it either."""
    graph = example_graph() | {"9": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["77", 0]}}}
    assert workflow(*BINDINGS, graph=graph).problems(NODES) == []


def test_the_digest_is_of_what_is_painted() -> None:
    base = workflow(*BINDINGS)
    moved = example_graph()
    moved["4"]["_meta"] = {"title": "Sampler", "place": [3, 4]}
    assert workflow(*BINDINGS, graph=moved).digest == base.digest
    for other in (
        workflow(*BINDINGS, graph=changed("4/inputs/steps", 5)), workflow(*BINDINGS[:2]),
        workflow(*BINDINGS, score="6"), workflow(*BINDINGS, outputs={"picture": "Save"}),
    ):  # fmt: skip
        assert other.digest != base.digest
    assert base.weights() == ["base.safetensors"]


def browsers() -> Any:
    """The example as the browser saves it."""
    nodes = [
        {"id": 1, "type": "LoadImage", "mode": 0, "inputs": [], "widgets_values": ["example.png", "image"]},
        {"id": 3, "type": "CLIPTextEncode", "mode": 0, "widgets_values": ["red"],
         "inputs": [{"name": "clip", "link": 1}]},
        {"id": 2, "type": "CheckpointLoaderSimple", "mode": 0, "inputs": [], "widgets_values": ["base.safetensors"]},
        {"id": 8, "type": "Note", "mode": 0, "inputs": [], "widgets_values": ["hello"]},
        {"id": 9, "type": "Rembrandt", "mode": 2, "inputs": [], "widgets_values": []},
    ]  # fmt: skip
    return {"nodes": nodes, "links": [[1, 2, 1, 3, 0, "CLIP"]], "version": 0.4}


def test_the_browsers_own_format_is_converted() -> None:
    graph = resolve(browsers(), NODES)
    assert {n: (node["class_type"], node["inputs"]) for n, node in graph.items()} == {
        "1": ("LoadImage", {"image": "example.png"}),
        "2": ("CheckpointLoaderSimple", {"ckpt_name": "base.safetensors"}),
        "3": ("CLIPTextEncode", {"text": "red", "clip": ["2", 1]}),
    }


def test_what_cannot_be_converted_says_the_way_out() -> None:
    for break_it in (
        lambda raw: raw.update(nodes=5), lambda raw: raw.update(links=[{}]), lambda raw: raw.update(nodes=[{}]),
        lambda raw: raw["nodes"][0].pop("mode"),
        lambda raw: raw["nodes"][1].update(inputs=[{"name": "clip", "link": 5}]),
        lambda raw: raw["nodes"][0].update(id="one"), lambda raw: raw["nodes"][0].update(widgets_values=7),
        lambda raw: raw["nodes"].append(None), lambda raw: raw["nodes"][0].update(type=[]),
    ):  # fmt: skip
        raw = browsers()
        break_it(raw)
        with pytest.raises(ComfyError, match=r"can't be converted .*File > Export \(API\)"):
            resolve(raw, NODES)
    for change, message in (
        ({"mode": 4}, "is bypassed"), ({"type": "Rembrandt"}, "has no node 'Rembrandt'"),
        ({"widgets_values": [1, 2, 3]}, "stores 3 values"),
    ):  # fmt: skip
        raw = browsers()
        raw["nodes"][0].update(change)
        with pytest.raises(ComfyError, match=message):
            resolve(raw, NODES)


def test_our_own_workflow_and_its_bindings_agree() -> None:
    path = ROOT / "workflows" / "api" / "product_background.json"
    graph, bindings, outputs, score = read_workflow(path, None, [], [], None)
    made = Workflow(graph, bindings, outputs, score)
    assert made.output_nodes().keys() == {"picture", "mask"} and "image" in made.columns()
    assert graph == load_graph(path) and all(made.node(binding.node) for binding in bindings)
