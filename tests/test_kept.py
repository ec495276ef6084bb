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

    layer, words, masks = nn.Linear(2, 2), ["a tea", "a tea"], torch.ones(2, dtype=torch.uint8)

    def run(rows: int = 2) -> list[int]:
        painted.clear()
        with keeping(tmp_path / "kept"):
            step = remembered(work, lambda: [layer, 3.0], lambda row: [words[row], masks[row]])
            assert [int(step(row)[0, 0]) for row in range(rows)] == list(range(rows))
        return list(painted)

    assert run(rows=1) == [0]
    assert run() == [1]  # the same words and mask, but another place in the list has other noise
    assert run() == []
    next((tmp_path / "kept").iterdir()).unlink()
    assert len(run()) == 1
    words[1] = ""
    assert run() == [1]
    masks[0] = 0
    assert run() == [0]
    with torch.no_grad():
        layer.bias[0] += 1e-3
    assert run() == [0, 1]
    assert run() == []


def test_a_batch_that_fails_leaves_no_file_and_elsewhere_nothing_is_written(tmp_path: Path) -> None:
    def fails(start: int) -> Tensor:
        raise MemoryError

    with keeping(tmp_path), pytest.raises(MemoryError):
        remembered(fails, lambda: [], lambda _: [])(0)
    assert list(tmp_path.iterdir()) == []
    assert remembered(fails, lambda: [], lambda _: []) is fails
