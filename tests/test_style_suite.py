"""Suite `style` on small synthetic pairs, a tiny base, random style weights and random evaluators; and its pieces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bg_core.errors import ProductBackgroundError
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import StyleConfig, save_style
from bg_core.vocabulary import Category
from bg_core.vocabulary_files import write_vocabulary
from tests.measured import measured_twice
from training.category.paint import Subjects
from training.category.prompts import Texts
from training.data import Record, load_masks, load_pictures, read_records
from training.evaluators.examples import CLASSES
from training.evaluators.frozen import Evaluator
from training.painters import Painter, load_painter
from training.protocol import Protocol
from training.style.mixed import MixedAdapter, save_mixed
from training.style.paint import STYLE_ARMS, References, StyleBrush, paint_in_style
from training.style.unet import adapter_layers
from training.suites import style as suite
from training.suites.style_exam import distractors

SIDE, NAMES = 64, ("mug", "perfume", "tea")
QUICK = Protocol(2, 2.0, 7, 20, 0, {})


def pairs(folder: Path, count: int) -> Path:
    """Pairs of both halves: a disc for the product on a ground whose colour is that of its pair."""
    for part in ("bg60k_imgs_i", "bg60k_masks_i", "factors"):
        (folder / part).mkdir(parents=True)
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    listed, paired = [], []
    for half in ("generic", "bound"):
        for seed in range(count):
            ground, category = rng.uniform(0, 255, 3), NAMES[seed % 3]
            facts = {head: classes[int(rng.integers(len(classes)))] for head, classes in CLASSES.items()}
            for kind in ("", "_reference"):
                name = f"{half}_{seed:07d}{kind}"
                disc = ((x - 32) ** 2 + (y - 34) ** 2 < (9 + seed % 4) ** 2)[..., None]
                noise = rng.uniform(-20, 20, (SIDE, SIDE, 1))
                pixels = np.where(disc, rng.uniform(0, 255, 3), ground + noise).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / "bg60k_imgs_i" / f"{name}.png")
                Image.fromarray(disc[..., 0].astype(np.uint8) * 255).save(folder / "bg60k_masks_i" / f"{name}.png")
                own = NAMES[(seed + (kind != "" and half == "generic")) % 3]
                about = facts | {"category": own, "half": half, "seed": seed, "product_word": own}
                about |= {"unseen_family": False, "caption": f"a photo of a {own} on oak"}
                (folder / "factors" / f"{name}.json").write_text(json.dumps(about))
                listed.append(f"{name}.png, {own}\n")
            paired.append(f"{half}_{seed:07d}.png, {half}_{seed:07d}_reference.png, {category}\n")
    (folder / "bg60k_info.txt").write_text("".join(listed))
    (folder / "bgpair_info.txt").write_text("".join(paired))
    return folder


@pytest.fixture
def painter(tiny_base: Path) -> Painter:
    return load_painter(tiny_base)


def adapter_for(painter: Painter) -> StyleAdapter:
    torch.manual_seed(0)
    adapter = StyleAdapter(StyleConfig(adapter_layers(painter.unet), features=4, frame=64, crop=24, width=32))
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.3)
    return adapter.eval().requires_grad_(False)


def test_the_suite_measures_every_arm(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluators: list[Evaluator]
) -> None:
    painter = load_painter(tiny_base)
    weights, categories = tmp_path / "style.safetensors", tmp_path / "categories.safetensors"
    save_style(weights, adapter_for(painter), base=painter.family, training={})
    mixed = tmp_path / "mixed.safetensors"
    save_mixed(mixed, MixedAdapter(adapter_for(painter).config), base=painter.family, training={})
    vectors = torch.randn(3, 2, 32)
    write_vocabulary(categories, [Category(n) for n in NAMES], vectors, base=painter.family, training={})
    for name, value in {
        "BUNDLED": tiny_base, "WEIGHTS": weights, "CATEGORY_WEIGHTS": categories, "MIXED": mixed, "REFERENCES": 3,
        "PRODUCTS": 2,
        "load_evaluators": lambda: evaluators, "read_protocol": lambda: QUICK,
    }.items():  # fmt: skip
        monkeypatch.setattr(suite, name, value)
    data, result, sheets = pairs(tmp_path / "test", 6), tmp_path / "results.json", tmp_path / "sheets"
    arguments = ["style", "--data", data, "--limit", 6, "--sheets", sheets]
    figures = measured_twice(arguments, result, tmp_path / "kept")
    keys = {key for key in figures if not key.endswith(("_low", "_high"))}
    assert keys >= {
        "retrieval_top1", "retrieval_real", "retrieval_top1_without", "retrieval_top1_palette",
        "retrieval_top1_mixed", "copy_rate_mixed", "leak_rate_mixed",
        "retrieval_top1_training_free", "retrieval_top1_words", "response_style_palette", "response_style_surface",
        "response_style_light", "response_style_layout", "response_layout_layout", "response_layout_palette",
        "response_real_layout", "response_without_palette", "layout_iou_gain", "layout_iou_gain_style", "copy_rate",
        "copy_rate_without", "ghost_rate", "ghost_rate_without", "leak_rate", "leak_rate_without",
        "extension_excess", "extension_excess_without", "product_error", "accuracy_with_reference",
        "accuracy_without_reference", "accuracy_across_25", "accuracy_across_100",
    }  # fmt: skip
    assert figures["product_error"] == 0
    for key in keys:
        assert figures[f"{key}_low"] <= figures[key] + 1e-6, key
    assert {path.name for path in sheets.iterdir()} >= {"references.png", "pictures.png", "worst_retrieval.png"}


def test_weights_of_another_base_and_sets_without_pairs_are_refused(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluators: list[Evaluator]
) -> None:
    painter = load_painter(tiny_base)
    save_style(tmp_path / "other.safetensors", adapter_for(painter), base="sd15", training={})
    with pytest.raises(ProductBackgroundError, match=r"fits the base 'sd15'"):
        suite.bundled_style(painter, tmp_path / "other.safetensors")
    data = pairs(tmp_path / "test", 1)
    monkeypatch.setattr(suite, "load_evaluators", lambda: evaluators)
    with pytest.raises(ProductBackgroundError, match=r"pairs of the generic half.*found 1\. Render"):
        suite.measure(data)


@pytest.mark.parametrize("arm", STYLE_ARMS)
def test_each_arm_paints_its_own_and_the_product_is_exact(painter: Painter, tmp_path: Path, arm: str) -> None:
    records = read_records(pairs(tmp_path / "test", 3))[:4]
    pictures, masks = load_pictures(records), load_masks(records)
    subjects, references = Subjects.of(painter, pictures, masks), References(pictures.roll(1, 0), masks.roll(1, 0))
    texts, brush = Texts(painter), StyleBrush(painter, adapter_for(painter), lambda p, hole: painter.coder.encode(p))
    captions = texts.captions(["a mug"] * 4)

    def painted(name: str, given: References, strength: float = 1.0) -> torch.Tensor:
        def context(rows: object) -> object:
            return type(captions)(captions.values[list(rows)], [captions.positions[i] for i in rows])

        empty = texts.captions([""]).values
        return paint_in_style(brush, STYLE_ARMS[name], subjects, given, context, empty, QUICK, 2, strength)

    before = dict(painter.unet.attn_processors)
    ours = painted(arm, references)
    solid = (masks == 255).expand_as(pictures)
    assert torch.equal(ours[solid], pictures[solid])
    other = painted(arm, References(references.pictures.roll(1, 0), references.masks.roll(1, 0)))
    assert torch.equal(ours, other) == (arm in ("without", "words")), "the reference matters, where there is one"
    if arm == "ours":
        assert torch.equal(painted("ours", references, strength=0.0), painted("without", references))
    assert set(painter.unet.attn_processors) == set(before)


def test_half_of_the_gallery_is_hard() -> None:
    colours = ("navy", "teal", "cream")
    records = [
        Record(f"{i}", NAMES[i % 3], Path(), Path(), factors={"palette": colours[i // 20 % 3]}) for i in range(60)
    ]
    rows = distractors(records)
    assert all(len(set(row)) == 49 and i not in row for i, row in enumerate(rows))
    for i, row in enumerate(rows):
        alike = [
            records[j].category == records[i].category or records[j].factors["palette"] == records[i].factors["palette"]
            for j in row
        ]
        assert sum(alike) >= 24
    assert len(distractors(records[:5])[0]) == 4
