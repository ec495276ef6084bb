"""The demonstration on a small folder: what it leaves, what it says, and that nothing is hidden."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from catalogue.client import ComfyClient, ComfyError, Graph
from catalogue.graph import with_inputs
from scripts import demo
from scripts.fidelity import FidelityError, Placement, product_max_abs_error


def test_demonstration(
    client: ComfyClient, graph: Graph, packshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tmp_path / "graph.json"
    quick.write_text(json.dumps(with_inputs(graph, {"Sampler": {"steps": 2}})))
    monkeypatch.setattr(demo, "GRAPH", quick)
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    shutil.copy(packshot, photos / "box.png")
    with Image.open(packshot) as image:
        image.save(photos / "box.jpg", quality=95)  # the same stem: results must not overwrite each other
    (photos / "broken.png").write_text("not a picture")
    (photos / "photos.csv").write_text("file,category,prompt\nbox.png,perfume,a photo of a perfume bottle on oak\n")
    said = io.StringIO()

    assert demo.demonstrate(client, photos, out, Console(file=said, soft_wrap=True)) == 1  # one photograph is broken

    report = json.loads((out / "report.json").read_text())
    assert report["comfyui"] and report["machine"]
    assert list(report["failures"]) == ["broken.png"]
    assert "No picture for broken.png: Product photo" in said.getvalue()
    pictures = {entry["photo"]: entry for entry in report["pictures"]}
    assert pictures.keys() == {"box.png", "box.jpg"}
    for entry in pictures.values():
        assert entry["product_max_abs_error"] == 0
        assert entry["canvas"] == [768, 768]
        assert entry["seconds"] > 0
        assert (out / entry["file"]).is_file() and (out / entry["mask"]).is_file()
    assert pictures["box.png"]["category"] == "perfume"
    assert pictures["box.png"]["prompt"] == "a photo of a perfume bottle on oak"
    assert pictures["box.jpg"]["category"] == "unknown"
    with Image.open(out / "contact_sheet.jpg") as sheet:
        assert min(sheet.size) > 1000


def test_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match="No photographs"):
        demo.list_products(tmp_path)
    with pytest.raises(ComfyError, match="no folder"):
        demo.list_products(tmp_path / "nowhere")


def test_description_of_a_lost_photograph_is_named(packshot: Path, tmp_path: Path) -> None:
    shutil.copy(packshot, tmp_path / "box.png")
    (tmp_path / "photos.csv").write_text("file,category,prompt\nlost.png,perfume,a prompt\n")
    with pytest.raises(ComfyError, match=r"lost\.png"):
        demo.list_products(tmp_path)


def test_measure_sees_one_changed_pixel(packshot: Path, tmp_path: Path) -> None:
    """The measurement itself: a picture made by hand, right but for one channel of one pixel."""
    box, placed = (90, 80, 270, 360), (100, 50, 460, 610)
    with Image.open(packshot) as photo:
        product = photo.convert("RGB").crop(box).resize((360, 560), Image.Resampling.LANCZOS)
    picture, mask = Image.new("RGB", (768, 768)), Image.new("L", (768, 768))
    picture.paste(product, placed)
    mask.paste(255, placed)
    picture.save(tmp_path / "picture.png")
    mask.save(tmp_path / "mask.png")
    arguments = (packshot, tmp_path / "picture.png", tmp_path / "mask.png", Placement(box, placed))
    assert product_max_abs_error(*arguments) == 0

    pixels = np.array(picture)
    pixels[300, 200, 1] ^= 1
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    assert product_max_abs_error(*arguments) == 1

    mask.paste(255, (0, 0, 10, 10))
    mask.save(tmp_path / "mask.png")
    with pytest.raises(FidelityError, match="outside"):
        product_max_abs_error(*arguments)
    Image.new("L", (768, 768)).save(tmp_path / "mask.png")
    with pytest.raises(FidelityError, match="no opaque"):
        product_max_abs_error(*arguments)


def test_unreadable_placement_is_an_error() -> None:
    with pytest.raises(FidelityError, match="placement"):
        Placement.parse("None")
