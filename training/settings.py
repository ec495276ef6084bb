"""What a run is told: one TOML file, which may extend another and then says only what differs."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bg_core.errors import ProductBackgroundError

CONFIGS = Path(__file__).parent / "configs"
"""The repository's own settings, which a file anywhere may extend by name."""


@dataclass(frozen=True)
class Settings:
    """The common part of a run's TOML file; the rest is the trainer's own and comes as `options`."""

    seed: int
    steps: int
    batch: int
    learning_rate: float
    warmup: int
    ema: float
    minutes_between_saves: float
    options: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Settings:
        """A TOML file; `extends = "other.toml"` in it names one beside it or of `CONFIGS`, whose values hold where it
        says nothing."""
        return cls.of(read_toml(path), str(path))

    @classmethod
    def of(cls, values: Mapping[str, Any], where: str) -> Settings:
        """`values` as TOML gives them; `where` they come from goes into error messages."""
        values = dict(values)
        options = values.pop("options", {})
        known = set(cls.__dataclass_fields__) - {"options"}
        if unknown := sorted(set(values) - known):
            raise ProductBackgroundError(f"{where}: unknown settings {', '.join(unknown)}; known are {sorted(known)}.")
        if missing := sorted(known - set(values)):
            raise ProductBackgroundError(f"{where}: settings {', '.join(missing)} are missing.")
        return cls(**values, options=options)


def read_toml(path: Path, below: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a TOML file over those of the one it extends; `below`: the files that led here."""
    path = path.resolve()
    if path in below:
        raise ProductBackgroundError(f"{below[-1]} extends {path.name}, which in turn extends it.")
    try:
        values = tomllib.loads(path.read_text())
    except FileNotFoundError:
        asked = f", which {below[-1]} extends" if below else ""
        raise ProductBackgroundError(f"No settings at {path}{asked}.") from None
    except tomllib.TOMLDecodeError as error:
        raise ProductBackgroundError(f"{path} is no TOML file: {error}.") from None
    parent = values.pop("extends", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise ProductBackgroundError(f"{path}: extends = {parent!r}; accepted is a file's name.")
    beside = path.parent / parent
    under = beside if beside.is_file() or not (CONFIGS / parent).is_file() else CONFIGS / parent
    return _merged(read_toml(under, (*below, path)), values)


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` where it says something, table by table."""
    tables = {
        name: _merged(under[name], value)
        for name, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(name), Mapping)
    }
    return {**under, **over, **tables}
