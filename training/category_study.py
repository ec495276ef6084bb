"""`python -m training.category_study --data DIR --test DIR --generic DIR --out DIR`: the category experiment, whole.

Trains every arm of experiments.md section 3, paints and scores with each, and writes the table, the plots and the
primary comparisons that `protocol.toml` wrote down before. Whatever is finished is kept: an interrupted study goes on.

DIR of --data and --test: the bound halves for training and testing; of --generic: the generic half, for virtual
categories (`--test-generic` holds the products that they are painted around).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import multiprocessing
import tomllib
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from .category.exam import asked_for, examine, real_scores, sweep_cells
from .category.lots import CONFIG, Lot, Study, lots_and_exams, records_of
from .category.paint import check_paintable
from .category.plan import Scenes
from .category.scenes import select
from .category.table import report
from .evaluators.frozen import load_evaluators
from .export_run import BUNDLED
from .latents import kept_latents
from .painters import load_painter
from .protocol import PROTOCOL, read_protocol
from .settings import read_toml
from .stamps import sha256
from .train_category import Lesson, teach


def train(study: Study, lot: Lot) -> None:
    """One lot, to its end."""
    folder = study.out / "runs" / lot.name
    if (folder / "done").is_file():
        return
    sweep = study.config["sweep"]
    if lot.virtual:
        scenes, steps, views = Scenes(virtual=lot.virtual), sweep["steps"], sweep["views"]
    else:
        scenes, steps = Scenes(study.categories, lot.images), study.config["steps"]
        views = study.config["options"]["views"]
    source = study.generic if lot.virtual else study.data
    assert source is not None
    settings = study.settings(steps, lot.seed)
    plan = dataclasses.replace(study.plan(lot.arm, views=views), scenes=scenes)
    painter = load_painter(study.base)
    # the latents of the largest set, once; a lot takes its rows
    widest = dataclasses.replace(scenes, images=0, virtual=max(sweep["sizes"]) if lot.virtual else 0)
    everything = select(records_of(source), widest, 0)
    latents = kept_latents(
        painter.coder, [e.record for e in everything], plan.side, views, study.out / "latents", mirror=False
    )
    row = {example.record.name: i for i, example in enumerate(everything)}
    examples = select(records_of(source), scenes, lot.seed)
    lesson = Lesson.of(examples, latents.chosen([row[example.record.name] for example in examples]))
    folder.mkdir(parents=True, exist_ok=True)
    whole = dataclasses.asdict(settings) | {"options": plan.to_dict()}
    (folder / "run.json").write_text(json.dumps(whole, indent=1) + "\n")
    about = {"data": source.name, "pictures": len(examples), "model": study.base.name}
    teach(painter, lesson, settings, plan, folder, about)
    (folder / "done").touch()


def _work(task: Callable[..., None], study: Study, item: Any) -> None:
    if isinstance(item, Lot):
        task(study, item)
    else:
        task(study, item, read_protocol(), load_evaluators())


def contents(folder: Path) -> str:
    """A digest of a data set's scenes: names, categories, captions, factors and the sizes of their files, wherever it
    lies."""
    about = hashlib.sha256()
    for record in records_of(folder):
        sizes = [path.stat().st_size for path in (record.picture, record.mask)]
        facts = [record.name, record.category, record.caption, dict(record.factors), sizes]
        about.update(json.dumps(facts, sort_keys=True).encode())
    return about.hexdigest()


def check_same(study: Study) -> None:
    """Raises ProductBackgroundError where the folder holds results of another base, configuration, data or evaluators.

    They are known by their content; where they lie doesn't matter. A study without virtual categories may get them.
    """
    files = [study.base] if study.base.is_file() else sorted(study.base.rglob("*.safetensors"))
    what = {
        "base": [sha256(file) for file in files],
        "config": {key: value for key, value in study.config.items() if key != "sweep"},
        "categories": list(study.categories),
        "seeds": list(study.seeds),
        "--data": contents(study.data),
        "--test": contents(study.test),
        "evaluators": {name: dict(tasks) for name, tasks in read_protocol().evaluators.items()},
    }
    if study.generic is not None and study.test_generic is not None:
        what |= {"--generic": contents(study.generic), "--test-generic": contents(study.test_generic)}
        what["sweep"] = study.config["sweep"]
    what = json.loads(json.dumps(what))
    file = study.out / "study.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    if not set(what) <= set(known):
        study.out.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_text(json.dumps(what | known, indent=1) + "\n")
    if changed := [key for key in what if known.get(key, what[key]) != what[key]]:
        raise ProductBackgroundError(
            f"{study.out} holds a study with another {', '.join(changed)}: results of both can't stand in one table. "
            "Give a new folder with --out."
        )


def run(study: Study, workers: int) -> None:
    """All lots, then all exams, `workers` at a time with one thread each: runs are many and small."""
    lots, exams = lots_and_exams(study)
    load_evaluators()  # a missing one is told now, not after two hours of training
    if study.generic is not None:
        sweep_cells(study)  # so are cells that the data doesn't have
    check_same(study)
    for task, items in ((train, lots), (examine, exams)):
        if workers == 1:
            for item in tqdm(items, desc=task.__name__):
                _work(task, study, item)
            continue
        # one of each kind before the others, which find the latents that it has computed
        first = list({bool(isinstance(item, Lot) and item.virtual): item for item in reversed(items)}.values())
        rest = [item for item in items if item not in first]
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, spawn, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for some in (first, rest):
                list(tqdm(pool.map(partial(_work, task, study), some), desc=task.__name__, total=len(some)))
    real_scores(study, load_evaluators())


def usual_number(study: Study) -> int:
    """How many pictures of a category there are to learn from, of the middle one."""
    counts = Counter(record.category for record in records_of(study.data))
    return sorted(counts[name] for name in study.categories)[len(study.categories) // 2]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.category_study", description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=BUNDLED)
    parser.add_argument("--data", type=Path, required=True, help="bound half, for training")
    parser.add_argument("--test", type=Path, required=True, help="bound half, held out")
    parser.add_argument("--generic", type=Path, help="generic half, for virtual categories; without it, no sweep")
    parser.add_argument("--test-generic", type=Path, help="generic half, held out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--workers", type=int, default=2, help="processes of one thread each")
    options = parser.parse_args(arguments)
    if (options.generic is None) != (options.test_generic is None):
        raise ProductBackgroundError("--generic and --test-generic belong together; only one was given.")
    check_paintable(load_painter(options.base), options.base)
    own = tomllib.loads(PROTOCOL.read_text())["category"]
    config = read_toml(options.config)
    study = Study(
        options.base, options.data, options.test, options.generic, options.test_generic, options.out, config,
        tuple(own["categories"]), tuple(own["seeds"]),
    )  # fmt: skip
    run(study, options.workers)
    _, exams = lots_and_exams(study)
    asked = {exam.on: asked_for(study, exam.on) for exam in exams}
    names = [(exam.arm, exam.on, exam.seed) for exam in exams]
    print(report(options.out, names, asked, own["comparison"], read_protocol(), usual_number(study)))


if __name__ == "__main__":
    main()
