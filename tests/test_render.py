"""Blender itself: two small scenes in processes of their own, as the command renders them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent


def render(out: Path, *options: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "training.render", "--out", str(out), "--side", "48", "--samples", "2", *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("studio")
    finished = render(out, "--seed-range", "4:6", "--workers", "1")
    assert finished.returncode == 0, finished.stderr
    return out


def test_layout_and_masks(data: Path):
    listing = (data / "bg60k_info.txt").read_text().splitlines()
    assert listing == ["generic_0000004.png, yoghurt", "generic_0000005.png, cream"]
    for line in listing:
        name = line.split(",")[0]
        mask = np.asarray(Image.open(data / "bg60k_masks_i" / name))
        assert mask.shape == (48, 48) and mask.max() == 255 and mask.min() == 0
        left, top, right, bottom = json.loads((data / "factors" / f"{Path(name).stem}.json").read_text())["boxes"][
            "product"
        ]
        rows, columns = np.nonzero(mask > 127)
        # the box comes from the meshes' bounds, the mask from rays: the mask must lie inside and fill most of it
        assert left * 48 - 1 <= columns.min() and columns.max() <= right * 48 + 1
        assert top * 48 - 1 <= rows.min() and rows.max() <= bottom * 48 + 1
        assert len(rows) > 0.4 * (right - left) * (bottom - top) * 48 * 48


def test_same_seed_same_pixels_and_finished_pictures_stay(data: Path, tmp_path: Path):
    again = render(tmp_path, "--seed-range", "5:6", "--workers", "1")
    assert again.returncode == 0, again.stderr
    name = "bg60k_imgs_i/generic_0000005.png"
    assert np.array_equal(np.asarray(Image.open(data / name)), np.asarray(Image.open(tmp_path / name)))

    before = (data / name).stat().st_mtime_ns
    assert "2 of 2 pictures are there already" in render(data, "--seed-range", "4:6").stdout
    assert (data / name).stat().st_mtime_ns == before


def test_a_bad_range_is_explained():
    finished = render(Path("unused"), "--seed-range", "9:3")
    assert finished.returncode == 2 and "expected 0 <= A < B" in finished.stderr
