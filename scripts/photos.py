"""The photographs of a folder, each with the scene that its background is to show."""

from __future__ import annotations

import csv
import mimetypes
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from catalogue.protocol import ComfyError

COLUMNS = ("file", "category", "prompt")
SEED = 20240601

# Scenes for photographs that come without a description, in words that the demonstration base was trained on.
SCENES = (
    "on a light oak table, a sage green wall, soft daylight from the left, with green leaves",
    "on white marble, a blush pink wall, soft light from the right, with scattered petals",
    "on a dark walnut table, kitchen shelves, warm evening light",
    "on grey concrete, a seamless sky blue backdrop, hard sunlight from the left",
    "on natural linen, a cream wall, sunlight through a window, with a vase with twigs",
    "on a slate counter, a forest green tiled wall, even studio light, with lemons",
)


@dataclass(frozen=True)
class Product:
    photo: Path
    name: str
    """Stem of its files; no other product of the run has it, in small or capital letters."""
    category: str
    prompt: str
    seed: int


def is_photo(path: Path) -> bool:
    """By its name; whether it can be read is the pack's to say, photograph by photograph."""
    # Not strict: WebP was a registered type late. Hidden files are left by systems, not by sellers.
    kind, _ = mimetypes.guess_type(path.name, strict=False)
    return path.is_file() and not path.name.startswith(".") and (kind or "").startswith("image/")


def list_products(folder: Path) -> list[Product]:
    """Every photograph of a folder, with category and prompt from its photos.csv where that names them."""
    if not folder.is_dir():
        raise ComfyError(f"There is no folder {folder}.")
    photos = sorted(path for path in folder.iterdir() if is_photo(path))
    if not photos:
        raise ComfyError(f"No photographs in {folder}: no file there has the name of an image (.jpg, .png, .webp ...).")
    described = read_descriptions(folder / "photos.csv")
    if strangers := described.keys() - {photo.name for photo in photos}:
        raise ComfyError(f"photos.csv names files that are not in {folder}: {', '.join(sorted(strangers))}.")
    products = []
    for index, (photo, name) in enumerate(zip(photos, unique_names(photos), strict=True)):
        row = described.get(photo.name, {})
        prompt = row.get("prompt") or f"a photo of a product {SCENES[index % len(SCENES)]}"
        products.append(Product(photo, name, row.get("category") or "unknown", prompt, SEED + index))
    return products


def read_descriptions(path: Path) -> dict[str, dict[str, str]]:
    """photos.csv as {file: row}; there may be none."""
    if not path.is_file():
        return {}
    try:
        # utf-8-sig: spreadsheets put a mark at the start, which would become part of the first column's name
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            found = reader.fieldnames or []
            rows = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ComfyError(f"{path} can't be read ({error}). Save it as CSV in UTF-8.") from error
    if missing := [column for column in COLUMNS if column not in found]:
        raise ComfyError(
            f"{path} lacks the column {' and '.join(missing)}. Its first line must be {','.join(COLUMNS)}; "
            f"it has {', '.join(map(repr, found)) or 'nothing'}."
        )
    return {row["file"]: row for row in rows}


def unique_names(photos: Iterable[Path]) -> list[str]:
    """The photographs' stems, numbered where two are alike. Many disks don't tell small letters from capitals."""
    names: list[str] = []
    taken: set[str] = set()
    for photo in photos:
        name, number = photo.stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{photo.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
