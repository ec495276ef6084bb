"""Reads data sets in four layouts and checks every record before anything is trained on it.

- **BG60k's layout**, which our renders share: `bg60k_info.txt` or `bg1k_info.txt` (`image name, category` a line),
  pictures in `bg60k_imgs_i` / `bg1k_imgs_i`, masks in `bg60k_masks_i` / `bg1k_masks_i`, pairs in `bgpair_info.txt`
  (`image name, reference name, category`). Renders add `factors/NAME.json`.
- **A folder with a CSV file**: columns `image`, `mask`, `category` and, if there is one, `caption`; paths relative to
  the CSV file.
- **A folder of one category** (`read_folder`): pictures, and in `masks/` beside them a PNG of each one's name.

Beside a picture NAME.png of the second kind, or in `factors/` of the first, NAME.json may hold the picture's factors.
A mask is white (above 127) on the product and as large as its picture.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from bg_core.errors import ProductBackgroundError

VALIDATION_SHARE = 20
"""Every 20th record, counted by its place in the list, is kept from training to choose settings on."""

Part = Literal["bg60k", "bg1k"]
"""The two sets of BG60k's layout: for training, and for testing."""


@dataclass(frozen=True)
class Record:
    """One picture. `caption` and `factors` are empty where the data set has none (the real BG60k)."""

    name: str
    category: str
    picture: Path
    mask: Path
    caption: str = ""
    factors: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)


@dataclass(frozen=True)
class Pair:
    """A picture and another one of the same style, to be its reference."""

    picture: Record
    reference: Record
    category: str


def read_records(root: Path, part: Part | None = None) -> list[Record]:
    """All records of the data set at `root`, in its order; `part` defaults to the one that is there, BG60k first.

    Raises ProductBackgroundError naming every problem at once: malformed lines, names or contents that occur twice,
    missing files, pictures that can't be read, masks of another size, empty masks.
    """
    listing, drafts, problems = _read_listing(root, part)
    seen: dict[str, int] = {}
    unique = []
    for number, record in drafts:
        if record.name in seen:
            problems.append((number, f"{record.name} is listed twice, first in line {seen[record.name]}"))
        else:
            seen[record.name] = number
            unique.append((number, record))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        checks = list(pool.map(lambda draft: _check(draft[1]), unique))
    records: list[Record] = []
    first_with: dict[str, str] = {}
    for (number, _), (record, digest, found) in zip(unique, checks, strict=True):
        records.append(record)
        problems += [(number, problem) for problem in found]
        if digest and (other := first_with.setdefault(digest, record.name)) != record.name:
            problems.append((number, f"{record.name} is the same picture as {other}"))
    _refuse(listing, problems, "records")
    if not records:
        raise ProductBackgroundError(f"{listing} lists no pictures.")
    return records


def read_folder(root: Path, category: str) -> list[Record]:
    """All pictures of the folder `root` as records of one category, checked as `read_records` does it."""
    names = sorted(file.name for file in root.glob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
    if not names:
        raise ProductBackgroundError(
            f"No pictures in {root}. Expected PNG, JPEG or WebP files there, and in {root / 'masks'} a PNG of each "
            "one's name, white on the product."
        )
    drafts = [Record(name, category, root / name, root / "masks" / f"{Path(name).stem}.png") for name in names]
    checks = [_check(draft) for draft in drafts]
    _refuse(root, [(number, text) for number, (_, _, found) in enumerate(checks, 1) for text in found], "pictures")
    return [record for record, _, _ in checks]


def read_pairs(root: Path, records: Sequence[Record]) -> list[Pair]:
    """The pairs that `bgpair_info.txt` lists between `records`; every problem is named at once."""
    listing = root / "bgpair_info.txt"
    if not listing.is_file():
        raise ProductBackgroundError(
            f"No pairs at {root}: bgpair_info.txt is missing. Render some with "
            f"`python -m training.render --pairs --seed-range 0:500 --out {root}`."
        )
    named = {record.name: record for record in records}
    pairs: list[Pair] = []
    problems: list[tuple[int, str]] = []
    seen: set[tuple[str, str]] = set()
    for number, line in _lines(listing):
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) != 3 or not all(parts):
            problems.append((number, f"expected `image name, reference name, category`, got {line!r}"))
            continue
        picture, reference, category = parts
        unknown = [name for name in (picture, reference) if name not in named]
        if unknown:
            problems += [(number, f"{name} is not in the list of pictures") for name in unknown]
        elif picture == reference:
            problems.append((number, f"{picture} is its own reference"))
        elif (picture, reference) in seen:
            problems.append((number, f"{picture} with {reference} is listed twice"))
        else:
            pairs.append(Pair(named[picture], named[reference], category))
        seen.add((picture, reference))
    _refuse(listing, problems, "pairs")
    return pairs


def without_faults(records: Sequence[Record]) -> list[Record]:
    """Sound scenes: all but the rendered negatives, which are for evaluators."""
    return [record for record in records if not record.factors.get("negative")]


def split(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Training and validation records."""
    training = [r for i, r in enumerate(records) if i % VALIDATION_SHARE]
    return training, [r for i, r in enumerate(records) if i % VALIDATION_SHARE == 0]


def load_pictures(records: Sequence[Record], side: int | None = None) -> Tensor:
    """[N,3,H,W] uint8. Without `side` all pictures must have one size; with it each becomes side x side (`_square`)."""
    return _load(records, side, "picture", "RGB")


def load_masks(records: Sequence[Record], side: int | None = None) -> Tensor:
    """[N,1,H,W] uint8 product masks, 255 = product, framed as `load_pictures` frames their pictures."""
    return _load(records, side, "mask", "L")


Drafts = list[tuple[int, Record]]
Problems = list[tuple[int, str]]


def _read_listing(root: Path, part: Part | None) -> tuple[Path, Drafts, Problems]:
    """The list file, the records it names with their line numbers, and what is wrong with its lines."""
    for candidate in (part,) if part else ("bg60k", "bg1k"):
        if (listing := root / f"{candidate}_info.txt").is_file():
            return listing, *_read_bg60k(root, listing, candidate)
    tables = sorted(root.glob("*.csv"))
    if part is None and len(tables) == 1:
        return tables[0], *_read_table(tables[0])
    raise ProductBackgroundError(
        f"No data set at {root}: expected {part or 'bg60k'}_info.txt{'' if part else ', or one CSV file'}, found "
        f"{f'{len(tables)} CSV files' if tables else 'neither' if root.is_dir() else 'no such folder'}. Render one "
        f"with `python -m training.render --seed-range 0:1500 --out {root}`."
    )


def _read_bg60k(root: Path, listing: Path, part: str) -> tuple[Drafts, Problems]:
    drafts: Drafts = []
    problems: Problems = []
    for number, line in _lines(listing):
        name, _, category = (text.strip() for text in line.partition(","))
        if not name or not category:
            problems.append((number, f"expected `image name, category`, got {line!r}"))
            continue
        facts, problem = _facts(root / "factors" / f"{Path(name).stem}.json")
        problems += [(number, problem)] if problem else []
        picture, mask = root / f"{part}_imgs_i" / name, root / f"{part}_masks_i" / name
        drafts.append((number, Record(name, category, picture, mask, str(facts.get("caption", "")), facts)))
    return drafts, problems


def _read_table(listing: Path) -> tuple[Drafts, Problems]:
    drafts: Drafts = []
    problems: Problems = []
    with listing.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file, skipinitialspace=True)
        missing = {"image", "mask", "category"} - set(table.fieldnames or ())
        if missing:
            raise ProductBackgroundError(
                f"{listing}: expected columns image, mask, category and perhaps caption, got {table.fieldnames}."
            )
        for row in table:
            image, mask, category = ((row[column] or "").strip() for column in ("image", "mask", "category"))
            if not (image and mask and category):
                problems.append((table.line_num, f"image, mask and category must not be empty, got {row}"))
                continue
            picture = listing.parent / image
            facts, problem = _facts(picture.with_suffix(".json"))
            problems += [(table.line_num, problem)] if problem else []
            caption = (row.get("caption") or str(facts.get("caption", ""))).strip()
            drafts.append((table.line_num, Record(image, category, picture, listing.parent / mask, caption, facts)))
    return drafts, problems


def _lines(listing: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not blank."""
    for number, line in enumerate(listing.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            yield number, line


def _facts(path: Path) -> tuple[dict[str, Any], str]:
    """What the JSON file says, empty where there is none, and what is wrong with it."""
    if not path.is_file():
        return {}, ""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        return {}, f"{path} is not JSON ({error})"
    return (facts, "") if isinstance(facts, dict) else ({}, f"{path} holds no JSON object")


def _check(record: Record) -> tuple[Record, str, list[str]]:
    """The record, a digest of its picture's file, and what is wrong with its files.

    A mask may be a PNG where its picture is a JPEG: then the record that comes back names that file.
    """
    if not record.mask.is_file() and (other := record.mask.with_suffix(".png")).is_file():
        record = Record(record.name, record.category, record.picture, other, record.caption, record.factors)
    digest, sizes, problems = "", [], []
    for path in (record.picture, record.mask):
        if not path.is_file():
            problems.append(f"{path} is missing")
            continue
        try:
            with Image.open(path) as image:
                image.load()
                sizes.append(image.size)
                if path == record.mask and image.convert("L").getextrema()[1] < 128:
                    problems.append(f"{path} is an empty mask")
        except (UnidentifiedImageError, OSError) as error:
            problems.append(f"{path} can't be read ({error})")
            continue
        if path == record.picture:
            digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        problems.append(f"{record.mask} is {sizes[1][0]}x{sizes[1][1]}, its picture {sizes[0][0]}x{sizes[0][1]}")
    return record, digest, problems


def _refuse(listing: Path, problems: Problems, what: str) -> None:
    if problems:
        lines = [f"line {number}: {problem}" for number, problem in sorted(problems)]
        raise ProductBackgroundError("\n  ".join([f"{len(lines)} problems with the {what} of {listing}:", *lines]))


def _load(records: Sequence[Record], side: int | None, which: Literal["picture", "mask"], mode: str) -> Tensor:
    arrays = []
    for record in records:
        with Image.open(getattr(record, which)) as image:
            pixels = image.convert(mode)
        if side is not None and pixels.size != (side, side):
            pixels = _square(pixels, record.mask, side)
        arrays.append(np.array(pixels).reshape(*pixels.size[::-1], -1))
    sizes = {array.shape[:2] for array in arrays}
    if len(sizes) > 1:
        (height, width), (height_2, width_2) = sorted(sizes)[:2]
        raise ProductBackgroundError(
            f"Expected pictures of one size, got {width}x{height}, {width_2}x{height_2} ...: give a side in pixels."
        )
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).contiguous()


def _square(pixels: Image.Image, mask: Path, side: int) -> Image.Image:
    """The largest square that lies in the picture and about its product, scaled to side x side."""
    with Image.open(mask) as image:
        left, top, right, bottom = image.convert("L").point(lambda v: 255 * (v > 127)).getbbox()
    edge = min(pixels.size)
    x = min(max((left + right - edge) // 2, 0), pixels.width - edge)
    y = min(max((top + bottom - edge) // 2, 0), pixels.height - edge)
    return pixels.resize((side, side), Image.Resampling.LANCZOS, (x, y, x + edge, y + edge))
