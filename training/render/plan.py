"""`python -m training.render.plan`: renders the whole studio, split by split, in the order of its plan; resumable."""

import argparse
import os
import sys
import tomllib
from pathlib import Path

from tqdm import tqdm

from bg_core.errors import ProductBackgroundError

from .__main__ import seed_range
from .farm import Batch, render_batch, report

PLAN = Path(__file__).parent.parent / "configs" / "studio.toml"
RESERVED_FROM = 900_000
"""Seeds from here on are kept for independent re-measurement."""
KINDS = {
    "scene": ("scene",), "pairs": ("scene", "reference"), "packshots": ("packshot",), "lifted": ("lifted",),
    "grown": ("grown",), "doubled": ("doubled",),
}  # fmt: skip


def read_plan(path: Path, out: Path) -> list[Batch]:
    """The batches of a plan: a `[[split]]` each with `name` (its folder), `seeds`, `half`, `kind` and `held_out`."""
    batches = []
    for split in tomllib.loads(path.read_text())["split"]:
        seeds = seed_range(split["seeds"])
        if seeds[-1] >= RESERVED_FROM:
            raise ProductBackgroundError(
                f"{path}, split {split['name']}: expected seeds below {RESERVED_FROM}, got {split['seeds']}. "
                "The others are reserved for independent re-measurement."
            )
        kinds = KINDS[split.get("kind", "scene")]
        batches.append(Batch(out / split["name"], seeds, split["half"], kinds, split.get("held_out", False)))
    return batches


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.render.plan", description=__doc__)
    parser.add_argument("--plan", type=Path, default=PLAN)
    parser.add_argument("--out", type=Path, default=Path("data/studio"), help="one folder a split is made in it")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    batches = read_plan(options.plan, options.out)
    missing = [len(batch.jobs()) for batch in batches]
    tqdm.write(
        f"{len(batches)} splits, {sum(len(batch.slots) for batch in batches)} pictures, {sum(missing)} to render"
    )
    failures = []
    with tqdm(total=sum(missing), unit="picture", mininterval=5) as progress:
        for batch in batches:
            progress.set_description(str(batch.root.relative_to(options.out)))
            failures += render_batch(batch, options.workers, progress)
    return report(failures)


if __name__ == "__main__":
    sys.exit(main())
