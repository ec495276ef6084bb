"""A contact sheet: photograph, product mask and finished picture side by side, one product a row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

CELL = 512
GAP = 12
CAPTION = 64
PAPER = (250, 250, 248)
INK = (30, 30, 30)
HEADINGS = ("photograph", "product mask", "picture")


@dataclass(frozen=True)
class SheetRow:
    photo: Path
    mask: Path
    picture: Path
    caption: str

    @classmethod
    def from_report(cls, entry: dict[str, Any], photos: Path, out: Path) -> SheetRow:
        width, height = entry["canvas"]
        facts = f"{entry['photo']}  |  {entry['category']}  |  {width} x {height}  |  {entry['seconds']} s"
        facts += f"  |  largest error on the product: {entry['product_max_abs_error']}"
        return cls(photos / entry["photo"], out / entry["mask"], out / entry["file"], f"{facts}\n{entry['prompt']}")


def contact_sheet(rows: Sequence[SheetRow]) -> Image.Image:
    row_height = CELL + CAPTION + GAP
    sheet = Image.new("RGB", (3 * CELL + 4 * GAP, len(rows) * row_height + CAPTION), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=20)
    for column, heading in enumerate(HEADINGS):
        draw.text((GAP + column * (CELL + GAP), 2 * GAP), heading, INK, font)
    for index, row in enumerate(rows):
        top = CAPTION + index * row_height
        for column, path in enumerate((row.photo, row.mask, row.picture)):
            _paste(sheet, path, GAP + column * (CELL + GAP), top)
        first, _, rest = row.caption.partition("\n")
        text = "\n".join([first, textwrap.shorten(rest, 150, placeholder=" ...")])
        draw.multiline_text((GAP, top + CELL + 4), text, INK, font, spacing=4)
    return sheet


def _paste(sheet: Image.Image, path: Path, left: int, top: int) -> None:
    with Image.open(path) as image:
        cell = image.convert("RGBA")
    # Small photographs are enlarged too: a seller looks at all three side by side.
    scale = min(CELL / cell.width, CELL / cell.height)
    cell = cell.resize((max(1, round(cell.width * scale)), max(1, round(cell.height * scale))))
    sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2), cell)
