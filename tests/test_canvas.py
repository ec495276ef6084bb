"""The canvas's shape: presets, custom sizes, and the aspect that reshapes both."""

from __future__ import annotations

from pathlib import Path

import pytest
from product_background.bg_core import canvas as sizes
from product_background.bg_core.errors import ProductBackgroundError


@pytest.mark.parametrize("preset", sizes.PRESET_NAMES)
@pytest.mark.parametrize("aspect", sizes.ASPECTS)
def test_an_aspect_reshapes_every_preset_and_keeps_its_longer_side(preset: str, aspect: str) -> None:
    before = sizes.canvas_size(preset, 1000, 1504)
    width, height = sizes.canvas_size(preset, 1000, 1504, aspect)
    wide, high = sizes.ASPECTS[aspect]
    assert max(width, height) == max(before)
    assert width % 8 == 0 and height % 8 == 0
    # No other multiple of 8 comes nearer.
    shorter, exact = min(width, height), max(before) * min(wide, high) / max(wide, high)
    assert abs(shorter - exact) <= 4
    assert (width > height) == (wide > high) and (width == height) == (wide == high)


def test_known_shapes() -> None:
    assert sizes.canvas_size("Square 768x768", 0, 0) == (768, 768)
    assert sizes.canvas_size("Square 768x768", 0, 0, "preset's own") == (768, 768)
    assert sizes.canvas_size("Amazon 2000x2000", 0, 0, "4:5") == (1600, 2000)
    assert sizes.canvas_size("Story 1080x1920", 0, 0, "16:9") == (1920, 1080)
    assert sizes.canvas_size("Etsy 2000x1504", 0, 0, "3:2") == (2000, 1336)  # 1333.3
    assert sizes.canvas_size("Custom", 512, 1024, "1:1") == (1024, 1024)


def test_an_unknown_aspect_and_one_too_narrow_are_refused() -> None:
    with pytest.raises(ProductBackgroundError, match=r"no aspect '7:5'.*preset's own, 1:1, 4:5"):
        sizes.canvas_size("Square 768x768", 0, 0, "7:5")
    with pytest.raises(ProductBackgroundError, match=r"256 pixels long.*9:16 would be 144.*side of 456 or more"):
        sizes.canvas_size("Custom", 256, 256, "9:16")
    assert sizes.canvas_size("Custom", 256, 456, "9:16") == (256, 456)
    with pytest.raises(ProductBackgroundError, match="custom canvas's width is 771"):
        sizes.canvas_size("Custom", 771, 768, "1:1")


def test_help_page_names_every_presets_aspect_ratio() -> None:
    page = Path(__file__).resolve().parent.parent / "web" / "docs" / "PBG_PrepareProduct" / "en.md"
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.read_text().splitlines() if "|" in line]
    named = {row[0]: row[1] for row in rows}
    assert set(sizes.PRESET_NAMES) <= set(named)
    for preset, (width, height) in sizes.PRESETS.items():
        wide, high = sizes.ASPECTS[named[preset]]
        assert sizes.stretch((width, height), (wide, high)) < 0.005, preset
