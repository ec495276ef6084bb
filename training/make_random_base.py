"""Write a base with random weights: everything of a checkpoint but its knowledge, for tests and timings.

Usage: `python -m training.make_random_base OUT.safetensors [--seed 0]`
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path

import torch

from .export import new_base, save_base
from .text import Vocabulary

CAPTIONS = (
    "",
    "a photo of perfume, in the background of marble and petals, soft light from the left",
    "a photo of sauce, in the background of a wooden kitchen board, warm light",
    "a photo of headphones, in the background of a concrete desk, blue evening light",
)


def make_random_base(path: str | os.PathLike[str], seed: int = 0, dtype: torch.dtype = torch.float16) -> Path:
    """A checkpoint of the demonstration base whose weights come from `seed` alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        base = new_base(Vocabulary.from_captions(CAPTIONS))
    training = {"data": "none", "steps": 0, "seed": seed, "licence": "Apache-2.0"}
    return save_base(path, base, training, dtype=dtype)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    path = make_random_base(arguments.out, arguments.seed)
    logging.info("%s: %.1f MB", path, path.stat().st_size / 1e6)


if __name__ == "__main__":
    main()
