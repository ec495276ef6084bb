"""`python -m training.render.photos --out product_photos`: the product photographs that `make demo` starts from.

Twelve packshots, one a category, of shapes that no training render shows. Most are JPEGs on white with a soft shadow
and no alpha; products as pale as the paper, whose outline nobody could find, are PNGs with alpha, as photographers do.
`photos.csv` gives each the caption of a scene that its category's commonality would draw.

`references/` gets finished scenes for the graphs that follow a reference picture, transparent where their product
stands, as ComfyUI's mask editor leaves them.
"""

import argparse
import csv
import os
import sys
import tempfile
from itertools import count
from pathlib import Path

from PIL import Image, ImageChops
from tqdm import tqdm

from bg_core.files import replacing

from .farm import Batch, render_batch, report
from .layout import Slot
from .recipe import category_of, draw_recipe

FIRST_SEED = 600_000
REFERENCES = ("tea", "soda")
"""Categories whose first scene becomes a reference: one indoors, one outdoors."""
SHOWN = ("mug", "sauce", "perfume", "juice", "yoghurt", "cream", "speaker", "candle", "tea", "fruit", "toy", "soap")
WITH_ALPHA = ("mug", "perfume", "yoghurt", "cream", "soap", "tea")


def unseen_seeds() -> list[int]:
    """For each category the first seed from FIRST_SEED on that draws its held-out shape."""
    return [
        next(
            seed
            for seed in count(FIRST_SEED)
            if category_of(seed) == name and draw_recipe(seed, "bound", True).product.unseen_family
        )
        for name in SHOWN
    ]


def save_photo(shot: Slot, category: str, out: Path) -> str:
    """Writes a packshot as its seller would have it; returns the file's name."""
    with Image.open(shot.picture) as picture, Image.open(shot.mask) as mask:
        if category in WITH_ALPHA:
            picture.putalpha(mask)
            target, options = out / f"{category}.png", {}
        else:
            target, options = out / f"{category}.jpg", {"quality": 94, "subsampling": 0}
        with replacing(target) as temporary:
            picture.save(temporary, **options)
    return target.name


def packshots(folder: Path, side: int, samples: int) -> Batch:
    return Batch(folder, unseen_seeds(), "bound", ("packshot",), held_out=True, side=side, samples=samples)


def scenes(folder: Path, side: int, samples: int) -> Batch:
    seeds = [next(seed for seed in count(FIRST_SEED) if category_of(seed) == name) for name in REFERENCES]
    return Batch(folder, seeds, "bound", side=side, samples=samples)


def save_reference(shot: Slot, target: Path) -> None:
    with Image.open(shot.picture) as picture, Image.open(shot.mask) as mask, replacing(target) as temporary:
        picture.putalpha(ImageChops.invert(mask))
        picture.save(temporary, optimize=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m training.render.photos", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", type=int, default=512, help="picture side in pixels")
    parser.add_argument("--samples", type=int, default=32)
    options = parser.parse_args()
    references = options.out / "references"
    references.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shots, finished = (
            make(Path(folder) / make.__name__, options.side, options.samples) for make in (packshots, scenes)
        )
        with tqdm(total=len(shots.seeds) + len(finished.seeds), unit="picture") as progress:
            for batch in (finished, shots):
                if failures := render_batch(batch, os.cpu_count() or 1, progress):
                    return report(failures)
        for name, shot in zip(REFERENCES, finished.slots.values(), strict=True):
            save_reference(shot, references / f"reference_{name}.png")
        rows = []
        for (seed, _), shot in shots.slots.items():
            recipe = draw_recipe(seed, "bound", held_out=True)
            name = save_photo(shot, recipe.product.category, options.out)
            rows.append({"file": name, "category": recipe.product.category, "prompt": recipe.caption})
    with replacing(options.out / "photos.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, ["file", "category", "prompt"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
