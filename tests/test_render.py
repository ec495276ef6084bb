"""Blender itself: a few small scenes in processes of their own, as the commands render them."""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tqdm import tqdm

from bg_core.errors import ProductBackgroundError
from training.data import read_records
from training.render import farm
from training.render.__main__ import seed_range
from training.render.farm import Batch
from training.render.layout import slot, write_lists
from training.render.plan import PLAN, RESERVED_FROM, read_plan
from training.render.recipe import category_of
from training.render.sheet import write_sheets

ROOT = Path(__file__).parent.parent
SEED = 48  # a mug


def run(module: str, *options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", module, *map(str, options)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


def render(out: Path, *options: object) -> subprocess.CompletedProcess:
    return run("training.render", "--out", out, "--side", 48, "--samples", 2, "--workers", 1, *options)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).astype(int)


def facts_of(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Scene and reference, packshot and the three negatives of one seed, each kind in a folder of its own."""
    out = tmp_path_factory.mktemp("studio")
    for folder, options in {
        "pairs": ["--pairs"], "packshots": ["--packshots"], "lifted": ["--negative", "lifted"],
        "grown": ["--negative", "grown"], "doubled": ["--negative", "doubled"],
    }.items():  # fmt: skip
        finished = render(out / folder, "--seed-range", f"{SEED}:{SEED + 1}", *options)
        assert finished.returncode == 0, finished.stderr
    return out


def test_lists_pair_the_scene_with_its_reference(data: Path):
    partner = facts_of(slot(data / "pairs", "generic", SEED, "reference").facts)["category"]
    scene, reference = f"generic_{SEED:07d}.png", f"generic_{SEED:07d}_reference.png"
    listing = (data / "pairs" / "bg60k_info.txt").read_text().splitlines()
    assert listing == [f"{scene}, mug", f"{reference}, {partner}"]
    assert (data / "pairs" / "bgpair_info.txt").read_text() == f"{scene}, {reference}, mug\n"
    assert [record.name for record in read_records(data / "pairs")] == [scene, reference]


def test_masks_fill_their_boxes_inside_the_frame(data: Path):
    for kind in ("scene", "reference"):
        place = slot(data / "pairs", "generic", SEED, kind)
        mask = pixels(place.mask)
        assert mask.shape == (48, 48) and mask.max() == 255 and mask.min() == 0
        left, top, right, bottom = facts_of(place.facts)["product_box"]
        assert min(left, top) > 0 and max(right, bottom) < 1
        rows, columns = np.nonzero(mask > 127)
        assert abs(left * 48 - columns.min()) < 2 and abs(right * 48 - 1 - columns.max()) < 2
        assert abs(top * 48 - rows.min()) < 2 and abs(bottom * 48 - 1 - rows.max()) < 2


def test_factors_tell_what_the_protocol_needs(data: Path):
    facts = facts_of(slot(data / "pairs", "generic", SEED).facts)
    expected = {
        "category", "family", "palette", "accent", "surface", "wall", "light", "rig", "arrangement", "density",
        "depth_of_field", "prop_boxes", "product_box", "elevation", "lens", "fill", "shift_x", "shift_y", "seed",
        "half", "caption", "unseen_family", "unseen_combination", "side", "samples", "renderer_version",
    }  # fmt: skip
    assert not expected - set(facts)
    assert {prop["kind"] for prop in facts["prop_boxes"]} <= set(facts["props"])
    assert all(0 <= edge <= 1 for prop in facts["prop_boxes"] for edge in prop["box"])


def test_a_lifted_product_hovers_in_the_same_scene(data: Path):
    scene, lifted = slot(data / "pairs", "generic", SEED), slot(data / "lifted", "generic", SEED, "lifted")
    facts = facts_of(lifted.facts)
    rise = facts_of(scene.facts)["product_box"][3] - facts["product_box"][3]
    assert facts["negative"] == "lifted" and facts["lift"] > 0 and 0.005 < rise < 0.08
    before, after = pixels(scene.mask) > 127, pixels(lifted.mask) > 127
    assert np.nonzero(after)[0].mean() < np.nonzero(before)[0].mean() - 0.25
    assert abs(int(after.sum()) - int(before.sum())) < 0.15 * before.sum()  # the same product


def test_a_grown_mask_leaves_out_the_handle_only(data: Path):
    scene, grown = slot(data / "pairs", "generic", SEED), slot(data / "grown", "generic", SEED, "grown")
    whole = pixels(grown.mask.with_name(f"{grown.mask.stem}_whole.png"))
    assert np.array_equal(pixels(grown.picture), pixels(scene.picture))
    assert np.array_equal(whole, pixels(scene.mask))
    part = pixels(grown.mask)
    assert (part <= whole + 70).all() and (whole > 127).sum() - (part > 127).sum() > 5


def test_a_double_stands_outside_the_mask(data: Path):
    scene, doubled = slot(data / "pairs", "generic", SEED), slot(data / "doubled", "generic", SEED, "doubled")
    assert np.abs(pixels(doubled.mask) - pixels(scene.mask)).mean() < 3
    left, top, right, bottom = (round(48 * edge) for edge in facts_of(doubled.facts)["second_box"])
    outside = pixels(scene.mask)[top:bottom, left:right] < 127
    change = np.abs(pixels(doubled.picture) - pixels(scene.picture)).max(2)[top:bottom, left:right]
    assert outside.any() and (change[outside] > 20).mean() > 0.3


def test_a_packshot_shows_the_same_product_cut_out(data: Path):
    shot = slot(data / "packshots", "generic", SEED, "packshot")
    product = facts_of(slot(data / "pairs", "generic", SEED).facts)["product_key"]
    assert facts_of(shot.facts)["product_key"] == product
    cut = pixels(shot.picture.with_name(f"{shot.picture.stem}_cutout.png"))
    assert np.array_equal(cut[..., :3], pixels(shot.picture)) and np.array_equal(cut[..., 3], pixels(shot.mask))
    assert pixels(shot.picture)[:4].mean() > 190


def test_same_seed_same_pixels_and_finished_pictures_stay(data: Path, tmp_path: Path):
    again = render(tmp_path, "--seed-range", f"{SEED}:{SEED + 1}")
    assert again.returncode == 0, again.stderr
    first, second = slot(data / "pairs", "generic", SEED), slot(tmp_path, "generic", SEED)
    assert np.array_equal(pixels(first.picture), pixels(second.picture))

    before = second.picture.stat().st_mtime_ns
    assert "1 of 1 pictures are there already" in render(tmp_path, "--seed-range", f"{SEED}:{SEED + 1}").stdout
    assert second.picture.stat().st_mtime_ns == before


def test_a_picture_without_factors_is_rendered_again(data: Path):
    batch = Batch(data / "pairs", [SEED], "generic", ("scene", "reference"))
    assert batch.jobs() == []
    torn = Batch(data / "pairs", [SEED, SEED + 1], "generic", ("scene",))
    assert [job["seed"] for job in torn.jobs()] == [SEED + 1]


def test_lists_are_rewritten_from_what_is_there(tmp_path: Path):
    (tmp_path / "factors").mkdir()
    for name in ("a", "a_reference", "b_reference"):
        (tmp_path / "factors" / f"{name}.json").write_text('{"category": "mug"}')
    (tmp_path / "bgpair_info.txt").write_text("torn line")
    assert write_lists(tmp_path) == 3
    assert (tmp_path / "bgpair_info.txt").read_text() == "a.png, a_reference.png, mug\n"  # b's scene isn't there yet


def test_what_was_finished_before_a_stop_is_listed(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = shutil.copytree(data / "pairs", tmp_path / "stopped")
    (root / "bg60k_info.txt").unlink()

    def stopped(*_: object) -> dict:
        raise KeyboardInterrupt

    monkeypatch.setattr(farm, "run", stopped)
    with pytest.raises(KeyboardInterrupt), tqdm(disable=True) as progress:
        farm.render_batch(Batch(root, range(SEED, SEED + 2), "generic"), 1, progress)
    assert len((root / "bg60k_info.txt").read_text().splitlines()) == 2


def test_the_plan_keeps_to_its_seeds(tmp_path: Path):
    batches = [(batch.root.relative_to(tmp_path).as_posix(), batch) for batch in read_plan(PLAN, tmp_path)]
    names = [name for name, _ in batches]
    assert names[0].startswith("evaluator/") and names.index("train/generic") < names.index("train/bound")
    assert all(batch.seeds[-1] < RESERVED_FROM for _, batch in batches)
    parts = {
        part: {seed for name, batch in batches if name.startswith(part) for seed in batch.seeds}
        for part in ("train", "evaluator", "test")
    }
    assert not parts["train"] & parts["test"] and not parts["train"] & parts["evaluator"]
    assert not parts["test"] & parts["evaluator"]
    assert all(batch.held_out == name.startswith("test/") for name, batch in batches)
    sizes = {(name, batch.kinds): len(batch.seeds) for name, batch in batches if name != "test/pairs"}
    pairs = {batch.half: len(batch.seeds) for name, batch in batches if name == "test/pairs"}
    assert sizes["train/generic", ("scene",)] >= 4500 and sizes["train/bound", ("scene",)] >= 2400
    assert sizes["test/generic", ("scene",)] >= 960 and pairs["generic"] >= 500 and pairs["bound"]
    assert sizes["test/generic", ("lifted",)] and sizes["test/generic", ("packshot",)] >= 256


def test_reserved_seeds_are_refused(tmp_path: Path):
    plan = tmp_path / "plan.toml"
    plan.write_text('[[split]]\nname = "late"\nseeds = "899999:900001"\nhalf = "generic"\n')
    with pytest.raises(ProductBackgroundError, match="reserved"):
        read_plan(plan, tmp_path)


def test_contact_sheets_by_category(data: Path):
    sheets = write_sheets(data / "pairs")
    assert data / "pairs" / "sheets" / f"{category_of(SEED)}.jpg" in sheets


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system doesn't tell a process's cores")
@pytest.mark.skipif(os.cpu_count() == 1, reason="there is no other core")
def test_a_renderer_costs_one_core_and_is_pinned_to_none(tmp_path: Path):
    """Threads that wait by spinning would show as more processor time than has passed."""
    script = """
import json, os, time
from pathlib import Path
from training.render.one_core import imported_on_one_core
before = os.sched_getaffinity(0)
with imported_on_one_core():
    assert len(os.sched_getaffinity(0)) == 1
    from training.render.studio import Quality, render_scene
from training.render.recipe import draw_recipe
folder = Path(os.environ["FOLDER"])
clock, work = time.perf_counter(), time.process_time()
render_scene(draw_recipe(0), folder / "a.png", folder / "m.png", Quality(96, 16))
ratio = (time.process_time() - work) / (time.perf_counter() - clock)
(folder / "found.json").write_text(json.dumps([ratio, os.sched_getaffinity(0) == before]))
"""
    environment = os.environ | {"FOLDER": str(tmp_path), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    ratio, free = json.loads((tmp_path / "found.json").read_text())
    assert free and ratio < 1.3


def test_a_bad_range_is_explained():
    finished = render(Path("unused"), "--seed-range", "9:3")
    assert finished.returncode == 2 and "expected 0 <= A < B" in finished.stderr


@pytest.mark.parametrize(
    ("text", "seeds"), [("3:6", [3, 4, 5]), ("200000:200021:10", [200000, 200010, 200020]), ("0:9:20", [0])]
)
def test_ranges_of_seeds(text: str, seeds: list[int]):
    assert list(seed_range(text)) == seeds


@pytest.mark.parametrize("text", ["5", "a:b", "1:2:3:4", "4:4", "0:9:0", "-1:3"])
def test_what_is_no_range_of_seeds_is_refused(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="expected"):
        seed_range(text)
