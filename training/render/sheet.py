"""`python -m training.render.sheet DIR`: a contact sheet a category, `DIR/sheets/CATEGORY.jpg`, of what is there."""

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

from PIL import Image

from bg_core.files import replacing

COLUMNS, ROWS = 8, 6


def paste(pictures: list[Path]) -> Image.Image:
    """The pictures in rows, each as large as the first."""
    with Image.open(pictures[0]) as first:
        side = first.width
    rows = -(-len(pictures) // COLUMNS)
    sheet = Image.new("RGB", (min(len(pictures), COLUMNS) * side, rows * side), "white")
    for i, path in enumerate(pictures):
        with Image.open(path) as picture:
            sheet.paste(picture.convert("RGB").resize((side, side)), (i % COLUMNS * side, i // COLUMNS * side))
    return sheet


def write_sheets(root: Path) -> list[Path]:
    """The first scenes (or packshots) of each category; returns the sheets."""
    members: dict[str, list[Path]] = defaultdict(list)
    for facts in sorted([*root.glob("factors/*.json"), *root.glob("packshots/*.json")]):
        folder = "bg60k_imgs_i" if facts.parent.name == "factors" else "packshots"
        members[json.loads(facts.read_text())["category"]].append(root / folder / f"{facts.stem}.png")
    (root / "sheets").mkdir(exist_ok=True)
    written = []
    for category, pictures in members.items():
        target = root / "sheets" / f"{category}.jpg"
        with replacing(target) as temporary:
            paste(pictures[: COLUMNS * ROWS]).save(temporary, quality=90)
        written.append(target)
    return written


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.render.sheet", description=__doc__)
    parser.add_argument("root", type=Path, help="a data set folder, such as data/studio/train/bound")
    sheets = write_sheets(parser.parse_args().root)
    print(f"{len(sheets)} sheets")
    return 0 if sheets else 1


if __name__ == "__main__":
    sys.exit(main())
