"""Contact sheets: photograph, product mask and finished picture side by side, one product a row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from .reading import UNREADABLE, read_for_showing

CELL = 512
GAP = 12
CAPTION = 64
ROWS = 40  # a JPEG holds 65,500 pixels a side, and nobody scrolls through more
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
    def from_report(cls, entry: dict[str, Any], out: Path) -> SheetRow:
        width, height = entry["canvas"]
        photo = out / entry["photo"]
        facts = f"{photo.name}  |  {entry['category']}  |  {width} x {height}  |  {entry['seconds']} s"
        facts += f"  |  largest error on the product: {entry['product_max_abs_error']}"
        return cls(photo, out / entry["mask"], out / entry["file"], f"{facts}\n{entry['prompt']}")


def save_contact_sheets(rows: Sequence[SheetRow], out: Path) -> list[str]:
    """Write contact_sheet.jpg, contact_sheet_2.jpg ... into `out`, ROWS products each; returns their names."""
    names = []
    for number, start in enumerate(range(0, len(rows), ROWS), 1):
        names.append("contact_sheet.jpg" if number == 1 else f"contact_sheet_{number}.jpg")
        contact_sheet(rows[start : start + ROWS]).save(out / names[-1], quality=90)
    return names


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
    try:
        cell = read_for_showing(path)
    except UNREADABLE:  # moved or changed in the meantime; the other rows are worth a sheet
        return
    # Small photographs are enlarged too: a seller looks at all three side by side.
    scale = min(CELL / cell.width, CELL / cell.height)
    cell = cell.resize((max(1, round(cell.width * scale)), max(1, round(cell.height * scale))))
    sheet.paste(cell, (left + (CELL - cell.width) // 2, top + (CELL - cell.height) // 2), cell)
