"""Painted batches are kept: nothing is painted twice, and nothing of other weights, words or seeds is taken for it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training.kept import keeping, remembered


def test_only_what_is_missing_is_painted_and_other_parts_are_other_pictures(tmp_path: Path) -> None:
    painted: list[int] = []

    def work(start: int) -> Tensor:
        painted.append(start)
        return torch.full((2, 3), start, dtype=torch.uint8)

    layer, words, mask = nn.Linear(2, 2), ["a tea"], torch.ones(2, dtype=torch.uint8)

    def run() -> list[int]:
        painted.clear()
        with keeping(tmp_path / "kept"):
            step = remembered(work, lambda: [layer, words, mask, 3.0])
            assert [int(step(start)[0, 0]) for start in (0, 16)] == [0, 16]
        return list(painted)

    assert run() == [0, 16]
    assert run() == []
    next((tmp_path / "kept").glob("*_000016.safetensors")).unlink()
    assert run() == [16]
    words.append("")
    assert run() == [0, 16]
    mask[1] = 0
    assert run() == [0, 16]
    with torch.no_grad():
        layer.bias[0] += 1e-3
    assert run() == [0, 16]
    assert run() == []


def test_a_batch_that_fails_leaves_no_file_and_elsewhere_nothing_is_written(tmp_path: Path) -> None:
    def fails(start: int) -> Tensor:
        raise MemoryError

    with keeping(tmp_path), pytest.raises(MemoryError):
        remembered(fails, lambda: [])(0)
    assert list(tmp_path.iterdir()) == []
    assert remembered(fails, lambda: []) is fails
