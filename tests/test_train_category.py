"""The category trainer: what it draws, what each arm learns, that runs resume and that two processes equal one."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import tomllib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from bg_core.errors import ProductBackgroundError
from bg_core.vocabulary import CategoryVocabulary
from tests.processes import two_processes
from training import train_category
from training.category import lots as category_lots
from training.category.batch import Balanced, Draw
from training.category.lots import Study
from training.category.plan import ARMS, Plan, Scenes, learning
from training.category.prompts import Identifiers, Texts
from training.category.scenes import Example, select, spread_order, virtual_cells
from training.data import Record, read_records
from training.latents import encoded, kept_latents
from training.lora import add_lora, load_lora
from training.painters import Painter, load_painter
from training.settings import Settings
from training.train_category import Lesson, Teacher, on_product, teach


@pytest.fixture
def painter(tiny_base: Path) -> Painter:
    return load_painter(tiny_base)


def settings(steps: int = 2, batch: int = 4) -> Settings:
    return Settings(1, steps, batch, 0.1, 1, 0.9, 1000.0, {})


def plan(arm: str = "masked", **more: object) -> Plan:
    return Plan.of({"arm": arm, "side": 32, "views": 2, "vectors": 2, **more}, "test")


def lesson(painter: Painter, data: Path, labels: tuple[str, ...] = ("mug", "sauce")) -> Lesson:
    records = read_records(data)[:8]
    examples = [Example(record, labels[i % len(labels)], "a mug") for i, record in enumerate(records)]
    return Lesson.of(examples, encoded(painter.coder, records, 32, 2))


def config(path: Path, steps: int, arm: str = "masked", batch: int = 4, minutes: float = 1000.0) -> Path:
    path.write_text(
        f"seed = 1\nsteps = {steps}\nbatch = {batch}\nlearning_rate = 0.1\nwarmup = 1\nema = 0.9\n"
        f'minutes_between_saves = {minutes}\n[options]\narm = "{arm}"\nside = 32\nvectors = 2\nviews = 1\nparts = 2\n'
    )
    return path


def test_settings_that_are_unknown_missing_or_out_of_range_are_named() -> None:
    for options, said in (
        ({"side": 32}, "settings arm are missing"),
        ({"arm": "masked", "side": 32, "colour": 1}, "unknown settings colour"),
        ({"arm": "masked", "side": 30}, "multiples of 8"),
        ({"arm": "described", "side": 32}, "accepted are .*masked_lora"),  # needs no training
        ({"arm": "masked", "side": 32, "scenes": {"image": 3}}, "unknown settings image"),
        ({"arm": "masked", "side": 32, "template": "a photo"}, "no {identifier}"),
        ({"arm": "masked", "side": 32, "drop_caption": 1.0}, "a share below 1"),
        ({"arm": "masked_lora", "side": 32, "drop_caption": 0.0}, "the arm masked_lora has a LoRA"),
        ({"arm": "lora", "side": 32, "drop_caption": 0}, "above 0"),
    ):
        with pytest.raises(ProductBackgroundError, match=said):
            Plan.of(options, "test")
    assert Plan.of(json.loads(json.dumps(plan().to_dict())), "test") == plan()
    for arm in ARMS.values():
        assert not arm.weights or ARMS[arm.weights].learns


@pytest.mark.parametrize("arm", learning())
def test_arms_with_a_lora_see_the_empty_prompt(arm: str) -> None:
    """In the study's plans and in the trainer's own file, whatever arm is written there."""
    study = Study(*[Path()] * 6, tomllib.loads(category_lots.CONFIG.read_text()), (), ())
    own = tomllib.loads(train_category.CONFIG.read_text())["options"]
    for made in (study.plan(arm), Plan.of({**own, "arm": arm}, "test"), plan(arm)):
        assert made.drop_caption == (0.1 if ARMS[arm].lora else 0.0)


def test_a_long_tail_is_heard_by_the_stated_formula() -> None:
    labels = [0] * 64 + [1] * 4
    generator = torch.Generator().manual_seed(0)
    for balance, share in ((1.0, 64 / 68), (0.5, 8 / 10), (0.0, 0.5)):
        scenes = Balanced(labels, balance)
        rows = torch.cat([scenes.draw(10, generator) for _ in range(200)])
        heard = (torch.tensor(labels)[rows] == 0).double().mean()
        assert float(heard) == pytest.approx(share, abs=0.02)
        assert len(rows[rows >= 64].unique()) == 4  # all of the small one's


def test_virtual_categories_are_nested_and_reach_into_the_tail() -> None:
    assert sorted(spread_order(11)) == list(range(11)) and spread_order(8)[:2] == [0, 4]
    records = []
    for i, surface in enumerate(("oak", "slate", "linen", "cork")):
        for n in range(2 + 3 * i):
            facts = {"surface": surface, "wall": "tiles", "palette": "navy", "light": ("soft left", "top")[n % 2]}
            records.append(Record(f"{surface}{n}", "mug", Path(), Path(), "", facts))
    assert virtual_cells(records, Scenes(virtual=3, largest=6, smallest=4)) == {
        "cork, navy, soft": 6, "slate, navy, soft": 5, "linen, navy, soft": 6,
    }  # fmt: skip
    chosen = select(records, Scenes(virtual=2, largest=6, smallest=4), 0)
    assert [sum(e.label.startswith(name) for e in chosen) for name in ("cork", "slate", "oak")] == [6, 5, 0]
    with pytest.raises(ProductBackgroundError, match="has 3 cells of 4 or more"):
        select(records, Scenes(virtual=4), 0)
    few, more = ({e.record.name for e in select(records, Scenes(virtual=2, images=n, smallest=4), 0)} for n in (2, 4))
    assert few < more and len(few) == 4
    with pytest.raises(ProductBackgroundError, match=r"no pictures of hat\. Its categories are mug"):
        select(records, Scenes(categories=("hat",)), 0)


def test_latents_are_kept_until_something_changes(painter: Painter, data: Path, tmp_path: Path) -> None:
    records = read_records(data)[:3]
    first = kept_latents(painter.coder, records, 32, 2, tmp_path / "latents", batch=2)
    assert first.clean.shape == (3, 2, 4, 4, 4) and first.background.shape == (3, 2, 4, 4)
    # a corner is background, so grey
    torch.testing.assert_close(first.masked[0, 0, :, 0, 0], first.nothing[:, 0, 0], atol=0.02, rtol=0)
    painter.coder.encode = None  # type: ignore[method-assign]
    again = kept_latents(painter.coder, records, 32, 2, tmp_path / "latents")
    assert torch.equal(first.clean, again.clean)
    with pytest.raises(TypeError):  # other pictures are computed, not taken from that file
        kept_latents(painter.coder, records[:2], 32, 2, tmp_path / "latents")


class Averages:
    """A coder whose latents can be looked at: 8x8 averages."""

    def encode(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pictures, 8)

    decode = encode


def sided(folder: Path) -> list[Record]:
    """A picture that is dark on the left and bright on the right."""
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    mask = np.zeros((32, 32), np.uint8)
    mask[12:20, 12:20] = 255
    for name, values in (("picture", pixels), ("mask", mask)):
        Image.fromarray(values).save(folder / f"{name}.png")
    return [Record("one", "mug", folder / "picture.png", folder / "mask.png")]


def test_odd_views_are_mirrored_unless_sides_count(tmp_path: Path) -> None:
    records = sided(tmp_path)
    for mirror in (True, False):
        clean = encoded(Averages(), records, 32, 4, mirror=mirror).clean[0].float()
        bright_right = (clean[..., -1].mean((1, 2)) > clean[..., 0].mean((1, 2))).tolist()
        assert bright_right == ([True, False, True, False] if mirror else [True] * 4)


def test_mirroring_is_part_of_a_latent_files_name_only_where_there_is_none(tmp_path: Path) -> None:
    records, folder = sided(tmp_path), tmp_path / "latents"
    for _ in range(2):
        kept_latents(Averages(), records, 32, 2, folder)
        kept_latents(Averages(), records, 32, 2, folder, mirror=False)
    digest = hashlib.sha256(b"[32, 2]")  # what files were named by before mirroring could be switched off
    for path in (records[0].picture, records[0].mask):
        facts = path.stat()
        digest.update(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    files = {file.name for file in folder.iterdir()}
    assert f"latents_{digest.hexdigest()[:16]}.safetensors" in files and len(files) == 2


def test_identifiers_start_from_the_names_tokens(painter: Painter) -> None:
    texts = Texts(painter)
    identifiers = Identifiers(painter, ["mug", "oak and"], 3, texts)
    table = painter.text.get_input_embeddings().weight
    mug, oak, also = (table[int(texts.encoder.rows(torch.tensor(texts.encoder.tokens.ids(w)))[0])] for w in
                      ("mug", "oak", "and"))  # fmt: skip
    start = identifiers(torch.tensor([0, 1]))
    torch.testing.assert_close(start[0], torch.stack([mug] * 3))
    torch.testing.assert_close(start[1], torch.stack([oak, also, oak]))
    assert float(identifiers.vectors.std()) == pytest.approx(1.0, abs=0.3)
    # untrained, an identifier is its category's name as text
    named = texts.in_words(["a mug"], ["mug mug mug"]).values
    filled = texts.left_open(["a mug"], identifiers(torch.tensor([0])))
    torch.testing.assert_close(filled.values[:, : filled.positions[0][-1] + 1], named[:, : filled.positions[0][-1] + 1])


def test_parts_of_a_batch_read_their_own_vectors_at_the_same_time(painter: Painter) -> None:
    texts, generator = Texts(painter), torch.Generator().manual_seed(0)
    vectors = [torch.randn(1, 2, 32, generator=generator) for _ in range(2)]
    alone = [texts.with_vectors(["a mug"], one).values for one in vectors]
    both = Barrier(2, timeout=60)

    def wait(*_: object) -> None:
        both.wait()

    painter.text.get_input_embeddings().register_forward_pre_hook(wait)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda one: texts.with_vectors(["a mug"], one).values, vectors))
    assert not torch.equal(*alone)
    for ours, theirs in zip(together, alone, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("arm", learning())
def test_each_arm_learns_what_it_should(arm: str, painter: Painter, data: Path) -> None:
    taught = lesson(painter, data)
    before = {name: value.clone() for name, value in painter.unet.state_dict().items()}
    torch.manual_seed(0)
    teacher = Teacher(painter, taught, plan(arm, drop_caption=0.3, attention_loss=0.1))
    draw = teacher.draw(8, torch.Generator().manual_seed(3))
    modules = teacher.modules()
    with ExitStack() as scope:
        losses = teacher.losses(draw, scope)
        losses["loss"].backward()
    assert set(modules) == {name for name in ("identifiers", "lora") if getattr(ARMS[arm], name)}
    assert ("attention" in losses) == (ARMS[arm].trained != "output")
    if "identifiers" in modules:
        gradient = teacher.identifiers.vectors.grad
        assert gradient is not None and bool((gradient.abs().sum((1, 2)) > 0).all())
    if "lora" in modules:
        assert all(float(up.grad.abs().sum()) > 0 for up in teacher.lora.up)
    for name, value in painter.unet.state_dict().items():
        if name in before:  # LoRA's layers have moved
            assert torch.equal(value, before[name])
    assert not any(p.grad is not None for p in painter.text.parameters())


def test_attention_on_the_product_counts_as_much_as_is_asked(painter: Painter, data: Path) -> None:
    taught, found = lesson(painter, data), []
    for weight in (0.1, 0.4):
        torch.manual_seed(0)
        teacher = Teacher(copy.deepcopy(painter), taught, plan("unmasked", attention_loss=weight))
        draw = teacher.draw(4, torch.Generator().manual_seed(3))
        with ExitStack() as scope:
            found.append({name: float(value.detach()) for name, value in teacher.losses(draw, scope).items()})
    less, more = found
    assert 0 < less["attention"] < 1 and less["attention"] == pytest.approx(more["attention"])
    assert more["loss"] - less["loss"] == pytest.approx(0.3 * less["attention"], rel=1e-3)


def test_a_masked_identifier_learns_nothing_of_the_product(painter: Painter, data: Path) -> None:
    """With the loss on the product alone, its gradient comes only through the layers that mix places."""
    taught = lesson(painter, data)
    found = {}
    for arm in ("unmasked", "masked"):
        teacher = Teacher(painter, taught, plan(arm))
        draw = teacher.draw(8, torch.Generator().manual_seed(3))
        context = teacher.context(draw)
        masks = torch.zeros(8, 4, 4)
        with teacher.regions.guiding(None if arm == "unmasked" else masks, context.positions, (4, 4)):
            x = torch.randn(8, 9, 4, 4, generator=torch.Generator().manual_seed(0))
            painter.unet(x, draw.t, context.values).sample.square().mean().backward()
        found[arm] = float(teacher.identifiers.vectors.grad.abs().max())
    assert found["masked"] < 1e-6 * found["unmasked"]


def test_attention_on_the_product_is_measured() -> None:
    background = torch.ones(1, 4, 4)
    background[:, :2] = 0
    shares = [torch.zeros(1, 1, 16), torch.ones(1, 1, 4)]
    shares[0][..., :8] = 0.5
    assert float(on_product(shares, background)) == pytest.approx((0.5 + 1.0) / 2)


def test_a_lora_file_gives_back_the_same_network(painter: Painter, tiny_base: Path, tmp_path: Path) -> None:
    lora = add_lora(painter.unet, 2, 4.0)
    x, t, context = torch.randn(1, 9, 4, 4), torch.tensor([5]), torch.randn(1, 77, 32)
    with torch.no_grad():
        stock = load_painter(tiny_base).unet(x, t, context).sample
        torch.testing.assert_close(painter.unet(x, t, context).sample, stock)
        for up in lora.up:
            up.normal_(std=0.1)
        changed = painter.unet(x, t, context).sample
        path = lora.save(tmp_path / "lora.safetensors", painter.family, {})
        other = load_painter(tiny_base)
        load_lora(other.unet, path, other.family)
        torch.testing.assert_close(other.unet(x, t, context).sample, changed)
    assert float((changed - stock).abs().max()) > 1e-3
    with pytest.raises(ProductBackgroundError, match="fits the base"):
        load_lora(load_painter(tiny_base).unet, path, "sd15")
    with pytest.raises(ProductBackgroundError, match="plain cross-attention"):
        add_lora(painter.unet, 2, 2.0)


def test_gradient_checkpointing_learns_the_same(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    found = []
    for name in ("plain", "checkpointed"):
        painter = load_painter(tiny_base)
        chosen = plan("masked_lora", gradient_checkpointing=name == "checkpointed", attention_loss=0.1)
        teacher = teach(painter, lesson(painter, data), settings(), chosen, tmp_path / name, {})
        found.append(teacher.identifiers.all())
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-4)


def test_rates_are_factors_on_what_a_step_moves(painter: Painter, data: Path, tmp_path: Path) -> None:
    """AdamW's first step moves every number by the rate, whatever its gradient is, as long as there is one."""
    factor = 0.03
    chosen = plan("masked_lora", rates={"identifiers": 0.5, "lora": factor})
    before = Identifiers(painter, ["a mug", "a sauce bottle"], 2, Texts(painter)).vectors.detach()
    quick = dataclasses.replace(settings(steps=1, batch=8), warmup=0)
    taught = lesson(painter, data)
    teach(painter, taught, quick, chosen, tmp_path / "run", {})
    after = load_file(tmp_path / "run" / "latest.safetensors")
    identifiers = float((after["module.identifiers.vectors"] - before).abs().max())
    ups = [value for name, value in after.items() if name.startswith("module.lora.up")]  # zero before
    assert identifiers == pytest.approx(0.5 * quick.learning_rate, rel=0.01)
    assert ups and all(float(up.abs().max()) == pytest.approx(factor * quick.learning_rate, rel=0.01) for up in ups)


class Killed(Exception):
    pass


def test_from_the_command_line_and_a_killed_run_ends_where_a_whole_one_does(
    tiny_base: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--base", str(tiny_base), "--data", str(data), "--latents", str(tmp_path / "latents")]
    steady = config(tmp_path / "steady.toml", 4, "masked_lora")
    asked = []
    monkeypatch.setattr(
        train_category, "kept_latents", lambda *given, **more: asked.append(more) or kept_latents(*given, **more)
    )
    train_category.main([*arguments, "--out", str(tmp_path / "whole"), "--config", str(steady)])
    assert asked == [{"mirror": False}]

    honest, calls = Teacher.losses, iter(range(100))

    def killed(self: Teacher, draw: Draw, scope: ExitStack) -> dict[str, torch.Tensor]:
        if next(calls) == 2:
            raise Killed
        return honest(self, draw, scope)

    monkeypatch.setattr(Teacher, "losses", killed)
    eager = config(tmp_path / "eager.toml", 4, "masked_lora", minutes=0.0)
    with pytest.raises(Killed):
        train_category.main([*arguments, "--out", str(tmp_path / "parts"), "--config", str(eager)])
    monkeypatch.setattr(Teacher, "losses", honest)
    train_category.main([*arguments, "--out", str(tmp_path / "parts"), "--config", str(steady)])

    whole, parts = (load_file(tmp_path / run / "latest.safetensors") for run in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        torch.testing.assert_close(value, parts[key], atol=1e-5, rtol=1e-5, msg=key)
    vocabulary = CategoryVocabulary.open(tmp_path / "parts" / "identifiers.safetensors")
    assert vocabulary.names() == ["mug"] and (vocabulary.vectors, vocabulary.width) == (2, 32)
    assert vocabulary.category(0).scene and vocabulary.header.training["steps"] == 4
    written, average, last = (
        torch.nn.functional.normalize(some.flatten(), dim=0)
        for some in (
            vocabulary.identifier(0),
            parts["average.identifiers.vectors"][0],
            parts["module.identifiers.vectors"][0],
        )
    )
    torch.testing.assert_close(written, average)  # but for the unit
    assert float((written - last).abs().max()) > 1e-3, "the average is written, not the last step"
    assert vocabulary.header.config["plan"]["arm"] == "masked_lora"
    assert vocabulary.header.config["lora"] == "parts_lora.safetensors"
    assert (tmp_path / "parts" / "parts_lora.safetensors").is_file() and list((tmp_path / "parts" / "log").iterdir())


@pytest.mark.parametrize("arm", ["masked", "masked_lora"])
def test_two_processes_train_as_one_with_twice_the_batch(arm: str, tiny_base: Path, data: Path, tmp_path: Path) -> None:
    """Tolerance 1e-4 of identifiers of deviation 1, after three steps of rate 0.1: sums come in another order."""
    path = config(tmp_path / "run.toml", 3, arm)
    shared = [
        "--base", str(tiny_base), "--data", str(data), "--latents", str(tmp_path / "latents"), "--config", str(path),
    ]  # fmt: skip
    train_category.main([*shared, "--out", str(tmp_path / "one")])
    two_processes("training.train_category", [*shared, "--out", str(tmp_path / "two")])
    one, two = (load_file(tmp_path / run / "latest.safetensors") for run in ("one", "two"))
    learned = [key for key in one if key.startswith(("module.", "average."))]
    assert any(".lora." in key for key in learned) == ARMS[arm].lora
    for key in learned:
        assert float((one[key] - two[key]).abs().max()) < 1e-4, key
    assert float((one["module.identifiers.vectors"] - untrained(tiny_base)).abs().max()) > 0.01
    for key in (key for key in learned if ".up." in key):
        assert float(one[key].abs().max()) > 1e-3, key


def untrained(tiny_base: Path) -> torch.Tensor:
    painter = load_painter(tiny_base)
    return Identifiers(painter, ["a mug"], 2, Texts(painter)).vectors.detach()
