"""`python -m training.render --seed-range A:B --out DIR`: renders scenes, pairs, packshots or negatives; resumable."""

import argparse
import os
import sys
from pathlib import Path

from tqdm import tqdm

from .farm import Batch, render_batch, report


def seed_range(text: str) -> range:
    """Seeds `A:B`, B not included, or every STEPth of them, `A:B:STEP`."""
    try:
        first, last, *rest = (int(part) for part in text.split(":"))
        (step,) = rest or [1]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected A:B such as 0:2000, or A:B:STEP, got {text!r}") from None
    if not 0 <= first < last or step < 1:
        raise argparse.ArgumentTypeError(f"expected 0 <= A < B, and STEP of at least 1, got {text!r}")
    return range(first, last, step)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m training.render", description=__doc__)
    parser.add_argument(
        "--seed-range", type=seed_range, required=True, help="seeds A:B, B not included, or every tenth as A:B:10"
    )
    parser.add_argument("--out", type=Path, required=True, help="data set folder; finished pictures are kept")
    parser.add_argument("--half", choices=("generic", "bound"), default="generic")
    parser.add_argument(
        "--held-out",
        action="store_true",
        help="shapes that training never shows in half of the pictures, surface, wall and light that it never shows "
        "together in another half",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--packshots", action="store_true", help="the same products on white, instead of scenes")
    kind.add_argument("--pairs", action="store_true", help="a second picture a seed: same style, other product")
    kind.add_argument(
        "--negative",
        choices=("lifted", "grown", "doubled"),
        help="the same scenes with a fault: product off the ground, mask without cap or handle, a second product",
    )
    parser.add_argument("--side", type=int, default=192, help="picture side in pixels")
    parser.add_argument("--samples", type=int, default=Batch.samples, help="Cycles samples per pixel")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.pairs:
        kinds = ("scene", "reference")
    else:
        kinds = (options.negative or ("packshot" if options.packshots else "scene"),)
    batch = Batch(options.out, options.seed_range, options.half, kinds, options.held_out, options.side, options.samples)
    total, missing = len(batch.slots), len(batch.jobs())
    tqdm.write(f"{total - missing} of {total} pictures are there already, {missing} to render")
    with tqdm(total=missing, unit="picture", desc="rendering", mininterval=2) as progress:
        failures = render_batch(batch, options.workers, progress)
    return report(failures)


if __name__ == "__main__":
    sys.exit(main())
