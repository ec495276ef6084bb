"""`python -m training.evaluate SUITE --data DIR --json FILE [--limit N] [--sheets DIR]`: measures, with intervals.

DIR is a rendered data set in BG60k's layout with factors, for instance
`python -m training.render --seed-range 300000:300960 --held-out --out DIR`. Prints a table and writes one flat JSON
object in which every KEY has KEY_low and KEY_high beside it, the bounds of its 95% interval. What was painted is kept:
a measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

from bg_core.files import replacing

from .kept import PAINTED, keeping
from .metrics.intervals import Figure, flat
from .suites import SUITES


def table(figures: Mapping[str, Figure]) -> str:
    """Lines of KEY, value and interval."""
    width = max(len(key) for key in figures)
    return "\n".join(f"{key:<{width}}  {f.value:9.4f}  [{f.low:.4f}, {f.high:.4f}]" for key, f in figures.items())


def write(figures: Mapping[str, Figure], file: Path) -> None:
    """One flat JSON object, in a folder that is made where it's missing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        temporary.write_text(json.dumps(flat(figures), indent=1) + "\n")


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("--data", type=Path, required=True, help="data set folder; its scenes are measured")
    parser.add_argument("--json", type=Path, required=True, help="file for the figures")
    parser.add_argument("--limit", type=int, help="measure only the first N scenes")
    parser.add_argument("--sheets", type=Path, help="folder for sheets of pictures, the worst ones among them")
    parser.add_argument(
        "--kept", type=Path, default=PAINTED, help="folder of painted pictures, where a stopped run goes on"
    )
    options = parser.parse_args(arguments)
    with keeping(options.kept):
        figures = SUITES[options.suite](options.data, options.limit, options.sheets)
    print(table(figures))
    write(figures, options.json)


if __name__ == "__main__":
    main()
