"""What Mask-Guided Attention and style references cost a step of the sampler, against the stock model, inside ComfyUI.

    python -m tests.drills.attention_overhead [--pairs 40] [--threads 2] [--model demonstration] [--variant guided]
        [--record FILE]

Stock and guided steps take turns as A B B A, so that drift falls on both alike; the figure is the median of the pairs'
ratios with its 95% interval (of ranks, which asks nothing of the distribution), once of wall time and once of the
process's own CPU time, which other programs disturb less (where a machine lets one, count instructions as well: perf
stat -e instructions:u). What is prepared once a run is told apart. IPAdapter_plus
with a mask and PPM's attention couple are measured beside it where IPADAPTER_PLUS_PATH and COMFYUI_PPM_PATH name
checkouts. 40 pairs take about a minute on the demonstration base and half an hour on Stable Diffusion's (two cores).
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

import tests.conftest  # makes the pack's modules known under the name they have in ComfyUI
from scripts.comfyui import comfyui_path

from .servers import record

BASE = (
    Path(__file__).resolve().parent.parent.parent
    / "models"
    / "checkpoints"
    / "product_background_demo_base.safetensors"
)
PLACES = [9, 10, 11, 12]
BARS = {"guided": 1.02, "style": 1.03}
"""What the upper bound of a ratio has to stay within."""

Step = Callable[[], Any]


@dataclass(frozen=True)
class Subject:
    """A model, the height and width of its latents, their channels, and how wide its texts are."""

    model: Any
    side: int
    channels: int
    width: int


def demonstration(width: int | None = None) -> Subject:
    """The bundled base, painting 192x192 pixels."""
    import comfy.sd
    from product_background.nodes.demonstration_base import register_demonstration_base

    register_demonstration_base()
    model = comfy.sd.load_checkpoint_guess_config(str(BASE), output_vae=False, output_clip=False)[0]
    return Subject(model, 24, 16, 128)


def sd15() -> Subject:
    """Stable Diffusion 1.5's UNet at full size with random weights, painting 512x512 pixels."""
    from tests.host import attention_lab as lab

    return Subject(lab.new_model(model_channels=320, context_dim=768), 64, 4, 768)


SUBJECTS: dict[str, Callable[[], Subject]] = {"demonstration": demonstration, "sd15": sd15}


def texts(subject: Subject) -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    positive, negative = torch.randn(2, 1, 77, subject.width, generator=generator)
    about = {"length": 77, "groups": {"identifier": PLACES, "product": [4, 5]}, "strength": 1.0}
    return [[[positive, {"product_background": about}]], [[negative, {}]]]


def step_of(model: Any, subject: Subject) -> Step:
    """One step of the sampler, conditional and unconditional rows together, outside of its loop."""
    import comfy.samplers

    caught: list[Any] = []
    named: dict[str, Any] = {}

    class Catcher(comfy.samplers.CFGGuider):
        def predict_noise(self, x: Any, timestep: Any, model_options: Any = {}, seed: Any = None) -> Any:  # noqa: B006
            caught[:] = [self.inner_model, [self.conds[side] for side in self.conds], x, timestep, model_options]
            named.update(self.conds)
            return torch.zeros_like(x)

    guider = Catcher(model)
    positive, negative = texts(subject)
    guider.set_conds(positive, negative)
    latent = torch.zeros(1, subject.channels, subject.side, subject.side)
    noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2))
    sigmas = comfy.samplers.KSampler(model, 1, "cpu", sampler="euler", scheduler="sgm_uniform").sigmas
    guider.sample(noise, latent, comfy.samplers.ksampler("euler"), sigmas, disable_pbar=True, seed=0)

    for wrapper in model.get_wrappers("apply_model", "product_background"):
        wrapper.__self__._guider = SimpleNamespace(conds=named)  # as inside the loop: which side is negative

    def step() -> Any:
        caught[0].current_patcher = model
        return comfy.samplers.calc_cond_batch(*caught)

    return step


def variants(subject: Subject) -> dict[str, Any]:
    from product_background.bg_core.region_plan import Guide
    from product_background.nodes import attention_patch

    from tests.host import attention_peers as peers
    from tests.host.style_lab import Reference

    background = torch.ones(1, 512, 512)
    background[:, 128:384, 128:384] = 0
    found = {
        "guided": attention_patch.guided(subject.model, Guide({"identifier": background})),
        "guided_both_groups": attention_patch.guided(
            subject.model, Guide({"identifier": background, "product": 1 - background})
        ),
    }
    reference = Reference(subject.model, background)
    found["style"] = reference.styled(subject.model, {"style": 1.0})  # five tokens
    found["style_and_layout"] = reference.styled(subject.model, {"style": 1.0, "layout": 1.0})  # some thirty
    found["style_layout_and_guided"] = attention_patch.guided(
        found["style_and_layout"], Guide({"identifier": background})
    )
    if subject.channels == 4:  # their code knows Stable Diffusion's blocks only
        for variable in (peers.IPADAPTER, peers.PPM):
            if variable not in os.environ:
                print(f"{variable} names no checkout: that peer is left out", file=sys.stderr)
        if peers.IPADAPTER in os.environ:
            for tokens, ending in ((4, ""), (5, "_5_tokens")):  # its usual number, and as many as `style`
                adapter = peers.ImageAdapter(subject.model.model.diffusion_model, subject.width, tokens)
                patched = peers.real_ipadapter(subject.model, adapter, 0.7, background)
                found[f"ipadapter_plus_with_mask{ending}"] = patched
        if peers.PPM in os.environ:
            masks = torch.cat([background, 1 - background])
            found["ppm_attention_couple"] = peers.real_couple(
                subject.model, texts(subject)[0], [texts(subject)[1][0][0]], masks
            )
    return found


def timed(step: Step) -> tuple[float, float]:
    """Wall and CPU seconds of one step."""
    wall, cpu = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - cpu


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The median and the ranks around it that hold it with 95% certainty."""
    ordered, n = sorted(values), len(values)
    reach = 0
    while reach < n // 2 and sum(math.comb(n, i) for i in range(reach + 1)) / 2**n <= 0.025:
        reach += 1
    low = max(reach - 1, 0)
    return statistics.median(ordered), ordered[low], ordered[n - 1 - low]


def measure(stock: Step, other: Step, pairs: int) -> dict[str, float]:
    """ABBA ratios of `other` to `stock`, in wall and CPU time."""
    found: dict[str, list[list[float]]] = {"stock": [], "other": []}
    for pair in range(pairs):
        order = [("stock", stock), ("other", other)]
        for name, step in order if pair % 2 == 0 else order[::-1]:
            found[name].append(list(timed(step)))
    figures = {"seconds_of_a_stock_step": statistics.median(wall for wall, _ in found["stock"])}
    for index, kind in enumerate(("wall", "cpu")):
        ratios = [b[index] / a[index] for a, b in zip(found["stock"], found["other"], strict=True)]
        figures |= dict(zip((f"{kind}_ratio", f"{kind}_low", f"{kind}_high"), median_interval(ratios), strict=True))
    return figures


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--model", choices=list(SUBJECTS), action="append")
    parser.add_argument("--variant", action="append", help="guided, style, ... or a peer; all by default")
    parser.add_argument("--use-pytorch-cross-attention", action="store_true", help="as ComfyUI's own argument")
    parser.add_argument("--record", type=Path)
    arguments = parser.parse_args()
    assert BASE.parents[2] == tests.conftest.ROOT
    sys.path.append(str(comfyui_path()))
    from comfy.cli_args import args

    args.cpu, args.use_pytorch_cross_attention = True, arguments.use_pytorch_cross_attention
    torch.set_num_threads(arguments.threads)
    attention = "pytorch" if arguments.use_pytorch_cross_attention else "default"
    figures: dict[str, float] = {}
    for name in arguments.model or list(SUBJECTS):
        subject = SUBJECTS[name]()
        stock = step_of(subject.model, subject)
        timed(stock)
        for variant, model in variants(subject).items():
            if arguments.variant and variant not in arguments.variant:
                continue
            step = step_of(model, subject)
            first = timed(step)[0]  # makes the regions, and warms up
            found = measure(stock, step, arguments.pairs)
            found["first_step_seconds"] = first
            print(f"{name} {variant}: " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()))
            if bar := BARS.get(variant):
                held = [kind for kind in ("wall", "cpu") if found[f"{kind}_high"] <= bar]
                print(f"  upper bound within {bar}: {' and '.join(held) or 'neither wall nor CPU time'}")
                found["bar"] = bar
            figures |= {f"overhead_{name}_{attention}_{variant}_{key}": round(v, 5) for key, v in found.items()}
    if arguments.record:
        record(arguments.record, figures)


if __name__ == "__main__":
    main()
