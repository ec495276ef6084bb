"""Reads a data set in BG60k's layout and checks every record before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bg_core.errors import ProductBackgroundError

VALIDATION_SHARE = 20
"""Every 20th record, counted by its place in the list, is kept from training to choose settings on."""


@dataclass(frozen=True)
class Record:
    """One training picture. `caption` is empty where the data set has none (the real BG60k)."""

    name: str
    category: str
    picture: Path
    mask: Path
    caption: str = ""


def read_records(root: Path) -> list[Record]:
    """All records that `bg60k_info.txt` lists, in its order.

    Raises ProductBackgroundError naming every problem at once: malformed lines, duplicates, missing files, pictures
    that can't be read, masks of another size, empty masks.
    """
    listing = root / "bg60k_info.txt"
    if not listing.is_file():
        raise ProductBackgroundError(
            f"No data set at {root}: bg60k_info.txt is missing. Render one with "
            f"`python -m training.render --seed-range 0:1500 --out {root}`."
        )
    records: list[Record] = []
    problems: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(listing.read_text().splitlines(), 1):
        name, comma, category = (part.strip() for part in line.partition(","))
        if not comma or not name or not category:
            problems.append(f"line {number}: expected `image name, category`, got {line!r}")
            continue
        if name in seen:
            problems.append(f"line {number}: {name} is listed twice")
            continue
        seen.add(name)
        facts = root / "factors" / f"{Path(name).stem}.json"
        caption = ""
        if facts.is_file():
            try:
                caption = str(json.loads(facts.read_text())["caption"])
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"line {number}: {facts} holds no caption ({error!r})")
        record = Record(name, category, root / "bg60k_imgs_i" / name, root / "bg60k_masks_i" / name, caption)
        problems += (f"line {number}: {problem}" for problem in check(record))
        records.append(record)
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  ... and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise ProductBackgroundError(f"{len(problems)} bad records in {listing}:\n  {shown}{more}")
    if not records:
        raise ProductBackgroundError(f"{listing} lists no pictures.")
    return records


def check(record: Record) -> Iterator[str]:
    """What is wrong with a record's files."""
    sizes = []
    for path in (record.picture, record.mask):
        if not path.is_file():
            yield f"{path} is missing"
            continue
        try:
            with Image.open(path) as image:
                image.load()
                sizes.append(image.size)
                if path == record.mask and image.convert("L").getextrema()[1] < 128:
                    yield f"{path} is an empty mask"
        except (UnidentifiedImageError, OSError) as error:
            yield f"{path} can't be read ({error})"
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        yield f"{record.mask} is {sizes[1][0]}x{sizes[1][1]}, its picture {sizes[0][0]}x{sizes[0][1]}"


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Training and validation records."""
    training = [r for i, r in enumerate(records) if i % VALIDATION_SHARE]
    return training, [r for i, r in enumerate(records) if i % VALIDATION_SHARE == 0]


def load_pictures(records: Sequence[Record]) -> Tensor:
    """[N,3,H,W] uint8; all pictures must have one size."""
    return torch.stack([_pixels(r.picture, "RGB") for r in records])


def load_masks(records: Sequence[Record]) -> Tensor:
    """[N,1,H,W] uint8 product masks, 255 = product."""
    return torch.stack([_pixels(r.mask, "L") for r in records])


def _pixels(path: Path, mode: str) -> Tensor:
    with Image.open(path) as image:
        array = np.asarray(image.convert(mode))
    return torch.from_numpy(np.array(array)).reshape(*array.shape[:2], -1).permute(2, 0, 1)
