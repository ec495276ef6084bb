"""The frozen protocol, `protocol.toml`: how pictures are sampled, and which evaluators score them."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bg_core.files import replacing

PROTOCOL = Path(__file__).parent / "protocol.toml"
WRITTEN = "# Below: written by `python -m training.freeze_evaluators`, with held-out figures.\n"


@dataclass(frozen=True)
class Protocol:
    """`evaluators`: for each, by task, `file`, `sha256` and figures; the scorers' thresholds among them."""

    steps: int
    guidance: float
    seed: int
    replicates: int
    bootstrap_seed: int
    evaluators: Mapping[str, Mapping[str, Mapping[str, Any]]]

    @property
    def sampling(self) -> tuple[int, float, int]:
        """All that decides how a picture is painted: steps, guidance, seed."""
        return self.steps, self.guidance, self.seed


def read_protocol(path: Path = PROTOCOL) -> Protocol:
    tables = tomllib.loads(path.read_text())
    sampling, bootstrap = tables["sampling"], tables["bootstrap"]
    return Protocol(
        sampling["steps"],
        sampling["guidance"],
        sampling["seed"],
        bootstrap["replicates"],
        bootstrap["seed"],
        tables.get("evaluators", {}),
    )


def write_evaluators(evaluators: Mapping[str, Mapping[str, Mapping[str, Any]]], path: Path = PROTOCOL) -> None:
    """Replaces the evaluators' part of the file; what stands above it is kept as it is."""
    kept = path.read_text().partition(WRITTEN)[0].rstrip("\n")
    lines = [kept, "", WRITTEN.rstrip("\n")]
    for evaluator, tasks in evaluators.items():
        for task, values in tasks.items():
            lines += ["", f"[evaluators.{evaluator}.{task}]"]
            for key, value in values.items():
                lines.append(f"{key} = {round(value, 4)!r}" if isinstance(value, float) else f'{key} = "{value}"')
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
