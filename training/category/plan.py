"""What a run of the category trainer teaches, from its TOML file: the arm, the identifiers, the scenes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from bg_core.errors import ProductBackgroundError
from bg_core.prompt_text import IDENTIFIER, TEMPLATE

from ..painters import PRECISIONS

Place = Literal["name", "scene", "caption", "identifier", "inversion"]
"""What stands for a category's backgrounds in a prompt. In the paper's template, in the place of `{identifier}`: its
name, its typical scene in words, or its learned vectors; or the whole caption of one of its pictures; or learned
vectors in the place of the category's name, as textual inversion has them (arXiv 2208.01618), with nothing behind."""

Masking = Literal["none", "attention", "output"]
"""Where the identifier acts: everywhere, or on the background, by logits or by the output (`training.attention`)."""


LORA_DROP_CAPTION = 0.1
"""`drop_caption` of arms with a LoRA where nothing else is said. Guidance starts from the empty prompt, which a LoRA
changes too: one that never sees it in training leaves that half to chance. A frozen base has learned it."""


@dataclass(frozen=True)
class Arm:
    """One way to paint a category's backgrounds (experiments.md section 3). `trained_as`: whose weights it uses."""

    name: str
    place: Place
    trained: Masking | None = None
    used: Masking = "none"
    identifiers: bool = False
    lora: bool = False
    trained_as: str = ""

    @property
    def learns(self) -> bool:
        return not self.trained_as and (self.identifiers or self.lora)

    @property
    def weights(self) -> str:
        """The arm whose run holds its weights, or nothing where the base is used as it is."""
        return self.trained_as or (self.name if self.learns else "")


ARMS: dict[str, Arm] = {
    arm.name: arm
    for arm in (
        Arm("plain_text", "name"),
        Arm("described", "scene"),
        Arm("caption", "caption"),
        Arm("inversion", "inversion", "none", identifiers=True),
        Arm("lora", "name", "none", lora=True),
        Arm("unmasked", "identifier", "none", identifiers=True),
        Arm("masked", "identifier", "attention", "attention", identifiers=True),
        Arm("masked_training", "identifier", used="none", identifiers=True, trained_as="masked"),
        Arm("masked_use", "identifier", used="attention", identifiers=True, trained_as="unmasked"),
        Arm("output", "identifier", "output", "output", identifiers=True),
        Arm("masked_lora", "identifier", "attention", "attention", identifiers=True, lora=True),
        Arm("unmasked_lora", "identifier", "none", identifiers=True, lora=True),
    )
}


@dataclass(frozen=True)
class Scenes:
    """Which pictures teach which categories.

    `categories`: their names, empty for all. `images`: at most so many a category, 0 for all. `virtual`: instead of the
    data's own categories, so many cells of surface, colour and light, with `largest` pictures at most and `smallest` at
    least (`training.category.scenes`).
    """

    categories: tuple[str, ...] = ()
    images: int = 0
    virtual: int = 0
    largest: int = 64
    smallest: int = 4


@dataclass(frozen=True)
class Plan:
    """`[options]` of a run's TOML file; see training/configs/category.toml for what each means."""

    arm: str
    side: int
    vectors: int = 4
    views: int = 4
    parts: int = 1
    balance: float = 0.5
    hide_product: float = 0.25
    drop_caption: float = 0.0
    product_weight: float = 0.3
    attention_loss: float = 0.0
    snr_gamma: float = 5.0
    weight_floor: float = 0.2
    template: str = TEMPLATE
    precision: str = "float32"
    gradient_checkpointing: bool = False
    rank: int = 8
    rates: Mapping[str, float] = field(default_factory=lambda: {"identifiers": 1.0, "lora": 0.01})
    scenes: Scenes = field(default_factory=Scenes)

    @classmethod
    def of(cls, options: Mapping[str, Any], where: str) -> Plan:
        """Raises ProductBackgroundError for settings that are unknown, missing or out of their range."""
        values = dict(options)
        values["scenes"] = _from_table(Scenes, values.get("scenes", {}), f"{where} [options.scenes]")
        lora = values.get("arm") in ARMS and ARMS[values["arm"]].lora
        values.setdefault("drop_caption", LORA_DROP_CAPTION if lora else 0.0)
        plan = _from_table(cls, values, f"{where} [options]")
        for problem, what in (
            (plan.arm not in ARMS or not ARMS[plan.arm].learns, f"arm is {plan.arm!r}, accepted are {learning()}"),
            (plan.side % 8 or plan.side < 8, f"side is {plan.side} pixels, accepted are multiples of 8"),
            (plan.parts < 1, f"parts is {plan.parts}, accepted are 1 and more"),
            (not 1 <= plan.vectors <= 64, f"vectors is {plan.vectors}, accepted are 1 to 64"),
            (IDENTIFIER not in plan.template, f"template has no {IDENTIFIER}"),
            (not 0 <= plan.hide_product <= 1, f"hide_product is {plan.hide_product}, accepted is a share of 0 to 1"),
            (not 0 <= plan.drop_caption < 1, f"drop_caption is {plan.drop_caption}, accepted is a share below 1"),
            (
                lora and not plan.drop_caption,
                f"drop_caption is 0 and the arm {plan.arm} has a LoRA, which changes what guidance starts from, the "
                f"empty prompt, too; accepted is a share above 0 ({LORA_DROP_CAPTION} where the setting is left out)",
            ),
            (
                plan.precision not in PRECISIONS,
                f"precision is {plan.precision!r}, accepted are {' and '.join(PRECISIONS)}",
            ),
            (set(plan.rates) != {"identifiers", "lora"}, f"rates has {sorted(plan.rates)}, not identifiers and lora"),
        ):
            if problem:
                raise ProductBackgroundError(f"{where}: {what}.")
        return plan

    @property
    def of_arm(self) -> Arm:
        return ARMS[self.arm]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `of` is its inverse."""
        return dataclasses.asdict(self)


def learning() -> list[str]:
    """The arms that are trained."""
    return [name for name, arm in ARMS.items() if arm.learns]


Table = TypeVar("Table", Scenes, Plan)


def _from_table(kind: type[Table], values: Mapping[str, Any], where: str) -> Table:
    known = {f.name: f for f in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(known)):
        raise ProductBackgroundError(f"{where}: unknown settings {', '.join(unknown)}; known are {sorted(known)}.")
    missing = dataclasses.MISSING
    needed = {name for name, f in known.items() if f.default is missing and f.default_factory is missing}
    if lost := sorted(needed - set(values)):
        raise ProductBackgroundError(f"{where}: settings {', '.join(lost)} are missing.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})
