"""`python -m training.export_run --base RUN --autoencoder RUN --data DIR`: a finished run as one checkpoint."""

from __future__ import annotations

import argparse
import json
import subprocess
from pathlib import Path

import torch
from safetensors import safe_open

from bg_core.autoencoder import fit_latent_rgb, widened

from .data import load_pictures, read_records, split
from .export import export_base, load_autoencoder
from .train_base import vocabulary

ROOT = Path(__file__).parent.parent
BUNDLED = ROOT / "models" / "checkpoints" / "product_background_demo_base.safetensors"


def export_run(base: Path, autoencoder: Path, data: Path, out: Path) -> Path:
    """Writes the averaged weights of a base run and its autoencoder to the ComfyUI checkpoint `out`."""
    training, _ = split(read_records(data))
    with safe_open(str(base / "latest.safetensors"), "pt") as file:
        steps, settings = (json.loads(file.metadata()[key]) for key in ("step", "settings"))
        names = [key for key in file.keys() if key.startswith("average.")]  # noqa: SIM118 (not a dictionary)
        average = {name.removeprefix("average."): file.get_tensor(name) for name in names}
    coder = load_autoencoder(autoencoder)
    pictures = load_pictures(training[:64]).float() / 255
    return export_base(
        out,
        unet={key.removeprefix("unet."): value for key, value in average.items() if key.startswith("unet.")},
        text={key.removeprefix("text."): value for key, value in average.items() if key.startswith("text.")},
        autoencoder=widened(coder).state_dict(),
        vocabulary=vocabulary(),
        latent_rgb=fit_latent_rgb(coder.encode(pictures).detach(), pictures),
        training={
            "data": data.name,
            "pictures": len(training),
            "steps": steps,
            "seed": settings["seed"],
            "settings": settings,
            "commit": commit(),
            "torch": torch.__version__,
            "licence": "Apache-2.0",
        },
    )


def commit() -> str:
    """The repository's commit, or "unknown" outside a checkout."""
    command = ["git", "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout.strip() or "unknown"
    except OSError:  # no git on this machine
        return "unknown"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training.export_run", description=__doc__)
    parser.add_argument("--base", type=Path, required=True, help="run folder of training.train_base")
    parser.add_argument(
        "--autoencoder", type=Path, required=True, help="run of training.train_vae, or an exported base"
    )
    parser.add_argument("--data", type=Path, required=True, help="the data set both were trained on")
    parser.add_argument("--out", type=Path, default=BUNDLED)
    options = parser.parse_args()
    target = export_run(options.base, options.autoencoder, options.data, options.out)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
