"""Packshots as the suite `base` paints around them."""

import json
from pathlib import Path

import torch
from PIL import Image

from training.suites.packshots import read_packshots


def test_a_packshot_stands_where_place_product_puts_it(tmp_path: Path) -> None:
    folder = tmp_path / "packshots"
    folder.mkdir()
    shot = Image.new("RGBA", (96, 96), (255, 255, 255, 0))
    shot.paste((200, 20, 20, 255), (10, 30, 50, 90))  # 40 wide, 60 high, on white
    shot.save(folder / "generic_0000001_cutout.png")
    (folder / "generic_0000001.json").write_text(json.dumps({"caption": "a red box on oak"}))
    pictures, masks, captions = read_packshots(tmp_path)
    assert pictures.shape == (1, 3, 96, 96) and masks.shape == (1, 1, 96, 96) and captions == ["a red box on oak"]
    rows, columns = (masks[0, 0] > 127).any(1).nonzero()[:, 0], (masks[0, 0] > 127).any(0).nonzero()[:, 0]
    height, width = len(rows), len(columns)
    assert 52 <= height <= 61  # 0.62 of 96 pixels, less the margin around the box
    assert abs(width / height - 40 / 60) < 0.06
    assert abs(float(columns.float().mean()) - 47.5) < 1.5 and rows.float().mean() > 48
    assert pictures[0, 1].max() <= 130  # no white of the backdrop at the edge: there is no more green than in grey
    outside = masks[0, 0] == 0
    assert torch.equal(pictures[0][:, outside], torch.full((3, int(outside.sum())), 128, dtype=torch.uint8))
