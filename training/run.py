"""What every trainer shares: resumable state in safetensors, EMA, logs, a progress bar.

Randomness comes from `Run.generator()`, which is seeded by the step number: a run that was killed and resumed draws the
numbers it would have drawn, so its curve is the same.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from .settings import Settings

if TYPE_CHECKING:
    from accelerate import Accelerator


def adamw(parameters: Iterable[Any], rate: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)


class Run:
    """Trains `modules` jointly and keeps an exponential moving average of them.

    The folder holds `latest.safetensors` (modules, averages, optimiser, step; written to a temporary name, then
    renamed) and TensorBoard's log. `rates`: factors on the learning rate, by module. `accelerator`: accelerate's, where
    several processes train together; each computes its share of the batch, and the first one writes.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        modules: Mapping[str, nn.Module],
        optimizer: Callable[[Iterable[Any], float], torch.optim.Optimizer] = adamw,
        rates: Mapping[str, float] | None = None,
        accelerator: Accelerator | None = None,
    ) -> None:
        self.folder, self.settings = folder, settings
        self.accelerator = accelerator if accelerator is not None and accelerator.num_processes > 1 else None
        self.process, self.processes = (accelerator.process_index, accelerator.num_processes) if accelerator else (0, 1)
        self.writes = self.process == 0
        self.step = 0
        self._scopes = threading.local()
        self.parameters = {f"{m}.{n}": p for m, module in modules.items() for n, p in module.named_parameters()}
        self.average = {name: p.detach().clone() for name, p in self.parameters.items()}
        groups = [
            {"params": list(module.parameters()), "factor": (rates or {}).get(name, 1.0)}
            for name, module in modules.items()
        ]
        self.optimizer = optimizer(groups, settings.learning_rate)
        folder.mkdir(parents=True, exist_ok=True)
        self.state_file = folder / "latest.safetensors"
        if self.state_file.exists():
            self._resume()

    def generator(self, part: int = 0) -> torch.Generator:
        """A fresh generator for the present step."""
        return torch.Generator().manual_seed((self.settings.seed + 7919 * part) * 1_000_003 + self.step)

    @property
    def scope(self) -> ExitStack:
        """What `loss_of` enters here lasts until its backward pass is done, where gradient checkpointing runs layers a
        second time."""
        return self._scopes.stack

    def learning_rate(self) -> float:
        """Linear warm-up, then a cosine down to a twentieth."""
        s = self.settings
        if self.step < s.warmup:
            return s.learning_rate * (self.step + 1) / s.warmup
        progress = min(1.0, (self.step - s.warmup) / max(1, s.steps - s.warmup))
        return s.learning_rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))

    def train(
        self,
        loss_of: Callable[[torch.Generator], dict[str, Tensor]],
        sample: Callable[[], None],
        parts: int = 1,
    ) -> None:
        """Runs to `settings.steps`. `loss_of` returns named losses, one called `loss`; `sample` draws sheets and may
        log to `self.writer`.

        With several `parts`, each draws its own share of the batch and has a thread to itself. On busy cores that is
        much faster than sharing every single operation, where all threads wait for the slowest. Several processes
        divide the parts between them.
        """
        if parts % self.processes or self.settings.batch % parts:
            raise ProductBackgroundError(
                f"batch is {self.settings.batch} in {parts} parts, which {self.processes} processes can't share "
                "equally. Expected parts to be a multiple of the processes, and batch one of the parts."
            )
        from torch.utils.tensorboard import SummaryWriter

        log = str(self.folder / "log") if self.writes else tempfile.mkdtemp()
        self.writer = writer = SummaryWriter(log, purge_step=self.step)
        saved = time.monotonic()
        bar = tqdm(
            total=self.settings.steps, initial=self.step, unit="step", mininterval=5, smoothing=0.05,
            disable=not self.writes,
        )  # fmt: skip
        while self.step < self.settings.steps:
            rate = self.learning_rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate * group["factor"]
            losses = self._backward(loss_of, parts)
            if self.accelerator is not None:
                losses = self._averaged(self.accelerator, losses)
            norm = nn.utils.clip_grad_norm_(self.parameters.values(), 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            self.step += 1
            self._update_average()
            bar.update()
            if self.step % 20 == 0:
                values = {name: float(value.detach()) for name, value in losses.items()}
                if not math.isfinite(values["loss"]):
                    raise ProductBackgroundError(
                        f"The loss is {values['loss']} at step {self.step}; lower the learning rate."
                    )
                bar.set_postfix({k: f"{v:.4f}" for k, v in values.items()}, refresh=False)
                for name, value in (values | {"rate": rate, "gradient_norm": float(norm)}).items():
                    writer.add_scalar(name, value, self.step)
            if self.writes and time.monotonic() - saved > 60 * self.settings.minutes_between_saves:
                self.save()
                sample()
                saved = time.monotonic()
        bar.close()
        if self.writes:
            self.save()
            sample()
        writer.close()

    def _backward(self, loss_of: Callable[[torch.Generator], dict[str, Tensor]], parts: int) -> dict[str, Tensor]:
        """Sets the parameters' gradients; returns the mean losses."""
        parameters = list(self.parameters.values())

        def work(part: int) -> tuple[dict[str, Tensor], tuple[Tensor | None, ...]]:
            with ExitStack() as self._scopes.stack:
                losses = loss_of(self.generator(part))
                return losses, torch.autograd.grad(losses["loss"], parameters, allow_unused=True)

        mine = range(self.process, parts, self.processes)
        # A GPU runs parts one after another anyway, and backward in a thread of its own: what guides layers is kept by
        # the thread, and a checkpointed layer that is computed again there must find its own part's.
        if len(mine) == 1 or parameters[0].is_cuda:
            results = [work(part) for part in mine]
        else:
            torch.set_num_threads(1)
            with ThreadPoolExecutor(len(mine)) as pool:
                results = list(pool.map(work, mine))
        for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
            # one part's rows may say nothing of a parameter of which another's do
            known = [gradient for gradient in gradients if gradient is not None]
            parameter.grad = sum(known[1:], known[0]) / len(results) if known else None
        return {name: torch.stack([losses[name].detach() for losses, _ in results]).mean() for name in results[0][0]}

    def _averaged(self, accelerator: Accelerator, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """Makes gradients the mean over all processes', in one message; returns the mean losses."""
        gradients = [p.grad for p in self.parameters.values() if p.grad is not None]
        values = torch.stack([losses[name].detach() for name in losses])
        sizes = [g.numel() for g in gradients]
        message = torch.cat([*(g.flatten() for g in gradients), values])
        *parts, values = accelerator.reduce(message, "mean").split([*sizes, len(losses)])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))
        return dict(zip(losses, values, strict=True))

    def swap_average(self) -> None:
        """Exchanges the weights with their average; calling it again puts them back."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                kept = parameter.detach().clone()
                parameter.copy_(self.average[name])
                self.average[name].copy_(kept)

    def save(self) -> None:
        state = {f"module.{name}": p.detach() for name, p in self.parameters.items()}
        state |= {f"average.{name}": value for name, value in self.average.items()}
        names = list(self.parameters)
        for index, entry in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{names[index]}.{key}": torch.as_tensor(value) for key, value in entry.items()}
        header = {"step": json.dumps(self.step), "settings": json.dumps(dataclasses.asdict(self.settings))}
        with replacing(self.state_file) as temporary:
            save_file({k: v.contiguous() for k, v in state.items()}, temporary, header)

    def _resume(self) -> None:
        with safe_open(str(self.state_file), "pt") as file:
            self.step = json.loads(file.metadata()["step"])
            state: dict[int, dict[str, Tensor]] = {}
            moments: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118 (not a dictionary)
                if key.startswith("optimizer."):
                    name, _, moment = key.removeprefix("optimizer.").rpartition(".")
                    moments.setdefault(name, {})[moment] = file.get_tensor(key)
            with torch.no_grad():
                for index, (name, parameter) in enumerate(self.parameters.items()):
                    parameter.copy_(file.get_tensor(f"module.{name}"))
                    self.average[name].copy_(file.get_tensor(f"average.{name}"))
                    if name in moments:  # a parameter that has not been trained yet has none
                        # a fused optimiser walks through memory: moments must lie there in the parameter's order
                        state[index] = {
                            moment: torch.empty_like(parameter).copy_(value) if value.ndim else value
                            for moment, value in moments[name].items()
                        }
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        tqdm.write(f"resumed {self.state_file} at step {self.step}")

    @torch.no_grad()
    def _update_average(self) -> None:
        # a short memory at first, so that the average does not hold on to the random start
        decay = min(self.settings.ema, (1 + self.step) / (10 + self.step))
        averages, values = list(self.average.values()), list(self.parameters.values())
        torch._foreach_lerp_(averages, [v.detach() for v in values], 1 - decay)
