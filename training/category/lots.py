"""What a category study trains and examines, from its TOML files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..data import Record, read_records, without_faults
from ..settings import Settings
from .plan import ARMS, Plan

CONFIG = Path(__file__).parent.parent / "configs" / "category_study.toml"


@dataclass(frozen=True)
class Study:
    """Where everything lies, and what the two TOML files say."""

    base: Path
    data: Path
    test: Path
    generic: Path | None
    test_generic: Path | None
    out: Path
    config: dict[str, Any]
    categories: tuple[str, ...]
    seeds: tuple[int, ...]

    def settings(self, steps: int, seed: int) -> Settings:
        common = {key: value for key, value in self.config.items() if key not in ("options", "study", "sweep")}
        return Settings.of({**common, "steps": steps, "seed": seed}, str(CONFIG))

    def plan(self, arm: str, **more: Any) -> Plan:
        return Plan.of({**self.config["options"], "arm": arm, **more}, str(CONFIG))


@dataclass(frozen=True)
class Lot:
    """One training: an arm with a seed, on all pictures or a few, on real categories or `virtual` ones."""

    arm: str
    seed: int
    images: int = 0
    virtual: int = 0

    @property
    def name(self) -> str:
        kind = f"cells_{self.virtual}" if self.virtual else f"images_{self.images}" if self.images else "all"
        return f"{self.arm}-{kind}-{self.seed}"


@dataclass(frozen=True)
class Exam:
    """What is painted and scored: an arm with a lot's weights, `on` which products. `on` names the condition."""

    arm: str
    seed: int
    on: str
    lot: Lot | None = None

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.on}-{self.seed}"


def lots_and_exams(study: Study) -> tuple[list[Lot], list[Exam]]:
    """Everything that the study trains and examines, cheapest evidence for the table first."""
    lots: dict[str, Lot] = {}
    exams = []

    def exam(arm: str, seed: int, on: str, images: int = 0, virtual: int = 0) -> None:
        weights = ARMS[arm].weights
        lot = Lot(weights, seed, images, virtual) if weights else None
        if lot is not None:
            lots.setdefault(lot.name, lot)
        exams.append(Exam(arm, seed, on, lot))

    own, sweep = study.config["study"], study.config["sweep"]
    for seed in study.seeds:
        for arm in ARMS:
            # what learns nothing differs from seed to seed in its noise alone: one is enough
            if ARMS[arm].weights or seed == study.seeds[0]:
                exam(arm, seed, "swapped")
        for arm in own["few"]:
            exam(arm, seed, "sloppy")
            for images in own["images"]:
                exam(arm, seed, f"images_{images}", images)
    for arm in own["own"]:
        exam(arm, study.seeds[0], "own")
    if study.generic is not None:
        for size in sweep["sizes"]:
            for arm in sweep["arms"]:
                exam(arm, study.seeds[0], f"cells_{size}", virtual=size)
    return list(lots.values()), exams


@cache
def records_of(folder: Path) -> list[Record]:
    return without_faults(read_records(folder))
