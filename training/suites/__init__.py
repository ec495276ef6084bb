"""Suites of `python -m training.evaluate`: a module each, with its entry in `SUITES`."""

from collections.abc import Callable
from pathlib import Path

from ..metrics.intervals import Figure
from . import base, category, ladder, style

Suite = Callable[[Path, int | None, Path | None], dict[str, Figure]]
"""(data set, number of pictures or None for all, folder for sheets or None) -> figures by key."""

SUITES: dict[str, Suite] = {
    "base": base.measure,
    "category": category.measure,
    "ladder": ladder.measure,
    "style": style.measure,
}
