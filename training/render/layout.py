"""File names and list files of BG60k's layout (experiments.md and design.md section 5 hold the contract)."""

import json
from dataclasses import dataclass
from pathlib import Path

from bg_core.files import replacing


@dataclass(frozen=True)
class Slot:
    """Where one picture, its mask and its factors lie."""

    picture: Path
    mask: Path
    facts: Path

    @property
    def done(self) -> bool:
        """The facts are written last, so they vouch for the other two."""
        return self.facts.exists() and self.picture.exists() and self.mask.exists()


def slot(root: Path, half: str, seed: int, packshot: bool = False) -> Slot:
    name = f"{half}_{seed:07d}"
    if packshot:
        return Slot(
            root / "packshots" / f"{name}.png",
            root / "packshots" / f"{name}_mask.png",
            root / "packshots" / f"{name}.json",
        )
    return Slot(
        root / "bg60k_imgs_i" / f"{name}.png", root / "bg60k_masks_i" / f"{name}.png", root / "factors" / f"{name}.json"
    )


def prepare(root: Path) -> None:
    for folder in ("bg60k_imgs_i", "bg60k_masks_i", "factors", "packshots"):
        (root / folder).mkdir(parents=True, exist_ok=True)


def write_list(root: Path) -> int:
    """(Re)writes `bg60k_info.txt`, `image name, category` a line, from the finished scenes; returns their number."""
    lines = []
    for facts in sorted((root / "factors").glob("*.json")):
        lines.append(f"{facts.stem}.png, {json.loads(facts.read_text())['category']}\n")
    with replacing(root / "bg60k_info.txt") as temporary:
        temporary.write_text("".join(lines))
    return len(lines)
