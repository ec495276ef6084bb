"""The shared graph from the photograph to the saved file, in a real server."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from catalogue.client import ComfyClient
from catalogue.graph import find_node, with_inputs
from catalogue.protocol import Graph, Result
from scripts.fidelity import Placement, measure_product

STEPS = 3  # enough for a picture; what it shows is the demonstration's business


@pytest.fixture(scope="module")
def quick(client: ComfyClient, packshot: Path) -> dict[str, dict[str, object]]:
    image = client.upload_image(packshot)
    return {"Product photo": {"image": image}, "Sampler": {"steps": STEPS}}


def save(client: ComfyClient, graph: Graph, result: Result, title: str, folder: Path) -> list[Path]:
    paths = []
    for index, file in enumerate(result.images(find_node(graph, title))):
        paths.append(folder / f"{title}-{index}.png")
        paths[-1].write_bytes(client.download(file))
    return paths


def test_product_is_bit_exact_in_the_saved_file(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]], packshot: Path, tmp_path: Path
) -> None:
    result = client.run(with_inputs(graph, quick))
    (picture,) = save(client, graph, result, "Save picture", tmp_path)
    (mask,) = save(client, graph, result, "Save product mask", tmp_path)
    placement = Placement.parse(result.text(find_node(graph, "Placement")))
    assert measure_product(packshot, picture, mask, placement).max_abs_error == 0
    with Image.open(picture) as image:
        assert image.size == (768, 768)
        pixels = np.asarray(image.convert("RGB")).astype(int)
    # The background was painted: it is neither the photograph's white nor one colour.
    with Image.open(mask) as image:
        background = pixels[np.asarray(image.convert("L")) == 0]
    assert (background == 255).all(axis=1).mean() < 0.5
    assert background.std(axis=0).max() > 0


def test_the_label_is_all_there(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]], tmp_path: Path
) -> None:
    """The mask that fidelity is measured on must not be empty where the product is: its area is known here."""
    result = client.run(with_inputs(graph, quick))
    (mask,) = save(client, graph, result, "Save product mask", tmp_path)
    left, top, right, bottom = Placement.parse(result.text(find_node(graph, "Placement"))).placed_box
    with Image.open(mask) as image:
        inside = np.asarray(image.convert("L"))[top:bottom, left:right] == 255
    assert inside.mean() > 0.9  # a box on white, all but its edge


def test_a_repeated_prompt_reports_its_files_again(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]]
) -> None:
    """ComfyUI serves it from its cache and, to a client without an id, would report nothing."""
    filled = with_inputs(graph, quick)
    first, again = client.run(filled), client.run(filled)
    assert first.images(find_node(graph, "Save picture"))
    assert first.outputs == again.outputs


def test_a_batch_of_photographs_in_one_go(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]], packshot: Path, tmp_path: Path
) -> None:
    flipped = tmp_path / "flipped.png"
    with Image.open(packshot) as image:
        image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(flipped)
    batch = with_inputs(graph, quick | {"Prepare product": {"photo": ["21", 0]}})
    batch["20"] = {"class_type": "PBG_LoadProductPhoto", "inputs": {"image": client.upload_image(flipped)}}
    batch["21"] = {
        "class_type": "ImageBatch",
        "inputs": {"image1": [find_node(graph, "Product photo"), 0], "image2": ["20", 0]},
    }
    result = client.run(batch)
    pictures = save(client, batch, result, "Save picture", tmp_path)
    masks = save(client, batch, result, "Save product mask", tmp_path)
    placements = json.loads(result.text(find_node(batch, "Placement")))
    assert len(pictures) == len(masks) == len(placements) == 2
    for photo, picture, mask, entry in zip((packshot, flipped), pictures, masks, placements, strict=True):
        assert measure_product(photo, picture, mask, Placement.parse(json.dumps(entry))).max_abs_error == 0


@pytest.mark.parametrize("preset", ["Portrait 768x1024", "Story 1080x1920"])
def test_other_canvases(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]], packshot: Path, tmp_path: Path, preset: str
) -> None:
    result = client.run(with_inputs(graph, quick | {"Prepare product": {"preset": preset}}))
    (picture,) = save(client, graph, result, "Save picture", tmp_path)
    (mask,) = save(client, graph, result, "Save product mask", tmp_path)
    with Image.open(picture) as image:
        assert "x".join(map(str, image.size)) == preset.split()[-1]
    placement = Placement.parse(result.text(find_node(graph, "Placement")))
    assert measure_product(packshot, picture, mask, placement).max_abs_error == 0


def test_saved_picture_carries_its_workflow(
    client: ComfyClient, graph: Graph, quick: dict[str, dict[str, object]]
) -> None:
    """Dropping the picture into ComfyUI brings the graph back."""
    result = client.run(with_inputs(graph, quick))
    (file,) = result.images(find_node(graph, "Save picture"))
    with Image.open(io.BytesIO(client.download(file))) as image:
        prompt = json.loads(image.info["prompt"])
    assert {node["class_type"] for node in prompt.values()} == {node["class_type"] for node in graph.values()}
