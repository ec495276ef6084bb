"""`python -m training.freeze_evaluators --data DIR --runs RUNS`: finished evaluators become files.

Writes half-precision weights to `training/evaluators/weights` and their hashes, thresholds and held-out figures to
`training/protocol.toml`. Thresholds lie where as many sound pictures fail as faulty ones pass, on held-out renders.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from bg_core.errors import ProductBackgroundError

from .evaluators.examples import Examples, read_examples
from .evaluators.frozen import FOLDER, freeze, thaw
from .evaluators.networks import build
from .evaluators.tasks import TASKS
from .export import load_autoencoder
from .export_run import BUNDLED, commit
from .protocol import PROTOCOL, write_evaluators
from .train_evaluators import CONFIG, Plan, data_sets, read_plans


def averaged(plan: Plan, runs: Path) -> tuple[torch.nn.Module, int]:
    """The averaged network of a finished run and its number of steps."""
    state = runs / plan.folder / "latest.safetensors"
    if not state.is_file():
        raise ProductBackgroundError(f"No run at {state.parent}: train it with `python -m training.train_evaluators`.")
    net = build(plan.config)
    with safe_open(str(state), "pt") as file:
        steps = json.loads(file.metadata()["step"])
        if steps < plan.settings.steps:
            raise ProductBackgroundError(
                f"{state.parent} stands at step {steps} of {plan.settings.steps}: go on first."
            )
        net.load_state_dict({name: file.get_tensor(f"average.net.{name}") for name, _ in net.named_parameters()})
    return net.eval(), steps


def freeze_all(
    runs: Path, held: Examples, config: Path, data: str, folder: Path = FOLDER, protocol: Path = PROTOCOL
) -> None:
    """Freezes every network of `config`; figures are taken on `held` with the weights as stored."""
    entries: dict[str, dict[str, dict[str, Any]]] = {}
    for plan in read_plans(config):
        net, steps = averaged(plan, runs)
        file = folder / f"{plan.evaluator}_{plan.task}.safetensors"
        training = {
            "data": data,
            "steps": steps,
            "seed": plan.settings.seed,
            "commit": commit(),
            "torch": torch.__version__,
            "licence": "Apache-2.0",
        }
        digest = freeze(net, file, plan.config, training)
        stored, _ = thaw(file)
        figures = TASKS[plan.task].figures(stored, held, plan.config["side"])
        entries.setdefault(plan.evaluator, {})[plan.task] = {"file": file.name, "sha256": digest} | figures
        print(
            f"{file.name}: {file.stat().st_size / 1e6:.2f} MB, " + ", ".join(f"{k} {v:.3f}" for k, v in figures.items())
        )
    write_evaluators(entries, protocol)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m training.freeze_evaluators", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--autoencoder", type=Path, default=BUNDLED, help="a base, or a run of training.train_vae")
    parser.add_argument("--runs", type=Path, required=True, help="the --out of training.train_evaluators")
    parser.add_argument("--config", type=Path, default=CONFIG)
    options = parser.parse_args(arguments)
    coder = load_autoencoder(options.autoencoder)
    _, held = read_examples(data_sets(options.data), coder, options.runs / "painted.safetensors").split()
    freeze_all(options.runs, held, options.config, options.data.name)


if __name__ == "__main__":
    main()
