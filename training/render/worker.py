"""One rendering process: `python -m training.render.worker`, a job a line on standard input, an answer a line.

A process of its own, since Blender keeps state per process and a crash must cost one picture only.
"""

import json
import os
import sys
from pathlib import Path

from bg_core.files import replacing

from .one_core import imported_on_one_core
from .recipe import draw_recipe, draw_reference

with imported_on_one_core():
    from .studio import NothingToGrow, Quality, render_packshot, render_scene


def render(job: dict) -> dict[str, object]:
    """Renders one job; returns its picture's factors."""
    draw = draw_reference if job["kind"] == "reference" else draw_recipe
    recipe = draw(job["seed"], job["half"], job["held_out"])
    picture, mask, quality = Path(job["picture"]), Path(job["mask"]), Quality(**job["quality"])
    if job["kind"] == "packshot":
        return recipe.factors() | render_packshot(recipe, picture, mask, quality)
    negative = job["kind"] if job["kind"] in ("lifted", "grown", "doubled") else None
    return recipe.factors() | render_scene(recipe, picture, mask, quality, negative)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender reports every saved file on standard output
    for line in sys.stdin:
        job = json.loads(line)
        error = None
        try:
            facts = render(job)
            with replacing(Path(job["facts"])) as temporary:
                temporary.write_text(json.dumps(facts, indent=1))
        except NothingToGrow:
            Path(job["skipped"]).touch()
        except Exception as problem:  # the parent reports it; other pictures go on
            error = f"{type(problem).__name__}: {problem}"
        answers.write(json.dumps({"error": error}) + "\n")


if __name__ == "__main__":
    main()
