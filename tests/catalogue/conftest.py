"""Runs over small catalogues, without the pauses that large ones need."""

from __future__ import annotations

from pathlib import Path

import pytest

from catalogue import runner
from tests.catalogue.shop import Shop


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_BEAT", 0.05)
    monkeypatch.setattr(runner, "_ROOM", 0.1)
    monkeypatch.setattr(runner, "_GRACE", 0.5)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", products=8)
