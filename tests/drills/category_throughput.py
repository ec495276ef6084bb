"""Seconds a step and memory of the category trainer, against diffusers' own text-to-image example.

    python -m tests.drills.category_throughput --example train_text_to_image_lora.py --data DIR [--full] [--side 128]
        [--batch 4] [--steps 20] [--record FILE]

`--example` is the script of a diffusers checkout (examples/text_to_image), as it is; it needs `datasets` and `peft`,
which may lie in a folder of PYTHONPATH. Model, pictures, resolution, batch, LoRA rank and machine are the same. Each
side runs twice, with few steps and with more: the difference is the steps' own cost, without loading. `--full` is
Stable Diffusion 1.5's size with random weights, else a UNet of a tenth of that. `equal_caching` adds to our step what
the example computes in every step and we compute once: a batch of pictures and texts encoded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from training.data import read_records
from training.painters import SD15_CODER, SD15_TEXT, load_painter, sd15_unet
from training.text import tokenizer_folder

from .servers import record

FEW = 3
RANK = 4


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds by the clock, its own CPU seconds, and the most memory it held, in MB."""

    wall: float
    cpu: float
    memory: float


def spent(command: list[str]) -> Cost:
    """Runs `command` to its end; its output is shown where it fails."""
    with tempfile.TemporaryFile() as output:
        started = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - started
        if os.waitstatus_to_exitcode(status):
            output.seek(0)
            raise SystemExit(f"{command}\n{output.read().decode(errors='replace')[-4000:]}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def per_step(few: Cost, many: Cost, steps: int) -> Cost:
    return Cost((many.wall - few.wall) / steps, (many.cpu - few.cpu) / steps, many.memory)


def make_model(folder: Path, full: bool) -> None:
    """A whole pipeline with random weights, as diffusers saves it."""
    from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    torch.manual_seed(0)
    unet, coder = sd15_unet(4), SD15_CODER
    if not full:
        unet = unet | {"block_out_channels": (96, 192, 384, 384), "attention_head_dim": 4}
        coder = coder | {"block_out_channels": (32, 64, 128, 128)}
    StableDiffusionPipeline(
        vae=AutoencoderKL(**coder),
        text_encoder=CLIPTextModel(CLIPTextConfig(**SD15_TEXT)),
        tokenizer=CLIPTokenizer.from_pretrained(str(tokenizer_folder())),
        unet=UNet2DConditionModel(**unet),
        scheduler=DDPMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, clip_sample=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def make_pictures(data: Path, count: int, ours: Path, theirs: Path) -> None:
    """The first `count` pictures of a data set, as a CSV for us and as an image folder for the example."""
    theirs.mkdir()
    ours.mkdir()
    lines, rows = [], ["image,mask,category"]
    for record_ in read_records(data)[:count]:
        (theirs / record_.name).symlink_to(record_.picture.resolve())
        text = f"a photo of a {record_.category}, in the background of {record_.category}"
        lines.append(json.dumps({"file_name": record_.name, "text": text}))
        rows.append(f"{record_.picture.resolve()},{record_.mask.resolve()},{record_.category}")
    (theirs / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    (ours / "pictures.csv").write_text("\n".join(rows) + "\n")


def our_command(work: Path, side: int, batch: int, steps: int) -> list[str]:
    config = work / f"ours_{steps}.toml"
    config.write_text(
        f"seed = 1\nsteps = {steps}\nbatch = {batch}\nlearning_rate = 1e-3\nwarmup = 1\nema = 0.9\n"
        f'minutes_between_saves = 1000\n[options]\narm = "masked_lora"\nside = {side}\nrank = {RANK}\nviews = 2\n'
        "hide_product = 0.25\n"
    )
    return [
        sys.executable, "-m", "training.train_category", "--base", str(work / "model"), "--data", str(work / "ours"),
        "--out", str(work / f"run_{steps}"), "--latents", str(work / "latents"), "--config", str(config),
    ]  # fmt: skip


def their_command(example: Path, work: Path, side: int, batch: int, steps: int) -> list[str]:
    return [
        sys.executable, str(example), "--pretrained_model_name_or_path", str(work / "model"), "--train_data_dir",
        str(work / "theirs"), "--output_dir", str(work / f"example_{steps}"), "--resolution", str(side),
        "--train_batch_size", str(batch), "--max_train_steps", str(steps), "--rank", str(RANK), "--seed", "1",
        "--random_flip", "--checkpointing_steps", "100000", "--mixed_precision", "no",
    ]  # fmt: skip


def encoding(work: Path, side: int, batch: int, rounds: int = 5) -> Cost:
    """What encoding a batch of pictures and texts costs in this process."""
    painter = load_painter(work / "model")
    pictures, rows = torch.rand(batch, 3, side, side), torch.zeros(batch, 77, dtype=torch.int64)
    with torch.no_grad():
        painter.coder.encode(pictures)
        wall, cpu = time.monotonic(), time.process_time()
        for _ in range(rounds):
            painter.coder.encode(pictures)
            painter.text(rows)
    return Cost((time.monotonic() - wall) / rounds, (time.process_time() - cpu) / rounds, 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--example", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--record", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        make_model(work / "model", options.full)
        make_pictures(options.data, 32, work / "ours", work / "theirs")
        setting = (work, options.side, options.batch)
        spent(our_command(*setting, 1))  # computes the latents that every later run finds
        costs = {}
        for name, command in (
            ("ours", lambda steps: our_command(*setting, steps)),
            ("example", lambda steps: their_command(options.example, *setting, steps)),
        ):
            few, many = (spent(command(steps)) for steps in (FEW, FEW + options.steps))
            costs[name] = per_step(few, many, options.steps)
        costs["encoding"] = encoding(*setting)
    ours, example, both = costs["ours"], costs["example"], costs["encoding"]
    figures = {
        "size": "full" if options.full else "small", "side": options.side, "batch": options.batch,
        "seconds_per_step": ours.wall, "seconds_per_step_example": example.wall,
        "cpu_per_step": ours.cpu, "cpu_per_step_example": example.cpu,
        "as_shipped": example.wall / ours.wall, "as_shipped_cpu": example.cpu / ours.cpu,
        "equal_caching": example.wall / (ours.wall + both.wall),
        "equal_caching_cpu": example.cpu / (ours.cpu + both.cpu),
        "memory_mb": ours.memory, "memory_mb_example": example.memory,
    }  # fmt: skip
    if options.record:
        record(options.record, {"category_training": figures})
    else:
        print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
