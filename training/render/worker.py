"""One rendering process: `python -m training.render.worker`, a job a line on standard input, an answer a line.

A process of its own, since Blender keeps state per process and a crash must cost one picture only.
"""

import json
import os
import sys
from pathlib import Path

from bg_core.files import replacing

from .recipe import draw_recipe
from .studio import Quality, render_packshot, render_scene


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Blender reports every saved file on standard output
    for line in sys.stdin:
        job = json.loads(line)
        recipe = draw_recipe(job["seed"], job["half"], job["held_out"])
        render = render_packshot if job["packshot"] else render_scene
        try:
            boxes = render(recipe, Path(job["picture"]), Path(job["mask"]), Quality(**job["quality"]))
            facts = recipe.factors() | {"boxes": boxes}
            with replacing(Path(job["facts"])) as temporary:
                temporary.write_text(json.dumps(facts, indent=1))
            answer = {"seed": job["seed"], "error": None}
        except Exception as error:  # the parent reports it; other pictures go on
            answer = {"seed": job["seed"], "error": f"{type(error).__name__}: {error}"}
        answers.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
