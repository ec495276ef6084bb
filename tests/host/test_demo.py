"""The demonstration on a small folder: what it leaves, what it says, and that nothing is hidden."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from catalogue.graph import with_inputs
from catalogue.protocol import ComfyError, Graph
from scripts import demo
from scripts.comfyui import ComfyServer, free_port
from scripts.results import Results


@pytest.fixture
def photos(graph: Graph, packshot: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two photographs with one stem and a broken file; the graph paints quickly."""
    quick = tmp_path / "graph.json"
    quick.write_text(json.dumps(with_inputs(graph, {"Sampler": {"steps": 2}})))
    shutil.copy(demo.GRAPH.with_suffix(".bindings.toml"), quick.with_suffix(".bindings.toml"))
    monkeypatch.setattr(demo, "GRAPH", quick)
    folder = tmp_path / "photos"
    folder.mkdir()
    shutil.copy(packshot, folder / "box.png")
    with Image.open(packshot) as image:
        image.save(folder / "box.jpg", quality=95)
    (folder / "broken.png").write_text("not a picture")
    (folder / "photos.csv").write_text("file,category,prompt\nbox.png,perfume,a photo of a perfume bottle on oak\n")
    return folder


def test_demonstration(server: ComfyServer, photos: Path, tmp_path: Path) -> None:
    out, said = tmp_path / "out", io.StringIO()
    # one photograph is broken
    assert demo.demonstrate(server.url, photos, out, Console(file=said, soft_wrap=True)) == 1

    report = json.loads((out / "report.json").read_text())
    assert report["comfyui"] and report["machine"]
    assert list(report["failures"]) == ["broken.png"]
    assert "No picture for broken.png: broken.png is no picture" in said.getvalue()
    pictures = {Path(entry["photo"]).name: entry for entry in report["pictures"]}
    assert pictures.keys() == {"box.png", "box.jpg"}
    assert len({entry[key] for entry in report["pictures"] for key in ("file", "mask")}) == 4
    for entry in report["pictures"]:
        assert entry["product_max_abs_error"] == 0
        assert entry["opaque_share"] > 0.9
        assert entry["canvas"] == [768, 768]
        assert entry["seconds"] > 0
        for key in ("file", "mask", "photo"):
            with Image.open(out / entry[key]) as image:
                assert key == "photo" or image.size == (768, 768)
    assert pictures["box.png"]["category"] == "perfume"
    assert pictures["box.png"]["prompt"] == "a photo of a perfume bottle on oak"
    assert pictures["box.jpg"]["category"] == "unknown"
    assert report["contact_sheets"] == ["contact_sheet.jpg"]
    with Image.open(out / "contact_sheet.jpg") as sheet:
        assert min(sheet.size) > 1000


def test_what_was_painted_is_kept_when_the_server_goes(
    server: ComfyServer, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, collected = tmp_path / "out", demo.collected

    def collect_one(*arguments: Any) -> dict[str, Any]:
        report = json.loads((out / "report.json").read_text())  # written before the first and after every picture
        if report["pictures"]:
            raise KeyboardInterrupt
        return collected(*arguments)

    monkeypatch.setattr(demo, "collected", collect_one)
    with pytest.raises(KeyboardInterrupt):
        demo.demonstrate(server.url, photos, out, Console(file=io.StringIO()))
    report = json.loads((out / "report.json").read_text())
    (kept,) = report["pictures"]  # whichever the server finished first
    assert Path(kept["photo"]).name in ("box.jpg", "box.png")
    assert "broken.png" in report["failures"]  # not passed over in silence
    assert (out / "contact_sheet.jpg").is_file()


def test_no_server(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match="does not answer"):
        demo.demonstrate(f"http://127.0.0.1:{free_port()}", photos, tmp_path / "out", Console(file=io.StringIO()))


def test_a_nearly_empty_mask_is_pointed_out(tmp_path: Path) -> None:
    entry = {"file": "box.png", "mask": "masks/box.png", "product_max_abs_error": 0}
    for share, warned in ((0.19, True), (0.2, False)):
        said = io.StringIO()
        results = Results(tmp_path, {}, pictures=[entry | {"opaque_share": share}])
        demo.summarise(results, Console(file=said, soft_wrap=True))
        assert ("masks/box.png" in said.getvalue()) == warned
