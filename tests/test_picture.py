"""Load Product Photo as ComfyUI calls it: a file or a linked picture, with or without alpha."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.picture import picture_tensors
from product_background.bg_core.placement import Arrangement
from product_background.bg_core.prepare import prepare_product

HEIGHT, WIDTH = 24, 40


@pytest.fixture
def picture() -> torch.Tensor:
    """[2, HEIGHT, WIDTH, 4], off the 8-bit grid, its alpha a box with a soft row."""
    torch.manual_seed(0)
    picture = torch.rand(2, HEIGHT, WIDTH, 4)
    picture[..., 3] = 0
    picture[:, 5:15, 10:30, 3] = 1
    picture[:, 15, 10:30, 3] = 0.4
    return picture


def test_alpha_becomes_the_product_mask(picture: torch.Tensor) -> None:
    image, mask = picture_tensors(picture)
    assert image.shape == (2, HEIGHT, WIDTH, 3) and mask.shape == (2, HEIGHT, WIDTH)
    assert image.dtype == mask.dtype == torch.float32
    levels = (picture.numpy() * 255).round().astype(np.uint8)
    assert np.array_equal(image.numpy(), levels[..., :3].astype(np.float32) / 255.0)
    assert np.array_equal(mask.numpy(), levels[..., 3].astype(np.float32) / 255.0)


@pytest.mark.parametrize("channels", [3, 4])
def test_without_a_telling_alpha_there_is_no_mask(picture: torch.Tensor, channels: int) -> None:
    picture[..., 3] = 0.999  # 255 on the 8-bit grid
    image, mask = picture_tensors(picture[..., :channels])
    assert image.shape == (2, HEIGHT, WIDTH, 3)
    assert mask.shape == (1, 64, 64) and not mask.any()


def test_values_outside_are_clamped_and_the_input_is_left_alone(picture: torch.Tensor) -> None:
    picture[0, 0, 0, :3] = torch.tensor([-0.3, 1.7, 0.5])
    before = picture.clone()
    assert (picture_tensors(picture.half())[0][0, 0, 0] * 255).tolist() == [0, 255, 128]
    assert torch.equal(picture, before)


def test_what_no_picture_is(picture: torch.Tensor) -> None:
    empty, mixed, broken = picture.clone(), picture.clone(), picture.clone()
    empty[1, ..., 3] = 0.001
    mixed[1, ..., 3] = 1
    broken[0, 3, 3, 3] = math.nan
    refused = {
        r"empty \(item 1 of the batch\)": empty,
        r"picture is empty: its alpha": empty[1:],
        r"no product mask \(item 1 of the batch\)": mixed,
        "NaN": broken,
        r"the shape \(24, 40, 4\)": picture[0],
        r"the shape \(2, 24, 40, 1\)": picture[..., :1],
        r"the shape \(0, 24, 40, 4\)": picture[:0],
        "picture is 40x15 pixels.*at least 16": picture[:, :15],
        "picture is too large: 17000x16": torch.zeros(1, 16, 17_000, 3),
    }
    for message, wrong in refused.items():
        with pytest.raises(ProductBackgroundError, match=message):
            picture_tensors(wrong)


def test_prepare_product_says_where_alpha_goes(picture: torch.Tensor) -> None:
    with pytest.raises(ProductBackgroundError, match="Load Product Photo's input picture"):
        prepare_product(picture, None, (768, 768), (192, 192), Arrangement())


@pytest.fixture
def node(comfyui: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node's module, with an input folder of its own."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "input_directory", str(tmp_path / "input"))
    return importlib.import_module("product_background.nodes.photo")


def test_a_missing_input_folder_offers_no_files(node: ModuleType, tmp_path: Path) -> None:
    def offered() -> list[str]:
        return node.LoadProductPhoto.define_schema().inputs[0].options

    assert offered() == []
    (tmp_path / "input" / "folder.png").mkdir(parents=True)
    for name in ("b.jpg", "a.png", "notes.txt"):
        (tmp_path / "input" / name).touch()
    assert offered() == ["a.png", "b.jpg"]


def test_the_file_is_checked_only_where_it_is_read(node: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "input" / "a.png").touch()
    validate = node.LoadProductPhoto.validate_inputs
    assert validate(image="a.png") is True
    assert "no file 'lost.png'" in validate(image="lost.png")
    # ComfyUI passes None for what is connected.
    assert validate(image=None) is True
    assert validate(image="lost.png", picture=None) is True


def test_fingerprint_follows_the_files_content(node: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "input").mkdir()
    fingerprint = node.LoadProductPhoto.fingerprint_inputs
    (tmp_path / "input" / "a.png").write_bytes(b"one")
    before = fingerprint(image="a.png")
    assert fingerprint(image="a.png") == before
    (tmp_path / "input" / "a.png").write_bytes(b"two")
    assert fingerprint(image="a.png") != before
    assert math.isnan(fingerprint(image=None))
    assert fingerprint(image="lost.png", picture=None) == fingerprint(image=None, picture=None)


def test_a_connected_picture_replaces_the_file(node: ModuleType, tmp_path: Path, picture: torch.Tensor) -> None:
    (tmp_path / "input").mkdir()
    Image.new("RGB", (WIDTH, HEIGHT), (10, 20, 30)).save(tmp_path / "input" / "a.png")
    photo, mask = node.LoadProductPhoto.execute(image="a.png").args
    assert (photo[0, 0, 0] * 255).tolist() == [10, 20, 30] and mask.shape == (1, 64, 64)
    photo, mask = node.LoadProductPhoto.execute(image="lost.png", picture=picture).args
    assert photo.shape == (2, HEIGHT, WIDTH, 3) and mask.shape == (2, HEIGHT, WIDTH)
