"""What the demonstration takes from a folder of photographs, and what it does to the folder of its results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from catalogue.protocol import ComfyError
from scripts.contact_sheet import ROWS, SheetRow, save_contact_sheets
from scripts.photos import list_products, unique_names
from scripts.results import Results, check_folder, prepare_folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / "box.png")
    return folder


def test_everything_named_like_an_image_is_taken(photos: Path) -> None:
    for name in ("b.JPG", "c.webp", "d.tiff", "e.gif", "f.bmp", "g.heic", ".hidden.png", "notes.txt", "README"):
        shutil.copy(photos / "box.png", photos / name)
    (photos / "folder.png").mkdir()
    names = {product.photo.name for product in list_products(photos)}
    assert names == {"box.png", "b.JPG", "c.webp", "d.tiff", "e.gif", "f.bmp", "g.heic"}


def test_folder_without_photographs_is_named(tmp_path: Path) -> None:
    with pytest.raises(ComfyError, match="No photographs"):
        list_products(tmp_path)
    with pytest.raises(ComfyError, match="no folder"):
        list_products(tmp_path / "nowhere")


def test_descriptions(photos: Path) -> None:
    assert list_products(photos)[0].category == "unknown"
    # A spreadsheet's file, with its mark at the start; one beside the folder is somebody else's.
    (photos / "photos.csv").write_text("file,category,prompt\nbox.png,perfume,\n", encoding="utf-8-sig")
    (photos.parent / "photos.csv").write_text("file,category,prompt\nlost.png,toy,a toy\n")
    (product,) = list_products(photos)
    assert product.category == "perfume"
    assert product.prompt.startswith("a photo of a product on ")


BAD_DESCRIPTIONS = {
    "a lost photograph": (b"file,category,prompt\nlost.png,perfume,a prompt\n", r"lost\.png"),
    "a column missing": (b"file,prompt\nbox.png,a prompt\n", r"lacks the column category.*'file', 'prompt'"),
    "semicolons": (b"file;category;prompt\nbox.png;perfume;a prompt\n", "file;category;prompt"),
    "nothing": (b"", "it has nothing"),
    "another encoding": ("file,category,prompt\nbox.png,café,\n".encode("latin-1"), "UTF-8"),
}


@pytest.mark.parametrize("case", BAD_DESCRIPTIONS)
def test_bad_descriptions_are_named(photos: Path, case: str) -> None:
    content, message = BAD_DESCRIPTIONS[case]
    (photos / "photos.csv").write_bytes(content)
    with pytest.raises(ComfyError, match=message):
        list_products(photos)


def test_names_never_meet() -> None:
    names = unique_names(map(Path, ["Box.jpg", "box-2.png", "box.png", "box.webp", "other.png"]))
    assert names == ["Box", "box-2", "box-3", "box-4", "other"]


@pytest.mark.parametrize("out", [".", "inside", "..", "../photos", "../link"])
def test_results_and_photographs_are_kept_apart(photos: Path, out: str) -> None:
    (photos.parent / "link").symlink_to(photos)
    with pytest.raises(ComfyError, match="lies in the other"):
        prepare_folder(photos / out, photos)
    assert (photos / "box.png").is_file()


def test_a_folder_with_files_of_the_users_is_refused(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").touch()
    for report in (None, "[]", "{}", '{"pictures": 3}', '{"pictures": ["a"]}', "no JSON"):
        if report is not None:
            (out / "report.json").write_text(report)
        with pytest.raises(ComfyError, match="not empty"):
            prepare_folder(out, photos)
    assert (out / "thesis.txt").is_file() and (out / "report.json").is_file()
    with pytest.raises(ComfyError, match="no folder"):
        prepare_folder(out / "thesis.txt", photos)


def make_results(out: Path, photos: Path) -> Results:
    prepare_folder(out, photos)
    results = Results(out, {"comfyui": "0", "machine": "test"})
    results.write()
    (out / "masks").mkdir()
    for path in (out / "box.png", out / "masks" / "box.png"):
        shutil.copy(photos / "box.png", path)
    results.pictures.append(
        {"file": "box.png", "photo": "../../photos/box.png", "mask": "masks/box.png", "canvas": [40, 40]}
        | {"seconds": 1.0, "category": "box", "product_max_abs_error": 0, "opaque_share": 1.0, "prompt": "a box"}
    )
    results.write_contact_sheets()
    return results


def test_the_next_run_removes_what_the_last_one_made_and_nothing_else(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    results = make_results(out, photos)
    assert results.contact_sheets == ["contact_sheet.jpg"]
    (out / "note.txt").touch()
    (tmp_path / "precious.png").touch()
    report = json.loads((out / "report.json").read_text())
    report["contact_sheets"] += ["../../precious.png", str(tmp_path / "precious.png"), "gone.jpg"]
    (out / "report.json").write_text(json.dumps(report))
    check_folder(out, photos)
    assert (out / "box.png").is_file()  # looking removes nothing
    prepare_folder(out, photos)
    assert [path.name for path in out.iterdir()] == ["note.txt"]
    assert (tmp_path / "precious.png").is_file() and (photos / "box.png").is_file()
    assert not list(out.glob(".*"))


def test_a_photograph_that_is_gone_leaves_its_cell_empty(photos: Path, tmp_path: Path) -> None:
    results = make_results(tmp_path / "new" / "out", photos)
    (photos / "box.png").unlink()
    results.write_contact_sheets()
    assert results.contact_sheets == ["contact_sheet.jpg"]


def test_many_products_fill_several_sheets(photos: Path, tmp_path: Path) -> None:
    picture = photos / "box.png"
    rows = [SheetRow(picture, picture, picture, "a\nb")] * (ROWS + 1)
    assert save_contact_sheets(rows, tmp_path) == ["contact_sheet.jpg", "contact_sheet_2.jpg"]
    with Image.open(tmp_path / "contact_sheet.jpg") as first, Image.open(tmp_path / "contact_sheet_2.jpg") as second:
        assert first.width == second.width
        assert second.height < first.height < 65_500
