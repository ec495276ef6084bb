"""A suite measured whole, and again after half of what it painted is gone, as after a stop."""

import json
from collections.abc import Sequence
from pathlib import Path

from training import evaluate


def measured_twice(arguments: Sequence[object], result: Path, kept: Path) -> dict[str, float]:
    """The figures that `training.evaluate` writes to `result`, the same both times; pictures lie in `kept`."""
    command = [*map(str, arguments), "--json", str(result), "--kept", str(kept)]
    evaluate.main(command)
    figures = json.loads(result.read_text())
    painted = {file: file.read_bytes() for file in kept.iterdir()}
    for file in sorted(painted)[::2]:
        file.unlink()
    evaluate.main(command)
    assert json.loads(result.read_text()) == figures
    assert {file: file.read_bytes() for file in kept.iterdir()} == painted
    return figures
