"""File names and list files of BG60k's layout (experiments.md and design.md section 5 hold the contract)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bg_core.files import replacing

Kind = Literal["scene", "reference", "packshot", "lifted", "grown", "doubled"]
"""What is rendered of a seed: its scene, the other picture of its pair, its packshot, or a negative of its scene."""


@dataclass(frozen=True)
class Slot:
    """Where one picture, its mask and its factors lie."""

    picture: Path
    mask: Path
    facts: Path

    @property
    def skipped(self) -> Path:
        """Stands where the seed has no such picture: a product without appendage can't be grown."""
        return self.facts.with_suffix(".skipped")

    @property
    def done(self) -> bool:
        """The facts are written last, so they vouch for the other two."""
        return self.skipped.exists() or (self.facts.exists() and self.picture.exists() and self.mask.exists())


def slot(root: Path, half: str, seed: int, kind: Kind = "scene") -> Slot:
    if kind == "packshot":
        stem = root / "packshots" / f"{half}_{seed:07d}"
        return Slot(stem.with_suffix(".png"), stem.with_name(f"{stem.name}_mask.png"), stem.with_suffix(".json"))
    name = f"{half}_{seed:07d}" + ("" if kind == "scene" else f"_{kind}")
    return Slot(
        root / "bg60k_imgs_i" / f"{name}.png", root / "bg60k_masks_i" / f"{name}.png", root / "factors" / f"{name}.json"
    )


def prepare(root: Path, kind: Kind) -> None:
    folders = ("packshots",) if kind == "packshot" else ("bg60k_imgs_i", "bg60k_masks_i", "factors")
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)


def write_lists(root: Path) -> int:
    """(Re)writes the list files from the finished scenes; returns the number of scenes.

    `bg60k_info.txt`: `image name, category` a line; `bgpair_info.txt`, where there are pairs: `image name, reference
    name, category`.
    """
    category = {path.stem: json.loads(path.read_text())["category"] for path in (root / "factors").glob("*.json")}
    scenes = [f"{name}.png, {category[name]}\n" for name in sorted(category)]
    pairs = [
        f"{image}.png, {name}.png, {category[image]}\n"
        for name in sorted(category)
        if (image := name.removesuffix("_reference")) != name and image in category
    ]
    for file, lines in (("bg60k_info.txt", scenes), ("bgpair_info.txt", pairs)):
        if lines:
            with replacing(root / file) as temporary:
                temporary.write_text("".join(lines))
    return len(scenes)
