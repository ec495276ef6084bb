"""`python -m training.render.photos --out product_photos`: the product photographs that `make demo` starts from.

One packshot a category, of a shape that no training render shows, with a soft shadow on white and no alpha, as sellers
have them; `photos.csv` gives each the caption of a scene that its category's commonality would draw.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

from PIL import Image

from ..files import replacing
from .__main__ import main as render
from .catalog import CATEGORIES
from .layout import slot
from .recipe import draw_recipe

FIRST_SEED = 600_000


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.render.photos", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=640, help="picture side in pixels")
    parser.add_argument("--samples", type=int, default=32)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    last = FIRST_SEED + len(CATEGORIES)
    with tempfile.TemporaryDirectory() as folder:
        shots = [
            "--packshots",
            "--half",
            "bound",
            "--held-out",
            "--out",
            folder,
            "--seed-range",
            f"{FIRST_SEED}:{last}",
        ]
        if failed := render([*shots, "--side", str(options.side), "--samples", str(options.samples)]):
            return failed
        rows = []
        for seed in range(FIRST_SEED, last):
            recipe = draw_recipe(seed, "bound", held_out=True)
            name = f"{recipe.category}.jpg"
            shot = slot(Path(folder), "bound", seed, packshot=True).picture
            with Image.open(shot) as picture, replacing(options.out / name) as temporary:
                picture.save(temporary, quality=94, subsampling=0)
            rows.append({"file": name, "category": recipe.category, "prompt": recipe.caption})
    with replacing(options.out / "photos.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "category", "prompt"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
