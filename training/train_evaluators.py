"""`python -m training.train_evaluators --data DIR --out RUNS`: trains both evaluators.

DIR holds the data sets of the studio's `evaluator` splits, each in a folder of its own. Networks are trained one after
the other, each in `RUNS/EVALUATOR/TASK`; an interrupted run goes on where it stopped. `freeze_evaluators` comes next.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bg_core.errors import ProductBackgroundError

from .evaluators.examples import CLASSES, KEEPSAKES, Examples, read_examples
from .evaluators.networks import build
from .evaluators.tasks import TASKS
from .export import load_autoencoder
from .export_run import BUNDLED
from .muon import Muon
from .run import Run
from .settings import Settings

CONFIG = Path(__file__).parent / "configs" / "evaluators.toml"
SHAPES: dict[str, dict[str, Any]] = {
    "scene": {"heads": {head: len(classes) for head, classes in CLASSES.items()}},
    "keepsakes": {"kinds": len(KEEPSAKES)},
}


@dataclass(frozen=True)
class Plan:
    """One network of one evaluator. `config` rebuilds the network (`networks.build`)."""

    evaluator: str
    task: str
    settings: Settings
    config: dict[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.evaluator) / self.task


def read_plans(path: Path) -> Iterator[Plan]:
    """The networks of a configuration, in its order."""
    tables = tomllib.loads(path.read_text())
    common = {key: value for key, value in tables.items() if not isinstance(value, Mapping)}
    for evaluator, table in tables.items():
        if not isinstance(table, Mapping):
            continue
        own = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
        for task in TASKS:
            if task not in table:
                raise ProductBackgroundError(f"{path}: expected [{evaluator}.{task}].")
            values = common | own | table[task]
            config = {"task": task} | {key: values.pop(key) for key in ("architecture", "side", "widths")}
            config |= SHAPES.get(task, {})
            values["options"] = {"parts": values.pop("parts")} | config
            yield Plan(evaluator, task, Settings.of(values, f"{path}, [{evaluator}.{task}]"), config)


def data_sets(root: Path) -> list[Path]:
    """`root`, or the data sets in its folders."""
    folders = sorted(path.parent for path in root.rglob("bg60k_info.txt"))
    if not folders:
        raise ProductBackgroundError(
            f"No data sets below {root}: no bg60k_info.txt. Render them with `python -m training.render.plan`."
        )
    return folders


def train(plan: Plan, training: Examples, held: Examples, out: Path) -> nn.Module:
    """The averaged network after all its steps."""
    torch.manual_seed(plan.settings.seed)
    net = build(plan.config).to(memory_format=torch.channels_last)
    run = Run(out / plan.folder, plan.settings, {"net": net}, Muon)
    task, parts = TASKS[plan.task], plan.settings.options["parts"]
    finished = run.step >= plan.settings.steps

    def loss_of(generator: torch.Generator) -> dict[str, Tensor]:
        return task.loss(net, training, plan.settings.batch // parts, plan.config["side"], generator)

    def sample() -> None:
        run.swap_average()
        net.eval()
        figures = task.figures(net, held, plan.config["side"])
        for key, value in figures.items():
            run.writer.add_scalar(f"held out/{key}", value, run.step)
        print(f"{plan.folder}, step {run.step}: " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items()), flush=True)
        net.train()
        run.swap_average()

    if not finished:
        run.train(loss_of, sample, parts)
    run.swap_average()
    return net.eval()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.train_evaluators", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, default=BUNDLED, help="a base, or a run of training.train_vae")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    coder = load_autoencoder(options.autoencoder)
    examples = read_examples(data_sets(options.data), coder, options.out / "painted.safetensors")
    training, held = examples.split()
    for plan in read_plans(options.config):
        train(plan, training, held, options.out)


if __name__ == "__main__":
    main()
