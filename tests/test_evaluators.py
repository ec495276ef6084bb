"""Evaluators: what they are shown, that they learn and resume, that frozen ones can't be changed; the suite on top."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bg_core.errors import ProductBackgroundError
from training import choose_sampling, evaluate, freeze_evaluators, train_evaluators
from training.evaluators.examples import CLASSES, KEEPSAKES, UNKNOWN, draw, mirrored_labels, read_examples
from training.evaluators.frozen import load_evaluators
from training.evaluators.networks import build
from training.evaluators.tasks import TASKS, damaged, foreign, keepsakes_figures, scene_figures
from training.evaluators.views import GREY, boxes, foot_view, foot_views, scene_view, whole_view
from training.export import load_autoencoder
from training.export_run import BUNDLED
from training.muon import Muon
from training.protocol import PROTOCOL, read_protocol
from training.render.categories import CATEGORIES
from training.suites import base as base_suite
from training.suites import ladder

SIDE = 64


def render(folder: Path, count: int, half: str = "generic", negative: str | None = None, first: int = 0) -> Path:
    """A data set like the studio's: a disc on a ground whose colour is its surface, in front of a wall likewise."""
    for name in ("bg60k_imgs_i", "bg60k_masks_i", "factors"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = []
    y, x = np.mgrid[:SIDE, :SIDE]
    for seed in range(first, first + count):
        rng = np.random.default_rng(seed)
        name = f"{half}_{seed:07d}" + (f"_{negative}" if negative else "")
        factors = {head: classes[int(rng.integers(len(classes)))] for head, classes in CLASSES.items()}
        factors |= {"category": CLASSES["category"][seed % 4], "surface": CLASSES["surface"][seed % 3]}
        up = 6 if negative == "lifted" else 0
        disc = (x - 32) ** 2 + (y - 34 + up) ** 2 < 100
        ground = np.where(y[..., None] > 40, np.array([80 * (seed % 3), 60, 90]), rng.integers(0, 255, 3))
        shadow = ((x - 32) ** 2 / 4 + (y - 45) ** 2 < 12)[..., None]
        picture = np.where(disc[..., None], rng.integers(0, 255, 3), ground * (1 - 0.6 * shadow))
        kept = [kind for kind in CATEGORIES[factors["category"]].bound_props if half == "bound" and seed % 8 < 4]
        drawn_boxes = []
        for place, kind in enumerate(kept):  # a square whose colour is its kind
            tint = [255 * (KEEPSAKES.index(kind) >> bit & 1) for bit in range(3)]
            left = 4 + 46 * place
            picture[3:15, left : left + 12] = tint
            drawn_boxes.append({"kind": kind, "box": [left / SIDE, 3 / SIDE, (left + 12) / SIDE, 15 / SIDE]})
        if negative == "doubled":
            picture[((x - 54) ** 2 + (y - 38) ** 2 < 60)] = picture[34 - up, 32]
        picture = (picture + rng.integers(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
        mask = disc.astype(np.uint8) * 255
        Image.fromarray(picture).save(folder / "bg60k_imgs_i" / f"{name}.png")
        if negative == "grown":
            Image.fromarray(mask).save(folder / "bg60k_masks_i" / f"{name}_whole.png")
            mask = mask * (x < 35)
        Image.fromarray(mask.astype(np.uint8)).save(folder / "bg60k_masks_i" / f"{name}.png")
        factors |= {"seed": seed, "half": half, "negative": negative, "unseen_combination": seed % 2 == 0}
        factors["prop_boxes"] = drawn_boxes
        factors["caption"] = "a photo of a mug on oak, soft light from the left"
        (folder / "factors" / f"{name}.json").write_text(json.dumps(factors))
        lines.append(f"{name}.png, {factors['category']}\n")
    with (folder / "bg60k_info.txt").open("a") as file:
        file.writelines(lines)
    return folder


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    root = tmp_path / "evaluator"
    render(root / "generic", 24)
    render(root / "bound", 24, "bound")
    for negative in ("lifted", "doubled", "grown"):
        render(root / negative, 24, negative=negative)
    return root


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Both evaluators, tiny."""
    networks = "\n".join(
        f'[{name}]\nseed = {seed}\narchitecture = "{architecture}"\nside = 32\n'
        + "".join(f"[{name}.{task}]\nsteps = 2\nwidths = [8, 16, 16]\n" for task in TASKS)
        for name, seed, architecture in (("first", 1, "residual"), ("second", 2, "separable"))
    )
    path = tmp_path / "evaluators.toml"
    path.write_text(
        "batch = 8\nparts = 1\nlearning_rate = 1e-3\nwarmup = 1\nema = 0.5\nminutes_between_saves = 100\n" + networks
    )
    return path


def test_the_product_can_not_be_seen_and_the_hole_has_not_its_shape():
    pictures = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    masks = torch.zeros(2, 1, SIDE, SIDE)
    masks[0, :, 20:50, 25:35] = 1
    masks[1, :, 30:45, 10:50] = 1
    assert torch.allclose(boxes(masks) * SIDE, torch.tensor([[25.0, 20, 35, 50], [10, 30, 50, 45]]))
    view = scene_view(pictures, masks, masks.flip(0), SIDE)
    changed = torch.where(masks > 0, 1 - pictures, pictures)
    assert torch.equal(view, scene_view(changed, masks, masks.flip(0), SIDE))
    assert torch.equal(view[0, 3], view[1, 3])  # the same hole, whichever of both products stands in it
    assert (view[0, :3, 20:50, 25:35] == GREY).all() and (view[0, :3, :, 60:] != GREY).any()
    assert whole_view(pictures, masks, 32).shape == foot_view(pictures, masks, 32).shape == (2, 4, 32, 32)
    looks = foot_views(pictures, masks, 32)
    assert torch.equal(looks[2], foot_view(pictures, masks, 32))
    covered = [float(look[:, 3].mean()) for look in looks]
    assert covered == sorted(covered, reverse=True) and covered[0] > covered[-1], "wider and wider"
    foot = foot_view(pictures, masks, 32)[:, 3]
    assert (foot[:, 8] > 0.5).any(1).all() and (foot[:, -4:] == 0).all()  # the product above, its ground below


def test_mirroring_turns_the_labels_that_have_sides():
    lights = torch.tensor([CLASSES["light"].index(name) for name in ("soft left", "sun right", "window")])
    assert [CLASSES["light"][i] for i in mirrored_labels("light", lights)] == ["soft right", "sun left", "window"]
    assert mirrored_labels("category", torch.tensor([UNKNOWN, 3])).tolist() == [UNKNOWN, 3]


def test_examples_keep_a_seed_together_and_know_what_a_picture_does_not_tell(studio: Path, tmp_path: Path):
    folders = train_evaluators.data_sets(studio)
    examples = read_examples(folders, load_autoencoder(BUNDLED), tmp_path / "painted.safetensors")
    training, held = examples.split()
    assert len(training) + len(held) == 120 and not set(training.seeds) & set(held.seeds)
    assert int((examples.labels["category"] != UNKNOWN).sum()) == 24  # the bound half alone
    grown = [i for i, negative in enumerate(examples.negatives) if negative == "grown"]
    assert (examples.wholes[grown].sum((1, 2, 3)) > 1.2 * examples.masks[grown].sum((1, 2, 3))).all()
    drawn = draw(examples, torch.arange(8), torch.Generator().manual_seed(0))
    assert drawn.pictures.shape == (8, 3, SIDE, SIDE) and drawn.pictures.min() >= 0 and drawn.pictures.max() <= 1
    facts = studio / "generic" / "factors" / "generic_0000000.json"
    facts.write_text(facts.read_text().replace('"surface": "', '"surface": "un'))
    with pytest.raises(ProductBackgroundError, match=r"a factor surface, one of"):
        read_examples(folders, load_autoencoder(BUNDLED), tmp_path / "painted.safetensors")


def test_a_damaged_mask_is_a_part_of_the_whole():
    masks = torch.zeros(40, 1, SIDE, SIDE)
    masks[:, :, 20:50, 25:40] = 1
    parts = damaged(masks, torch.Generator().manual_seed(0))
    share = parts.sum((1, 2, 3)) / masks.sum((1, 2, 3))
    assert (parts <= masks).all() and 10 < (share < 1).sum() < 30 and share.min() > 0.4


def test_a_scene_network_learns_a_surface_but_no_category_from_generic_scenes(tmp_path: Path):
    """The category of a generic scene must stay at chance, or the network has seen the product."""
    root = render(tmp_path / "generic", 60)
    torch.manual_seed(0)
    examples = read_examples([root], load_autoencoder(BUNDLED), tmp_path / "painted.safetensors")
    heads = {head: len(classes) for head, classes in CLASSES.items()}
    net = build({"task": "scene", "architecture": "residual", "side": 32, "widths": [16, 24, 32], "heads": heads})
    optimizer = Muon(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(60):
        losses = TASKS["scene"].loss(net, examples, 24, 32, generator)
        losses["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    figures = scene_figures(net.eval(), examples, 32)
    assert figures["surface_accuracy"] > 0.8
    # four categories occur: an answer that is always the same is right in up to a quarter
    assert figures["category_leak"] < 0.3 and np.isnan(figures["category_accuracy"])
    assert [examples.categories[i] != c for i, c in zip(foreign(examples.categories), examples.categories, strict=True)]


def test_keepsakes_are_told_apart_within_a_category(tmp_path: Path):
    """There or not, in scenes of the same category: knowing which category may have one is worth nothing."""
    folders = [render(tmp_path / "bound", 64, "bound"), render(tmp_path / "generic", 16)]
    torch.manual_seed(0)
    examples = read_examples(folders, load_autoencoder(BUNDLED), tmp_path / "painted.safetensors")
    shape = {"architecture": "residual", "widths": [16, 24, 32], "kinds": len(KEEPSAKES)}
    net = build({"task": "keepsakes", "side": 32, **shape})
    optimizer = Muon(net.parameters(), lr=5e-3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(160):
        TASKS["keepsakes"].loss(net, examples, 24, 32, generator)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
    figures = keepsakes_figures(net.eval(), examples, 32)
    assert figures["keepsakes_auc"] > 0.85 and figures["keepsakes_found"] > figures["keepsakes_false_alarms"] + 0.2


def test_trained_frozen_loaded_and_the_suite_measures_with_them(
    studio: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runs, folder, protocol = tmp_path / "runs", tmp_path / "weights", tmp_path / "protocol.toml"
    arguments = ["--data", str(studio), "--out", str(runs), "--config", str(config)]
    train_evaluators.main(arguments)
    train_evaluators.main(arguments)  # finished runs are left as they are
    protocol.write_text(PROTOCOL.read_text())
    head = protocol.read_text().partition("# Below:")[0]
    cache = runs / "painted.safetensors"
    _, held = read_examples(train_evaluators.data_sets(studio), load_autoencoder(BUNDLED), cache).split()
    for _ in range(2):  # freezing again replaces the entries
        freeze_evaluators.freeze_all(runs, held, config, "studio", folder, protocol)
    assert (
        protocol.read_text().startswith(head.rstrip()) and protocol.read_text().count("[evaluators.first.scene]") == 1
    )
    evaluators = load_evaluators(protocol, folder)
    assert [evaluator.name for evaluator in evaluators] == ["first", "second"]

    data = render(tmp_path / "test", 8, first=40)
    render(data, 8, negative="lifted", first=40)
    frozen = read_protocol(protocol)
    quick = type(frozen)(2, frozen.guidance, frozen.seed, 40, 0, frozen.evaluators)
    for suite in (base_suite, ladder, choose_sampling):
        monkeypatch.setattr(suite, "read_protocol", lambda: quick)
        monkeypatch.setattr(suite, "load_evaluators", lambda: evaluators)
    result = tmp_path / "results" / "base.json"
    sheets = tmp_path / "sheets"
    kept = ["--kept", str(tmp_path / "kept")]
    evaluate.main(["base", "--data", str(data), "--json", str(result), "--sheets", str(sheets), *kept])
    figures = json.loads(result.read_text())
    keys = {key for key in figures if not key.endswith(("_low", "_high"))}
    assert keys >= {
        "vae_psnr", "vae_psnr_pca", "vae_psnr_edges", "vae_psnr_edges_pca", "vae_sharpness", "kid_background",
        "kid_vae", "kid_blur", "kid_shuffled", "kid_floor", "diversity",
        "prompt_accuracy_surface", "prompt_accuracy_surface_real",
        "prompt_accuracy_wall", "prompt_accuracy_wall_real", "prompt_accuracy_light", "prompt_accuracy_light_real",
        "extension_excess", "contact_rate", "contact_rate_real", "contact_auc",
    }  # fmt: skip
    for key in keys:
        assert figures[f"{key}_low"] <= figures[key] + 1e-9 and figures[key] <= figures[f"{key}_high"] + 1e-9, key
    assert {path.name for path in sheets.iterdir()} >= {"pictures.png", "worst_contact.png", "worst_surface.png"}

    with pytest.raises(ProductBackgroundError, match="found 4 scenes of 4 categories"):
        base_suite.measure(data, limit=4)  # no category twice

    few = ["--limit", "8", "--sheets", str(sheets), *kept]
    evaluate.main(["ladder", "--data", str(studio), "--json", str(result), *few])
    figures = json.loads(result.read_text())
    for key in ("kid_blur2", "accuracy_surface_noise", "category_leak", "contact_rate_lifted", "extension_grown"):
        assert f"first_{key}" in figures and f"second_{key}_low" in figures
    assert (sheets / "rungs.png").is_file()

    tried = ["--steps", "1", "2", "--guidance", "3", "--limit", "6", *kept]
    choose_sampling.main(["--data", str(data), "--json", str(result), *tried])
    figures = json.loads(result.read_text())
    assert figures["steps1_guidance3_kid_background"] != figures["steps2_guidance3_kid_background"]
    assert figures["steps1_guidance3_kid_vae"] == figures["steps2_guidance3_kid_vae"]
    with pytest.raises(ProductBackgroundError, match="held-out scenes"):
        choose_sampling.measure(studio / "generic", [1], [3.0], 1)

    weights = folder / "first_scene.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    with pytest.raises(ProductBackgroundError, match="not the file that was frozen"):
        load_evaluators(protocol, folder)
