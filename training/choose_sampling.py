"""`python -m training.choose_sampling --data DIR --json FILE`: what guidance and step count do to the bundled base.

DIR is `data/studio/evaluator/generic`: of its seeds only those count that were kept from the evaluators' training, and
the generator has not seen them either. They are the validation data that `training/protocol.toml` fixes its sampling
on; no test data is touched. Every KEY of the suite `base` comes once for each setting, as `steps20_guidance3_KEY`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from .data import read_records, without_faults
from .evaluate import table, write
from .evaluators.frozen import load_evaluators
from .export import load_base
from .export_run import BUNDLED
from .generate import generate
from .kept import PAINTED, keeping
from .metrics.intervals import Figure
from .protocol import read_protocol
from .suites.base import anchors, check_judgeable
from .suites.judge import Judge, worse
from .suites.ladder import was_learnt

TOLD = (
    "kid_background", "kid_vae", "kid_blur", "diversity", "contact_rate", "contact_rate_real", "twin_rate",
    "extension_excess", "prompt_accuracy_surface_seen", "prompt_accuracy_surface_seen_real",
    "prompt_accuracy_wall_seen", "prompt_accuracy_wall_seen_real", "prompt_accuracy_light_seen",
    "prompt_accuracy_light_seen_real",
)  # fmt: skip


def measure(data: Path, steps: Sequence[int], guidances: Sequence[float], limit: int | None) -> dict[str, Figure]:
    """Figures of every setting on the validation scenes of `data`, all from the same noise."""
    protocol, evaluators = read_protocol(), load_evaluators()
    scenes = [r for r in without_faults(read_records(data)) if r.factors and not was_learnt(r)]
    records = scenes[:: max(1, len(scenes) // limit) if limit else 1][:limit]
    check_judgeable(records, "held-out scenes", data)
    base, _ = load_base(BUNDLED)
    empty, _ = anchors(base, records)
    figures = {}
    for count, guidance in product(steps, guidances):
        setting = replace(protocol, steps=count, guidance=guidance)
        painted = generate(base, setting, empty.real, empty.masks, [record.caption for record in records])
        arms = replace(empty, ours=painted, shuffled=painted)
        judges = [Judge(evaluator, arms, setting) for evaluator in evaluators]
        found = worse([[group(judge) for group in Judge.groups] for judge in judges])
        told = {f"steps{count}_guidance{guidance:g}_{key}": found[key] for key in TOLD if key in found}
        print(table(told), flush=True)
        figures |= told
    return figures


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.choose_sampling", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="the evaluators' generic scenes")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--steps", type=int, nargs="+", default=[20])
    parser.add_argument("--guidance", type=float, nargs="+", default=[1.5, 2.0, 3.0, 4.0])
    parser.add_argument("--limit", type=int, help="measure only so many scenes, from the whole list alike")
    parser.add_argument(
        "--kept", type=Path, default=PAINTED, help="folder of painted pictures, where a stopped run goes on"
    )
    options = parser.parse_args(arguments)
    with keeping(options.kept):
        figures = measure(options.data, options.steps, options.guidance, options.limit)
    write(figures, options.json)


if __name__ == "__main__":
    main()
