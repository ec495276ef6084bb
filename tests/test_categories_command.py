"""`python -m training.categories`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bg_core.vocabulary import Category, CategoryVocabulary
from bg_core.vocabulary_files import write_vocabulary
from training.categories import main
from training.render.categories import CATEGORIES
from training.vocabulary import studio_categories


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    for name, category in (("a", Category("mug", aliases=("cup",), scene="an oak table")), ("b", Category("tea"))):
        path = tmp_path / f"{name}.safetensors"
        write_vocabulary(path, [category], torch.ones(1, 2, 4), base="x", training={"seed": 1})
    return str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")


def test_list_and_find(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", files[0], "--scenes"]) == 0
    said = capsys.readouterr().out
    assert "1 categories of 2 vectors, 4 wide, for x" in said and "mug\tcup\tan oak table" in said and '"seed"' in said
    assert main(["find", files[0], "tin cup"]) == 0
    assert "mug (head noun 'cup' for 'tin cup')" in capsys.readouterr().out
    assert main(["find", files[0], "mug", "sofa"]) == 1
    assert "No category of a.safetensors is near 'sofa'" in capsys.readouterr().out


def test_merge_and_export(files: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "both.safetensors"
    assert main(["merge", *files, "--out", str(out)]) == 0
    assert CategoryVocabulary.open(out).names() == ["mug", "tea"]
    assert main(["export", str(out), "cup", "--out", str(tmp_path / "one.safetensors")]) == 0
    assert CategoryVocabulary.open(tmp_path / "one.safetensors").names() == ["mug"]
    capsys.readouterr()
    assert main(["export", str(out), "sofa", "--out", str(tmp_path / "two.safetensors")]) == 1
    assert "sofa" in capsys.readouterr().err


def test_studios_categories_make_a_file_without_a_clash(tmp_path: Path) -> None:
    categories = studio_categories()
    identifiers = torch.zeros(len(categories), 1, 4)
    vocabulary = write_vocabulary(tmp_path / "a.safetensors", categories, identifiers, base="x", training={})
    assert set(vocabulary.names()) == set(CATEGORIES)
    for category in categories:
        assert category.scene.count(", ") == 3
        for alias in (category.name, category.words, *category.aliases):
            assert vocabulary.find(alias).category.name == category.name, alias
