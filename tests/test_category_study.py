"""The category study and suite: what is painted, scored and compared; a new category joins without changing others."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import Category, CategoryVocabulary
from bg_core.vocabulary_files import write_vocabulary
from tests.measured import measured_twice
from training import add_category, category_study
from training.attention import guide_layers
from training.category import exam as category_exam
from training.category import lots as category_lots
from training.category.leak import leak_energies, leak_ratio
from training.category.lots import Study, lots_and_exams
from training.category.paint import Brush, Subjects, Wish, check_paintable, paint
from training.category.plan import ARMS, Arm
from training.category.scores import SAID, UNSAID, covers, partners, read_scores, typical, write_scores
from training.category.stage import Stage, bound_scenes
from training.category.table import compare, read_marks, report
from training.data import Record, read_records
from training.evaluators.examples import CLASSES, KEEPSAKES
from training.evaluators.frozen import Evaluator
from training.evaluators.views import DILATION
from training.latents import kept_latents
from training.lora import add_lora
from training.painters import Painter, load_painter, stable_diffusion
from training.protocol import Protocol
from training.render.categories import CATEGORIES
from training.render.recipe import draw_recipe
from training.suites import category as suite

NAMES = ("mug", "perfume", "tea")
SIDE = 64
QUICK = Protocol(2, 3.0, 7, 30, 0, {"first": {}, "second": {}})


@pytest.fixture
def painter(tiny_base: Path) -> Painter:
    return load_painter(tiny_base)


def scenes(folder: Path, count: int, half: str, first: int = 0) -> Path:
    """Squares on two grounds, with factors as the studio writes them."""
    for name in ("bg60k_imgs_i", "bg60k_masks_i", "factors"):
        (folder / name).mkdir(parents=True)
    lines = []
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        name, category = f"{half}_{seed:07d}", NAMES[seed % 3]
        picture = np.full((SIDE, SIDE, 3), rng.integers(0, 255, 3), np.uint8)
        picture[40:] = rng.integers(0, 255, 3)
        mask = np.zeros((SIDE, SIDE), np.uint8)
        mask[14:54, 14 : 46 + seed % 4] = 255
        Image.fromarray(picture).save(folder / "bg60k_imgs_i" / f"{name}.png")
        Image.fromarray(mask).save(folder / "bg60k_masks_i" / f"{name}.png")
        facts = {head: classes[int(rng.integers(len(classes)))] for head, classes in CLASSES.items()}
        facts |= {"surface": ("oak", "slate")[seed % 2], "wall": "tiles", "palette": "navy", "light": "top"}
        facts["category"] = category
        word = {"mug": "coffee mug", "perfume": "perfume", "tea": "tea tin"}[category]
        facts |= {"seed": seed, "half": half, "product_word": word, "unseen_family": seed % 2 == 0}
        facts |= {"caption": f"a photo of a {word} on oak, with a {word}"}
        (folder / "factors" / f"{name}.json").write_text(json.dumps(facts))
        lines.append(f"{name}.png, {category}\n")
    (folder / "bg60k_info.txt").write_text("".join(lines))
    return folder


def identifiers(path: Path, config: dict[str, str] | None = None) -> CategoryVocabulary:
    vectors = torch.randn(len(NAMES), 2, 32, generator=torch.Generator().manual_seed(0))
    categories = [Category(name) for name in NAMES]
    return write_vocabulary(path, categories, vectors, base="product-background-demo", config=config, training={})


def test_products_are_swapped_evenly() -> None:
    records = [Record(f"{name}{i}", name, Path(), Path()) for i in range(4) for name in NAMES]
    asked = [records[i].category for i in partners(records)]
    assert all(a != record.category for a, record in zip(asked, records, strict=True))
    assert all(asked.count(name) == 4 for name in NAMES)
    with pytest.raises(ProductBackgroundError, match="at least two"):
        partners(records[::3])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_products_are_hidden_under_a_third_shape(count: int) -> None:
    names = ("ball", *NAMES)[:count]
    records = [Record(f"{name}{i}", name, Path(), Path()) for i in range(4) for name in names]
    partner = partners(records)
    own, swapped = ([record.category for record in records], [records[i].category for i in partner])
    hidden = {which: covers(records, partner, asked) for which, asked in (("own", own), ("swapped", swapped))}
    for i, record in enumerate(records):
        for which, asked in (("own", own), ("swapped", swapped)):
            row = hidden[which][i]
            assert row != i and records[row].category != asked[i]
            assert count == 2 or records[row].category not in (record.category, swapped[i])
    assert (hidden["own"] == hidden["swapped"]) == (count > 2)
    for rows in hidden.values():  # evenly: no shape stands for a category
        assert {name: [records[i].category for i in rows].count(name) for name in names} == dict.fromkeys(names, 4)
    alone = [Record(name, name, Path(), Path()) for name in names[:2]]
    assert covers(alone, [1, 0], ["mug" if r.category == "ball" else "ball" for r in alone]) == [0, 1]


def test_a_stage_scores_under_that_shape(painter: Painter, tmp_path: Path) -> None:
    stage = Stage.of(painter, read_records(scenes(tmp_path / "bound", 6, "bound")))
    seen = []
    answers = {head: torch.zeros(6, len(classes)) for head, classes in CLASSES.items()} | {
        "features": torch.zeros(6, 2)
    }
    scorer = SimpleNamespace(
        scene=lambda pictures, masks, others: seen.append(others) or answers,
        keepsakes=lambda pictures, masks, others: seen.append(others) or torch.zeros(6, len(KEEPSAKES)),
        twin=lambda pictures, masks: torch.zeros(6),
        extension=lambda pictures, masks: torch.zeros(6),
        twin_threshold=0.5,
    )
    for which in ("own", "swapped"):
        stage.score(scorer, stage.subjects.pictures, which)
    third = [next(n for n in NAMES if n not in (r.category, stage.records[j].category))
             for r, j in zip(stage.records, stage.partner, strict=True)]  # fmt: skip
    masks = {record.category: [] for record in stage.records}
    for record, mask in zip(stage.records, stage.subjects.masks, strict=True):
        masks[record.category].append(mask)
    assert len(seen) == 4
    for others in seen:
        assert torch.equal(others, seen[0])
        for mask, name in zip(others, third, strict=True):
            assert any(torch.equal(mask, one) for one in masks[name])


def test_a_careless_mask_leaves_nothing_of_the_scene_to_scorers() -> None:
    config = tomllib.loads(category_lots.CONFIG.read_text())
    side = config["options"]["side"]
    assert round(config["study"]["sloppy"] * side) < round(DILATION * side)


def test_a_base_that_the_study_cannot_paint_with_is_named(
    painter: Painter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_paintable(painter, tmp_path)
    plain = stable_diffusion()
    arguments = ["--base", "model", "--data", "x", "--test", "x", "--out", str(tmp_path / "out")]
    for diffusion, found in (
        (plain, "model has an inpainting UNet, epsilon-prediction and another noise schedule"),
        (dataclasses.replace(plain, prediction="v"), "v-prediction and another noise schedule"),
        (stable_diffusion("v", zero_terminal=True), None),
    ):
        other = dataclasses.replace(painter, diffusion=diffusion)
        monkeypatch.setattr(category_study, "load_painter", lambda _, other=other: other)
        if found is None:
            check_paintable(other, tmp_path)
            continue
        with pytest.raises(
            ProductBackgroundError, match=rf"{found}\. Accepted is an inpainting UNet with v-prediction"
        ):
            category_study.main(arguments)
    painter.unet = SimpleNamespace(config=SimpleNamespace(in_channels=4, out_channels=4))
    with pytest.raises(ProductBackgroundError, match="a UNet without mask and product"):
        check_paintable(painter, tmp_path)


def test_factors_that_a_category_shows_are_counted() -> None:
    def said(**choices: str) -> dict[str, torch.Tensor]:
        return {
            head: torch.nn.functional.one_hot(torch.tensor([CLASSES[head].index(value)]), len(CLASSES[head]))
            for head, value in choices.items()
        }

    factors = {"surface": "surfaces", "light": "lights"}
    assert float(typical(said(surface="oak", light="window"), ["mug"], factors)) == 1.0
    assert float(typical(said(surface="moss", light="window"), ["mug"], factors)) == 0.5
    # a seamless wall runs on into the ground
    seamless = next(name for name, category in CATEGORIES.items() if "seamless" in category.walls)
    for name, share in ((seamless, 1.0), ("mug", 0.0)):
        assert float(typical(said(surface="paper"), [name], {"surface": "surfaces"})) == share
    # oak and brick have colours of their own; plaster has the palette's: cream is the mug's, navy isn't
    factors = {"surface": "surfaces", "palette": "palette"}
    for wall, palette, share in (("brick", "navy", 1.0), ("plaster", "navy", 0.5), ("plaster", "cream", 1.0)):
        assert float(typical(said(surface="oak", wall=wall, palette=palette), ["mug"], factors)) == share


def test_every_bound_scene_shows_what_its_category_shows() -> None:
    """By what the renderer draws: the ceiling of `said` and `unsaid` is 1."""
    for seed in range(192):
        recipe = draw_recipe(seed, "bound")
        facts, category = recipe.factors(), recipe.product.category
        heads = ("surface", "wall", "palette", "light", "rig", "arrangement")
        answers = {
            head: torch.nn.functional.one_hot(torch.tensor([CLASSES[head].index(facts[head])]), len(CLASSES[head]))
            for head in heads
        }
        for factors in (SAID, UNSAID):
            assert float(typical(answers, [category], factors)) == 1.0, (seed, facts)


def test_only_scenes_of_a_category_count(tmp_path: Path) -> None:
    records = read_records(scenes(tmp_path / "generic", 4, "generic"))
    with pytest.raises(ProductBackgroundError, match=r"of the bound half.*found 0 scenes among 4"):
        bound_scenes(records)


def test_a_stage_asks_for_each_category_in_the_products_own_words(painter: Painter, tmp_path: Path) -> None:
    records = read_records(scenes(tmp_path / "bound", 6, "bound"))
    stage = Stage.of(painter, records, sloppy=0.1)
    assert stage.categories("own") == [record.category for record in records]
    wish = stage.wishes("swapped")[0]
    assert wish.words == "a coffee mug" and wish.category != "mug"
    word = str(records[stage.partner[0]].factors["product_word"])
    assert wish.caption == f"a photo of a coffee mug on oak, with a {word}"
    assert (stage.subjects.given > stage.subjects.masks).any() and not (
        stage.subjects.given < stage.subjects.masks
    ).any()


def test_painting_keeps_the_product_and_the_noise(painter: Painter, tmp_path: Path) -> None:
    stage = Stage.of(painter, read_records(scenes(tmp_path / "bound", 6, "bound")))
    brush = Brush.of(painter, {name: torch.randn(2, 32) for name in NAMES})
    shown = {
        arm: stage.paint(brush, ARMS[arm], "swapped", QUICK)
        for arm in ("masked", "masked_training", "output", "inversion", "caption", "described")
    }
    product = stage.subjects.masks.expand(-1, 3, -1, -1) == 255
    for pictures in shown.values():
        assert torch.equal(pictures[product], stage.subjects.pictures[product])
    assert torch.equal(shown["masked"], stage.paint(brush, ARMS["masked"], "swapped", QUICK))
    for other in ("masked_training", "output", "inversion", "caption"):
        assert not torch.equal(shown["masked"], shown[other]), other
    # without an identifier, it doesn't matter whose it would have been
    silent = [stage.paint(brush, ARMS["masked"], which, QUICK, strength=0.0) for which in ("own", "swapped")]
    assert int((silent[0].int() - silent[1].int()).abs().max()) <= 1


def test_kept_keys_and_values_change_nothing(painter: Painter) -> None:
    regions = guide_layers(painter.unet)
    x, t, context = torch.randn(2, 9, 4, 4), torch.tensor([5]), torch.randn(2, 77, 32)
    with torch.no_grad():
        stock = painter.unet(x, t, context).sample
        with regions.keeping():
            for _ in range(2):
                assert torch.equal(painter.unet(x, t, context).sample, stock)
            assert not torch.equal(painter.unet(x, t, context + 1).sample, stock)


def test_a_mask_that_is_full_or_empty_masks_the_output_wholly_or_not(painter: Painter) -> None:
    regions = guide_layers(painter.unet)
    x, t, context = torch.randn(1, 9, 4, 4), torch.tensor([5]), torch.randn(1, 77, 32)
    places = [[3, 4]]
    other = context.clone()
    other[:, places[0]] += 1

    def change(mask: torch.Tensor) -> float:
        with torch.no_grad(), regions.guiding(mask, places, (4, 4), method="output"):
            return float((painter.unet(x, t, context).sample - painter.unet(x, t, other).sample).abs().max())

    assert change(torch.zeros(1, 4, 4)) == 0.0 and change(torch.ones(1, 4, 4)) > 1e-4


def test_nothing_leaks_where_all_is_product_and_open_tokens_leak_more(painter: Painter, tmp_path: Path) -> None:
    torch.manual_seed(0)
    stage = Stage.of(painter, read_records(scenes(tmp_path / "bound", 6, "bound")))
    brush = Brush.of(painter, {name: torch.randn(2, 32) for name in NAMES})
    clean = painter.coder.encode(stage.subjects.pictures.float() / 255).detach()
    own, swapped = stage.wishes("own"), stage.wishes("swapped")

    def energies(subjects: Subjects, masked: bool, opened: bool) -> tuple[torch.Tensor, torch.Tensor]:
        return leak_energies(brush, subjects, clean, own, swapped, masked=masked, opened=opened, bins=2, batch=4)

    product = dataclasses.replace(stage.subjects, background=torch.zeros_like(stage.subjects.background))
    shut, free = energies(product, masked=True, opened=False)[0], energies(product, masked=False, opened=False)[0]
    assert shut.max() < 1e-6 * free.min()  # rounding, squared
    closed, opened = energies(stage.subjects, True, False), energies(stage.subjects, True, True)
    assert closed[0].shape == (6, 2)
    assert closed[0].mean() < opened[0].mean()
    assert leak_ratio(*closed)(torch.ones(6, dtype=torch.float64)) > 0


def test_comparisons_are_paired_and_signed(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    clusters = [NAMES[i % 3] for i in range(30)]
    for seed in (1, 2):
        hard = torch.rand(30, generator=generator, dtype=torch.float64)
        for arm, shift in (("masked", 0.1), ("unmasked", 0.0), ("plain_text", -0.1)):
            for evaluator in ("first", "second"):
                values = {
                    "right": hard + shift,
                    "twin": hard - shift,
                    "extension": hard,
                    "features": torch.zeros(30, 2),
                }
                write_scores(tmp_path / "scores" / f"{arm}-swapped-{seed}-{evaluator}.safetensors", values)
    exams = [(arm, "swapped", seed) for arm in ("masked", "unmasked", "plain_text") for seed in (1, 2)]
    marks = read_marks(tmp_path / "scores", exams, ["first", "second"])
    entry = {"better": "masked", "than": "unmasked", "on": ["swapped"], "metrics": ["right", "twin", "extension"]}
    right, twin, extension = compare(marks, entry, {"swapped": clusters}, QUICK)
    for one in (right, twin):
        assert one.figure.value == pytest.approx(0.1) and one.verdict == "better" and one.agreeing == 2
    assert extension.verdict == "undecided" and extension.agreeing == 0


@pytest.fixture
def study(
    tiny_base: Path, tmp_path: Path, evaluators: list[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    config = {
        "batch": 4, "steps": 2, "learning_rate": 0.1, "warmup": 1, "ema": 0.9, "minutes_between_saves": 1000,
        "options": {"side": SIDE, "vectors": 2, "views": 1, "rank": 2},
        "study": {"images": [2], "few": ["masked", "unmasked"], "own": ["lora"], "sloppy": 0.06},
        "sweep": {"sizes": [1, 2], "arms": ["masked", "masked_lora"], "steps": 2, "views": 1},
    }  # fmt: skip
    made = Study(
        tiny_base, scenes(tmp_path / "bound", 12, "bound"), scenes(tmp_path / "test", 9, "bound", 100),
        scenes(tmp_path / "generic", 10, "generic"), scenes(tmp_path / "test_generic", 4, "generic", 100),
        tmp_path / "study", config, NAMES, (1, 2),
    )  # fmt: skip
    loaded = load_painter(tiny_base)
    for module in (category_study, category_exam):
        monkeypatch.setattr(module, "load_painter", lambda _: copy.deepcopy(loaded))
    monkeypatch.setattr(category_exam, "EACH", 2)
    monkeypatch.setattr(category_study, "load_evaluators", lambda: evaluators)
    monkeypatch.setattr(category_study, "read_protocol", lambda: QUICK)
    category_lots.records_of.cache_clear()
    return SimpleNamespace(study=made)


def test_a_study_may_get_its_sweep_later_and_says_first_what_the_data_lack(study: SimpleNamespace) -> None:
    made: Study = study.study
    category_study.check_same(dataclasses.replace(made, generic=None, test_generic=None))
    category_study.check_same(made)
    with pytest.raises(ProductBackgroundError, match=r"a study with another --generic: "):
        category_study.check_same(dataclasses.replace(made, generic=made.test_generic))
    many = dataclasses.replace(made, config=made.config | {"sweep": made.config["sweep"] | {"sizes": [1, 90]}})
    with pytest.raises(ProductBackgroundError, match=r"Expected 90: render.*under \[sweep\] of its --config"):
        category_study.run(many, workers=1)
    assert not (made.out / "runs").exists(), "nothing was trained before"


def test_a_study_trains_examines_reports_and_repeats_nothing(
    study: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Study = study.study
    lots, exams = lots_and_exams(made)
    assert {exam.arm for exam in exams if exam.on == "swapped"} == set(ARMS)
    assert len(lots) == len({lot.name for lot in lots}) and all(e.lot in lots for e in exams if e.lot)
    mirrored = set()
    monkeypatch.setattr(
        category_study,
        "kept_latents",
        lambda *given, mirror=True: mirrored.add(mirror) or kept_latents(*given, mirror=mirror),
    )
    category_study.run(made, workers=1)
    assert mirrored == {False}
    monkeypatch.setattr(category_study, "teach", None)  # all is done: nothing is trained or painted again
    monkeypatch.setattr(category_exam, "paint", None)
    category_study.run(made, workers=1)
    with pytest.raises(ProductBackgroundError, match="a study with another config"):
        category_study.run(dataclasses.replace(made, config=made.config | {"steps": 3}), workers=1)
    for change, key in (
        ({"data": made.test}, "--data"),
        ({"test": made.data}, "--test"),
        ({"generic": made.test_generic}, "--generic"),
        ({"config": made.config | {"sweep": made.config["sweep"] | {"steps": 3}}}, "sweep"),
    ):
        with pytest.raises(ProductBackgroundError, match=rf"a study with another {key}: "):
            category_study.check_same(dataclasses.replace(made, **change))
    category_study.check_same(dataclasses.replace(made, generic=None, test_generic=None))
    # the same scenes, elsewhere
    category_study.check_same(dataclasses.replace(made, data=Path(shutil.copytree(made.data, made.out / "copy"))))
    asked = {exam.on: category_exam.asked_for(made, exam.on) for exam in exams}
    entry = {
        "better": "masked", "than": "unmasked", "on": ["swapped", "images_2", "sloppy"], "metrics": ["right", "twin"],
    }  # fmt: skip
    text = report(made.out, [(e.arm, e.on, e.seed) for e in exams], asked, [entry], QUICK, 4)
    assert "| masked over unmasked | images_2 | twin |" in text and "| real | own |" in text
    figures = json.loads((made.out / "table.json").read_text())
    for key in ("right_swapped_masked", "unsaid_own_lora", "right_cells_2_masked_lora", "sibling_cells_1_masked"):
        assert figures[f"{key}_low"] <= figures[key] + 1e-9 <= figures[f"{key}_high"] + 2e-9, key
    assert "right_swapped_masked_between_seeds" in figures
    assert category_study.usual_number(made) == 4
    for name in ("cells.svg", "images.svg"):
        assert "<svg" in (made.out / name).read_text()
    run = made.out / "runs"
    assert CategoryVocabulary.open(run / "masked-cells_2-1" / "identifiers.safetensors").count == 2
    assert json.loads((run / "masked-images_2-1" / "run.json").read_text())["options"]["scenes"]["images"] == 2
    scores = read_scores(made.out / "scores" / "masked-swapped-1-first.safetensors")
    assert len(scores["right"]) == 6  # two of each category


def test_the_suite_measures_what_is_bundled(
    tiny_base: Path, tmp_path: Path, evaluators: list[Evaluator], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "category_weights" / "own.safetensors"
    identifiers(weights)
    monkeypatch.setattr(suite, "BUNDLED", tiny_base)
    monkeypatch.setattr(suite, "WEIGHTS", weights)
    monkeypatch.setattr(suite, "load_evaluators", lambda: evaluators)
    monkeypatch.setattr(suite, "read_protocol", lambda: QUICK)
    data = scenes(tmp_path / "test", 6, "bound")
    result, sheets = tmp_path / "results.json", tmp_path / "sheets"
    figures = measured_twice(["category", "--data", data, "--sheets", sheets], result, tmp_path / "kept")
    keys = {key for key in figures if not key.endswith(("_low", "_high"))}
    assert keys >= {
        "accuracy", "accuracy_swapped", "accuracy_real", "accuracy_plain_text", "accuracy_described",
        "accuracy_unmasked", "accuracy_shape_only", "accuracy_swapped_unseen_shapes", "twin_rate", "twin_rate_base",
        "twin_rate_over_base", "extension_excess", "extension_excess_base", "diversity", "diversity_base",
        "leak_ratio", "leak_ratio_unmasked", "leak_ratio_open", "leak_ratio_t1", "leak_ratio_t5", "said_swapped",
        "unsaid_real", "accuracy_swapped_shape_only", "unsaid_swapped_over_described", "accuracy_over_real",
        "accuracy_swapped_over_real", "leak_ratio_over_unmasked",
    }  # fmt: skip
    for key in keys:
        assert figures[f"{key}_low"] <= figures[key] + 1e-6, key
    assert {path.name for path in sheets.iterdir()} >= {"grid.png", "pictures.png", "worst_category.png"}


def test_each_place_of_the_grid_is_a_product_with_an_identifier(painter: Painter, tmp_path: Path) -> None:
    stage = Stage.of(painter, read_records(scenes(tmp_path / "test", 6, "bound")))
    brush = Brush.of(painter, {name: torch.randn(2, 32) for name in NAMES})
    rows = suite.grid_rows([record.category for record in stage.records], 2)
    names = [stage.records[row].category for row in rows]
    assert len(set(names)) == 2
    sheet = suite.grid(brush, stage, rows, QUICK)
    for place, (row, name) in enumerate((row, name) for row in rows for name in names):
        words = stage.wishes("own")[row].words
        alone = paint(brush, ARMS["masked"], stage.subjects.chosen([row]), [Wish(words, name)], QUICK)
        assert torch.equal(sheet[place], alone[0])
    assert not torch.equal(sheet[0], sheet[1]) and not torch.equal(sheet[0], sheet[2])


def test_arms_in_words_are_the_bases_own() -> None:
    """Identifiers come with a LoRA perhaps; what they are compared with mustn't."""
    by: dict[str, set[str]] = {}

    def paint(brush: str, arm: Arm, *_: Any) -> torch.Tensor:
        by.setdefault(arm.name, set()).add(brush)
        return torch.zeros(1)

    suite.painted_pictures("identifiers", "words", SimpleNamespace(paint=paint), QUICK)  # type: ignore[arg-type]
    assert by == {
        "masked": {"identifiers"}, "masked_training": {"identifiers"},
        "plain_text": {"words"}, "described": {"words"}, "caption": {"words"},
    }  # fmt: skip


def test_each_figure_is_the_worse_evaluators(painter: Painter, tmp_path: Path) -> None:
    """The one evaluator sees more categories, the other more of what captions say; controls count the other way."""
    stage = Stage.of(painter, read_records(scenes(tmp_path / "test", 6, "bound")))
    names = [*suite.PAINTED, suite.SWAPPED_CONTROL, "accuracy_real", "constant"]

    def scores(right: float, said: float) -> dict[str, dict[str, torch.Tensor]]:
        features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
        shares = {"right": right, "said": said, "unsaid": 0.5, "keepsakes": 0.5, "twin": 0.0, "extension": 0.0}
        one = {key: torch.full((6,), value, dtype=torch.float64) for key, value in shares.items()}
        return {name: one | {"features": features * (i + 1)} for i, name in enumerate(names)}

    found = suite.worse([suite.groups_of(stage, scores(*both), QUICK) for both in ((0.75, 0.25), (0.5, 1.0))])
    for key in ("accuracy", "accuracy_swapped", "accuracy_real", "accuracy_swapped_unseen_shapes"):
        assert found[key].value == 0.5, key
    assert found["said"].value == found["said_swapped"].value == 0.25
    for control in ("accuracy_shape_only", "accuracy_swapped_shape_only"):
        assert found[control].value == 0.75
    assert found["said_shape_only"].value == 1.0


def test_a_share_of_the_renders_is_of_the_scenes_that_were_asked_for(painter: Painter, tmp_path: Path) -> None:
    """Renders of three categories are recognised in 1, 1/2 and 0 of their scenes; what is painted, in all."""
    stage = Stage.of(painter, read_records(scenes(tmp_path / "test", 6, "bound")))
    one = {key: torch.ones(6, dtype=torch.float64) for key in ("right", "said", "unsaid", "keepsakes", "twin")}
    one |= {"extension": torch.zeros(6, dtype=torch.float64)}
    features = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    names = [*suite.PAINTED, suite.SWAPPED_CONTROL, "accuracy_real", "constant"]
    scores = {name: one | {"features": features * (i + 1)} for i, name in enumerate(names)}
    renders = torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    scores["accuracy_real"] |= {"right": renders}
    scores["accuracy_swapped"] |= {"right": renders[stage.partner]}
    found = suite.worse([suite.groups_of(stage, scores, QUICK)])
    assert found["accuracy_over_real"].value == 2.0
    assert found["accuracy_swapped_over_real"].value == 1.0, "exactly where the asked-for scene is recognised"


@pytest.fixture
def gnomes(tiny_base: Path, tmp_path: Path) -> SimpleNamespace:
    """Eight pictures of no two sizes with masks, and the arguments that make a category of them."""
    folder = tmp_path / "gnomes"
    (folder / "masks").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 255, (40 + i, 52, 3)).astype(np.uint8)
        mask = np.zeros(pixels.shape[:2], np.uint8)
        mask[12:30, 20:34] = 255
        Image.fromarray(pixels).save(folder / f"{i}.jpg")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    config = tmp_path / "add.toml"
    config.write_text(
        "seed = 1\nsteps = 2\nbatch = 4\nlearning_rate = 0.1\nwarmup = 1\nema = 0.5\nminutes_between_saves = 1000\n"
        f'[options]\narm = "masked"\nside = {SIDE}\nviews = 1\n'
    )
    weights = tmp_path / "category_weights" / "weights.safetensors"
    arguments = [
        "--weights", str(weights), "--data", str(folder), "--name", "gnome", "--phrase", "a garden gnome",
        "--alias", "dwarf", "--scene", "a lawn", "--base", str(tiny_base), "--config", str(config),
    ]  # fmt: skip
    return SimpleNamespace(folder=folder, weights=weights, arguments=arguments)


def test_a_new_category_joins_and_changes_no_other(gnomes: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identifiers(gnomes.weights)
    kept = {name: before.identifier(before.find(name).row) for name in NAMES}
    last = gnomes.folder / "7.jpg"
    last.rename(gnomes.folder / "aside")
    with pytest.raises(ProductBackgroundError, match=r"has 7 pictures of 'gnome'\. Expected 8"):
        add_category.main(gnomes.arguments)
    (gnomes.folder / "aside").rename(last)
    asked = []
    monkeypatch.setattr(
        add_category, "kept_latents", lambda *given, **more: asked.append(more) or kept_latents(*given, **more)
    )
    add_category.main(gnomes.arguments)
    assert asked == [{"mirror": False}]
    after = CategoryVocabulary.open(gnomes.weights)
    assert after.names() == ["gnome", *sorted(NAMES)]
    for name, vectors in kept.items():
        assert torch.equal(after.identifier(after.find(name).row), vectors)
    found = after.find("dwarf")
    assert found.category.scene == "a lawn" and found.category.words == "a garden gnome"
    with pytest.raises(ProductBackgroundError, match="already has gnome"):
        add_category.main(gnomes.arguments)
    add_category.main([*gnomes.arguments, "--replace"])
    with pytest.raises(ProductBackgroundError, match="missing"):
        (gnomes.folder / "masks" / "3.png").unlink()
        add_category.main([*gnomes.arguments, "--replace"])
    assert CategoryVocabulary.open(gnomes.weights).count == 4


def test_a_new_category_is_learned_with_the_lora_of_the_others(
    painter: Painter, gnomes: SimpleNamespace, tmp_path: Path
) -> None:
    """The LoRA lies beside the category file, or in `loras`; it stays as it is, and the identifier learns with it."""
    identifiers(gnomes.weights)
    add_category.main([*gnomes.arguments, "--out", str(tmp_path / "without.safetensors")])
    identifiers(gnomes.weights, config={"lora": "own.safetensors"})
    arguments = [*gnomes.arguments, "--out", str(tmp_path / "with.safetensors")]
    with pytest.raises(
        ProductBackgroundError, match=r"trained with the LoRA own\.safetensors, which is neither .*loras"
    ):
        add_category.main(arguments)
    lora = add_lora(painter.unet, 2, 2.0)
    for up in lora.up:
        torch.nn.init.normal_(up, generator=torch.Generator().manual_seed(1))
    beside = tmp_path / "loras" / "own.safetensors"
    saved = lora.save(beside, painter.family, {}).read_bytes()
    add_category.main(arguments)
    found = {}
    for name in ("with", "without"):
        vocabulary = CategoryVocabulary.open(tmp_path / f"{name}.safetensors")
        assert vocabulary.header.config.get("lora") == ("own.safetensors" if name == "with" else None)
        found[name] = vocabulary.identifier(vocabulary.find("gnome").row)
    assert float((found["with"] - found["without"]).abs().max()) > 1e-4
    assert beside.read_bytes() == saved
    beside.rename(gnomes.weights.parent / "own.safetensors")
    again = tmp_path / "again.safetensors"
    add_category.main([*gnomes.arguments, "--out", str(again)])
    vocabulary = CategoryVocabulary.open(again)
    assert torch.equal(vocabulary.identifier(vocabulary.find("gnome").row), found["with"])
