"""The loader: three layouts, and every bad record named at once."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from bg_core.errors import ProductBackgroundError
from training.data import load_masks, load_pictures, read_pairs, read_records, split


def test_all_bad_records_are_reported_at_once(data: Path):
    (data / "bg60k_imgs_i" / "03.png").unlink()
    Image.new("L", (64, 64)).save(data / "bg60k_masks_i" / "05.png")
    Image.new("L", (32, 64), 255).save(data / "bg60k_masks_i" / "07.png")
    (data / "bg60k_imgs_i" / "09.png").write_bytes(b"not a picture")
    (data / "factors" / "11.json").write_text("{")
    shutil.copy(data / "bg60k_imgs_i" / "12.png", data / "bg60k_imgs_i" / "13.png")
    listing = data / "bg60k_info.txt"
    listing.write_text(listing.read_text() + "00.png, mug\nno comma here\n")
    with pytest.raises(ProductBackgroundError) as error:
        read_records(data)
    message = str(error.value)
    assert "8 problems" in message
    for part in (
        "line 4: ",
        "03.png is missing",
        "05.png is an empty mask",
        "32x64",
        "can't be read",
        "11.json is not JSON",
        "13.png is the same picture as 12.png",
        "line 41: 00.png is listed twice, first in line 1",
        "no comma here",
    ):
        assert part in message, part


def test_a_missing_data_set_names_what_was_expected_and_the_command_that_renders_one(tmp_path: Path):
    with pytest.raises(ProductBackgroundError, match=r"bg60k_info.txt, or one CSV(.|\n)*python -m training\.render"):
        read_records(tmp_path)


def test_the_real_sets_layout_needs_no_factors_and_its_masks_may_be_png(data: Path, tmp_path: Path):
    """BG60k has no captions; its pictures may be JPEGs with PNG masks; its two parts lie side by side."""
    shutil.rmtree(data / "factors")
    for folder in ("imgs", "masks"):
        (data / f"bg1k_{folder}_i").mkdir()
    with Image.open(data / "bg60k_imgs_i" / "00.png") as picture:
        picture.save(data / "bg1k_imgs_i" / "a.jpg")
    shutil.copy(data / "bg60k_masks_i" / "00.png", data / "bg1k_masks_i" / "a.png")
    (data / "bg1k_info.txt").write_text("a.jpg,table sauce\n")
    assert len(read_records(data)) == 40
    (record,) = read_records(data, "bg1k")
    assert (record.name, record.category, record.caption, record.factors) == ("a.jpg", "table sauce", "", {})
    assert load_masks([record]).max() == 255


def test_a_folder_with_a_table_is_a_data_set(data: Path, tmp_path: Path):
    folder = tmp_path / "own"
    folder.mkdir()
    with (folder / "list.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "mask", "category", "caption"])
        for i in range(3):
            for kind in ("imgs", "masks"):
                shutil.copy(data / f"bg60k_{kind}_i" / f"0{i}.png", folder / f"{kind}{i}.png")
            rows.writerow([f"imgs{i}.png", f"masks{i}.png", "tea", "a tin, on oak"])
    (folder / "imgs1.json").write_text(json.dumps({"surface": "oak"}))
    records = read_records(folder)
    assert [(r.name, r.category, r.caption) for r in records] == [
        (f"imgs{i}.png", "tea", "a tin, on oak") for i in range(3)
    ]
    assert records[1].factors == {"surface": "oak"}
    assert torch.equal(load_pictures(records), load_pictures(read_records(data)[:3]))
    (folder / "list.csv").write_text("image,mask\nimgs0.png,masks0.png\n")
    with pytest.raises(ProductBackgroundError, match="image, mask, category"):
        read_records(folder)


def test_pairs_name_listed_pictures(data: Path):
    records = read_records(data)
    listing = data / "bgpair_info.txt"
    listing.write_text("00.png, 01.png, mug\n02.png, 03.png, mug\n")
    pairs = read_pairs(data, records)
    assert [(p.picture.name, p.reference.name, p.category) for p in pairs] == [
        ("00.png", "01.png", "mug"),
        ("02.png", "03.png", "mug"),
    ]
    listing.write_text("00.png, 99.png, mug\n01.png, 01.png, mug\n00.png, 01.png\n")
    with pytest.raises(ProductBackgroundError) as error:
        read_pairs(data, records)
    for part in ("3 problems", "99.png is not in the list", "01.png is its own reference", "line 3: expected"):
        assert part in str(error.value)


def test_pictures_of_several_sizes_are_framed_about_their_products(data: Path):
    records = read_records(data)[:2]
    wide = Image.new("RGB", (128, 64))
    wide.paste((255, 0, 0), (96, 0, 128, 64))
    wide.save(records[0].picture)
    mask = Image.new("L", (128, 64))
    mask.paste(255, (96, 16, 128, 48))
    mask.save(records[0].mask)
    with pytest.raises(ProductBackgroundError, match=r"one size, got 64x64, 128x64"):
        load_pictures(records)
    pictures, masks = load_pictures(records, 32), load_masks(records, 32)
    assert pictures.shape == (2, 3, 32, 32) and masks.shape == (2, 1, 32, 32)
    assert pictures[0, 0, :, 17:].min() > 250 and masks[0, 0, 9:23, 17:].min() > 250


def test_validation_pictures_are_not_trained_on(data: Path):
    training, validation = split(read_records(data))
    assert len(training) == 38 and len(validation) == 2 and not set(training) & set(validation)
