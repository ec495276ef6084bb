"""Every shared graph, run as it is saved but for fewer steps, in a real server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from catalogue.bindings import read_workflow
from catalogue.client import ComfyClient
from catalogue.graph import find_node, load_graph, with_inputs
from catalogue.protocol import ComfyError, Graph, Result
from scripts.comfyui import PHOTOS
from scripts.fidelity import Placement, measure_product

WORKFLOWS = Path(__file__).resolve().parent.parent.parent / "workflows" / "api"
GRAPHS = sorted(path.stem for path in WORKFLOWS.glob("*.json"))
STEPS = 2


@pytest.fixture(scope="module")
def run(client: ComfyClient, tmp_path_factory: pytest.TempPathFactory):
    """Runs a graph with its own photograph and references; returns the graph and the server's result."""

    def running(name: str, **changes: dict) -> tuple[Graph, Result]:
        graph = load_graph(WORKFLOWS / f"{name}.json")
        for node in graph.values():
            if node["class_type"] in ("PBG_LoadProductPhoto", "LoadImage"):
                (file,) = PHOTOS.rglob(node["inputs"]["image"])
                node["inputs"]["image"] = client.upload_image(file)
        graph = with_inputs(
            graph, {"Sampler": {"steps": STEPS}, **{k.replace("_", " "): v for k, v in changes.items()}}
        )
        return graph, client.run(graph)

    return running


def saved(client: ComfyClient, graph: Graph, result: Result, title: str, folder: Path) -> Path:
    (file,) = result.images(find_node(graph, title))
    path = folder / f"{title}.png"
    path.write_bytes(client.download(file))
    return path


@pytest.mark.parametrize("name", GRAPHS)
def test_product_is_bit_exact_in_every_graphs_picture(name: str, run, client: ComfyClient, tmp_path: Path) -> None:
    graph, result = run(name)
    picture, mask = (saved(client, graph, result, title, tmp_path) for title in ("Save picture", "Save product mask"))
    placement = Placement.parse(result.text(find_node(graph, "Placement")))
    measured = measure_product(PHOTOS / "perfume.png", picture, mask, placement)
    assert measured.max_abs_error == 0 and measured.opaque_share > 0.5


def differs(one: Path, other: Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return a.convert("RGB").tobytes() != b.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("category", {"Category_conditioning": {"category": "wine"}}),
        ("category", {"Category_conditioning": {"strength": 0.0}}),
        ("category", {"Mask-guided_attention": {"strength": 0.0}}),
        ("style_reference", {"Apply_reference": {"style": 0.0}}),
        ("style_reference", {"Apply_reference": {"layout": 0.0}}),
        ("category_with_reference", {"Apply_reference": {"style": 0.0, "layout": 0.0}}),
        ("category_with_reference", {"Category_conditioning": {"category": "wine"}}),
        ("two_references", {"Apply_left_reference": {"style": 0.0, "layout": 0.0}}),
        ("two_references", {"Apply_right_reference": {"style": 0.0, "layout": 0.0}}),
        ("training_free", {"Apply_reference": {"style": 0.0}}),
    ],
)
def test_every_control_changes_the_picture(name: str, changes: dict, run, client: ComfyClient, tmp_path: Path) -> None:
    """With the weights that come with the pack: a file that had learned nothing would leave it as it is."""
    before, after = (
        saved(client, *run(name, **given), "Save picture", _folder(tmp_path, str(i)))
        for i, given in enumerate(({}, changes))
    )
    assert differs(before, after)


def _folder(parent: Path, name: str) -> Path:
    (parent / name).mkdir()
    return parent / name


def test_the_category_taken_is_told_and_words_that_name_none_are_refused(run, client: ComfyClient) -> None:
    graph, result = run("category", Category_conditioning={"category": "stoneware tea cup"})
    assert "mug" in result.text(find_node(graph, "Category conditioning"))
    with pytest.raises(ComfyError, match="Category conditioning"):
        run("category", Category_conditioning={"category": "quantum flux capacitor"})


def attention_shares(graph: Graph, result: Result) -> tuple[float, float]:
    """Background's and product's, in percent, over all layers; coarse ones have cells across the product's edge."""
    report = result.text(find_node(graph, "Share of attention"))
    mean = next(line for line in report.splitlines() if line.startswith("mean of all"))
    background, product = (float(share) for share in re.findall(r"(?:background|product) ([\d.]+)%", mean))
    return background, product


def test_the_map_is_dark_on_the_product(run) -> None:
    """By how much depends on what the identifiers have learned; that it is the mask's doing does not."""
    graph, result = run("attention_map")
    assert result.images(find_node(graph, "Where the identifier acted"))
    background, product = attention_shares(graph, result)
    _, unguided = attention_shares(*run("attention_map", **{"Mask-guided_attention": {"strength": 0.0}}))
    assert 0 < product < background / 2
    assert product < unguided / 2


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_has_bindings_for_a_catalogue(name: str) -> None:
    _, bindings, outputs, _ = read_workflow(WORKFLOWS / f"{name}.json", None, [], [], None)
    targets = {f"{binding.node}.{binding.input}" for binding in bindings}
    assert {"Product photo.image", "Sampler.seed"} <= targets
    assert outputs["picture"] == "Save picture"
    graph = load_graph(WORKFLOWS / f"{name}.json")
    for binding in bindings:
        assert binding.input in graph[find_node(graph, binding.node)]["inputs"]
