"""The style trainer: what it draws and what each view lacks, that only the adapter learns, that runs resume and that
two processes equal one."""

from __future__ import annotations

import copy
import os
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bg_core.errors import ProductBackgroundError
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import GROUPS, StyleConfig, load_style
from bg_core.style_encoder import Tokens
from bg_core.style_plan import StyledChunk, StyleGuide, StylePlan
from tests.processes import two_processes
from tests.test_painters import FULL_SIZE, random_checkpoint
from training import train_style
from training.attention import guide_layers
from training.data import read_records
from training.metrics.references import copied, layout_iou, occupied
from training.painters import Painter, load_painter
from training.style.batch import Recipe, StyleScenes
from training.style.mixed import load_mixed
from training.style.unet import adapter_layers, layer_names, styling

STEPS = """seed = 1
steps = {steps}
batch = 4
learning_rate = 0.01
warmup = 1
ema = 0.5
minutes_between_saves = 1000.0
[options]
form = "groups"
front = "latents"
frame = 64
crop = 24
width = 32
parts = 2
product_weight = 0.3
snr_gamma = 5.0
weight_floor = 0.2
[options.recipe]
sides = [32]
"""


@pytest.fixture
def painter(tiny_base: Path) -> Painter:
    return load_painter(tiny_base)


def config_of(painter: Painter) -> StyleConfig:
    return StyleConfig(adapter_layers(painter.unet), features=4, frame=64, crop=24, width=32)


def arguments(tiny_base: Path, data: Path, out: Path, settings: str) -> list[str]:
    file = out.parent / f"{out.name}.toml"
    file.write_text(settings)
    names = {"data": data, "out": out, "base": tiny_base, "config": file}
    return [word for name, value in names.items() for word in (f"--{name}", str(value))]


def train(tiny_base: Path, data: Path, out: Path, settings: str) -> dict[str, torch.Tensor]:
    """The state after all steps."""
    train_style.main(arguments(tiny_base, data, out, settings))
    return load_file(out / "latest.safetensors")


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], atol=atol, rtol=1e-4, msg=key)


class Killed(Exception):
    pass


def test_trains_writes_a_file_and_a_killed_run_ends_where_a_whole_one_does(
    tiny_base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = STEPS.format(steps=3)
    whole = train(tiny_base, data, tmp_path / "whole", steady)
    said = capsys.readouterr().out
    assert all(word in said for word in ("true", "shuffled", "none", "style alone", "copied without"))
    header, adapter = load_style(tmp_path / "whole" / "style.safetensors")
    assert header.base == "product-background-demo" and header.training["steps"] == 3
    assert any(bool(layer.to_v.weight.any()) for layer in adapter.layers.values())
    honest, calls = train_style.StyleTeacher.losses, iter(range(100))

    def killed(*given: Any) -> dict[str, torch.Tensor]:
        if next(calls) == 4:  # two parts a step
            raise Killed
        return honest(*given)

    monkeypatch.setattr(train_style.StyleTeacher, "losses", killed)
    with pytest.raises(Killed):
        train(tiny_base, data, tmp_path / "parts", steady.replace("1000.0", "0.0"))
    monkeypatch.setattr(train_style.StyleTeacher, "losses", honest)
    (tmp_path / "parts" / "style.safetensors").unlink()
    assert_same(whole, train(tiny_base, data, tmp_path / "parts", steady), 1e-5)
    header, resumed = load_style(tmp_path / "parts" / "style.safetensors")
    assert resumed.config == adapter.config and header.training["steps"] == 3
    assert "resumed" in capsys.readouterr().out
    assert list((tmp_path / "whole").glob("sheet_*.png"))

    # trained further from there, at a rate too low to change anything
    start = tmp_path / "whole" / "style.safetensors"
    still = steady.replace("steps = 3", "steps = 1").replace("0.01", "1e-9")
    further = arguments(tiny_base, data, tmp_path / "further", still)
    train_style.main([*further, "--start", str(start)])
    header, continued = load_style(tmp_path / "further" / "style.safetensors")
    assert header.training["start"] == start.name
    assert_same(adapter.state_dict(), continued.state_dict(), 1e-3)
    wider = arguments(tiny_base, data, tmp_path / "wider", still.replace("width = 32", "width = 64"))
    with pytest.raises(ProductBackgroundError, match="width"):
        train_style.main([*wider, "--start", str(start)])


def test_two_processes_train_as_one_with_both_parts(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    """Tolerance 1e-4 of weights, after three steps of rate 0.01: sums come in another order."""
    settings = STEPS.format(steps=3)
    one = train(tiny_base, data, tmp_path / "one", settings)
    two_processes("training.train_style", arguments(tiny_base, data, tmp_path / "two", settings))
    two = load_file(tmp_path / "two" / "latest.safetensors")
    learned = [key for key in one if key.startswith(("module.", "average."))]
    assert_same(*({key: state[key] for key in learned} for state in (one, two)), 1e-4)
    assert max(float(one[key].abs().max()) for key in learned if key.endswith("to_v.weight")) > 0.01
    with pytest.raises(ProductBackgroundError, match="batch is 4 in 3 parts, which 1 processes can't share equally"):
        train(tiny_base, data, tmp_path / "three", settings.replace("parts = 2", "parts = 3"))


def test_gradient_checkpointing_learns_the_same(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    settings = STEPS.format(steps=2)
    plain = train(tiny_base, data, tmp_path / "plain", settings)
    frugal = settings.replace("[options]", "[options]\ngradient_checkpointing = true")
    assert_same(plain, train(tiny_base, data, tmp_path / "frugal", frugal), 1e-5)


def test_a_base_in_half_precision_teaches_nearly_the_same(painter: Painter, data: Path) -> None:
    """The first gradient, within what 8 bits of mantissa leave of it over a hundred layers."""
    gradients = []
    for precision in ("float32", "bfloat16"):
        painter.place(torch.device("cpu"), precision)
        torch.manual_seed(0)
        teacher = teacher_of(painter)
        scenes = StyleScenes(read_records(data), painter, teacher.adapter.config, Recipe(sides=(32,)))
        generator = torch.Generator().manual_seed(0)
        with ExitStack() as scope:
            teacher.losses(scenes.draw(8, generator), generator, scope)["loss"].backward()
        values = [layer.to_v.weight for layer in teacher.adapter.layers.values()]
        gradients.append(torch.cat([value.grad.flatten() for value in values]))
        assert all(value.dtype == torch.float32 for value in values), "what learns stays precise"
    assert not torch.equal(*gradients) and float(torch.cosine_similarity(*gradients, 0)) > 0.95


def teacher_of(painter: Painter) -> train_style.StyleTeacher:
    weighting = {"product_weight": 0.3, "snr_gamma": 5.0, "weight_floor": 0.2}
    front, _ = train_style.front_end(painter, "latents", None)
    return train_style.StyleTeacher(painter, StyleAdapter(config_of(painter)), front, weighting)


def test_only_the_adapter_learns(painter: Painter, data: Path) -> None:
    teacher = teacher_of(painter)
    adapter = teacher.adapter
    scenes = StyleScenes(read_records(data), painter, adapter.config, Recipe(sides=(32,), drop_group=0.0, drop_all=0.0))
    generator = torch.Generator().manual_seed(0)

    def backward() -> None:
        with ExitStack() as scope:
            teacher.losses(scenes.draw(4, generator), generator, scope)["loss"].backward()

    backward()
    assert all(float(layer.to_v.weight.grad.abs().max()) > 0 for layer in adapter.layers.values())
    assert all(p.grad is None for p in painter.unet.parameters())
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.1)
    adapter.zero_grad()
    backward()
    silent = [name for name, p in adapter.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not silent, "everything has a share in what is painted"


def test_groups_that_are_dropped_change_nothing(painter: Painter, data: Path) -> None:
    adapter = StyleAdapter(config_of(painter)).requires_grad_(False)
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.3)
    front, _ = train_style.front_end(painter, "latents", None)
    teacher = train_style.StyleTeacher(painter, adapter, front, {})
    draw = StyleScenes(read_records(data), painter, adapter.config, Recipe(sides=(32,))).draw(
        4, torch.Generator().manual_seed(0)
    )
    watched = teacher.watched(draw)
    other, none = draw.with_references([1, 2, 3, 0]), dict.fromkeys(GROUPS, torch.zeros(4))
    errors = []
    for reference in (draw, other):
        with ExitStack() as scope:
            errors.append(teacher.error(draw, torch.tensor([9] * 4), draw.clean, reference, none, scope))
    bare, again = errors
    assert torch.equal(bare, again)
    assert watched["true"] != watched["none"] and watched["true"] != watched["shuffled"]


def test_a_tower_of_clip_teaches_and_stays_as_it_is(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 112,
        "patch_size": 14,
    }  # fmt: skip
    CLIPVisionModel(CLIPVisionConfig(**shape)).save_pretrained(tmp_path / "tower")
    before = load_file(tmp_path / "tower" / "model.safetensors")
    settings = STEPS.format(steps=2).replace('"latents"', '"clip_vision"').replace("frame = 64", "frame = 112")
    settings = settings.replace("crop = 24", "crop = 112")
    words = arguments(tiny_base, data, tmp_path / "run", settings)
    with pytest.raises(ProductBackgroundError, match="give --clip-vision, the folder"):
        train_style.main(words)
    train_style.main([*words, "--clip-vision", str(tmp_path / "tower")])
    _, adapter = load_style(tmp_path / "run" / "style.safetensors")
    assert (adapter.config.front, adapter.config.features) == ("clip_vision", 32)
    assert any(bool(layer.to_v.weight.any()) for layer in adapter.layers.values())
    after = load_file(tmp_path / "tower" / "model.safetensors")
    assert all(torch.equal(value, after[key]) for key, value in before.items())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("width = 32", "missing"),
        ("colour = 1", r"unknown options \['colour'\]"),
        ('precision = "half"', "precision is 'half', accepted are float32 and bfloat16"),
    ],
)
def test_bad_settings_are_named(options: str, said: str) -> None:
    import tomllib

    values = tomllib.loads(STEPS.format(steps=1))["options"]
    values = tomllib.loads(options) if said == "missing" else values | tomllib.loads(options)
    with pytest.raises(ProductBackgroundError, match=said):
        train_style.read_options(values, "here")


def test_prediction_is_comfyuis(loaded: SimpleNamespace) -> None:
    """Same weights, tokens and region: the numbers of ComfyUI's UNet under our patches; layers by the host's names."""
    from product_background.nodes import attention_patch, guided_attention, unet_layers

    from bg_core.region_plan import Chunk, Plan

    torch.manual_seed(2)
    unet = copy.deepcopy(loaded.base.unet).requires_grad_(False)
    host = loaded.model.model
    network = host.diffusion_model.float()
    modules = unet_layers.modules_of(host)
    expected = tuple((*name, m.heads * m.dim_head) for name, m in modules.items())
    assert adapter_layers(unet) == expected
    adapter = StyleAdapter(StyleConfig(expected, width=32)).requires_grad_(False)
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.15)
    tokens = {
        g: Tokens(torch.randn(1, n, 32), torch.rand(1, n) > 0.3 * (g == "layout"))
        for g, n in adapter.config.tokens.items()
    }
    strengths = {"style": 0.8, "layout": 1.2}
    x, context, t = torch.randn(1, 33, 13, 19), torch.randn(1, 77, 128) * 2, torch.tensor([300.0])
    mask = torch.rand(1, 104, 152)
    regions = guide_layers(unet)
    stock = unet(x, t, encoder_hidden_states=context).sample
    pooled = torch.nn.functional.avg_pool2d(mask, 8)
    with styling(regions, adapter, tokens, strengths, pooled, layer_names(unet)):
        ours = unet(x, t, encoder_hidden_states=context).sample
    guide = StyleGuide(adapter, tokens, strengths, pooled)
    keys = guide.keys({name: m.heads for name, m in modules.items()}, torch.float32, torch.device("cpu"))
    style = StylePlan([StyledChunk(True)], 1, [guide], [keys], (13, 19), (13, 19))
    plan = Plan([Chunk(None, 77)], 1, 77, (), (13, 19), (13, 19))
    patches = {
        layer: guided_attention.GuidedAttention(plan, layer, None, None, (), style)
        for layer in attention_patch.cross_attention_layers(host)
    }
    theirs = network(x, t, context=context, transformer_options={"patches_replace": {"attn2": patches}})
    assert float((ours - stock).abs().max()) > 1e-3
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)


def test_copies_are_found_where_they_are_shifted_and_nowhere_else() -> None:
    torch.manual_seed(0)
    reference, where = torch.rand(1, 3, 96, 96), torch.ones(1, 1, 96, 96)
    shifted = reference.roll((4, -6), (2, 3))
    assert float(copied(shifted, reference, where)) > 0.8
    assert float(copied(torch.rand(1, 3, 96, 96), reference, where)) < 0.3
    vase = torch.rand(1, 3, 96, 96)
    vase[:, :, 10:46, 12:48] = reference[:, :, 20:56, 28:64]
    assert float(copied(vase, reference, where)) > 0.6, "one thing alone, copied and moved"
    flat = torch.full_like(reference, 0.5)
    assert float(copied(flat, flat, where)) == 0, "two plain walls are no copy"
    assert copied(flat, flat, torch.zeros_like(where)).isnan().all()


def test_layouts_overlap_where_things_stand_alike() -> None:
    def scene(left: bool) -> Any:
        picture = torch.full((1, 3, 96, 96), 0.5)
        part = slice(8, 40) if left else slice(56, 88)
        picture[:, :, 40:72, part] = torch.rand(1, 3, 32, 32)
        return picture

    where, everywhere = torch.ones(1, 1, 96, 96), torch.ones(1, 12, 12, dtype=torch.bool)
    left, again, right = (occupied(scene(side), where) for side in (True, True, False))
    assert float(layout_iou(left, again, everywhere)) > 0.3
    assert float(layout_iou(left, again, everywhere)) > float(layout_iou(left, right, everywhere)) + 0.2


@pytest.mark.skipif(FULL_SIZE not in os.environ, reason=f"10 GB of memory and minutes: set {FULL_SIZE}=1")
@pytest.mark.timeout(3600)
def test_stable_diffusion_at_full_size_with_random_weights(
    comfyui: Path, family: Any, data: Path, tmp_path: Path
) -> None:
    """Two steps, saved, loaded through ComfyUI's stock loader, run."""
    import comfy.sd
    from product_background.nodes import style
    from product_background.nodes.style_files import style_weights

    from tests.host import attention_lab as lab

    base = random_checkpoint(tmp_path / "sd15.safetensors")
    train(base, data, tmp_path / "run", STEPS.format(steps=2).replace("[32]", "[64]").replace("batch = 4", "batch = 2"))
    model, clip, vae, _ = comfy.sd.load_checkpoint_guess_config(str(base), output_vae=True, output_clip=True)
    weights = style_weights(str(tmp_path / "run" / "style.safetensors"))
    assert weights.base == "sd15" and weights.adapter.config.latent_scale == pytest.approx(0.18215)
    reference = style.EncodeStyleReference.execute(torch.rand(1, 96, 64, 3), None, weights, vae).args[0]
    styled = style.ApplyStyleReference.execute(model, reference, 1.0, 1.0, 0.0, 0.0, 1.0).args[0]
    positive, negative = (clip.encode_from_tokens_scheduled(clip.tokenize(said)) for said in ("a mug", ""))
    latents = lab.sample(styled, positive, negative, (8, 8), steps=2)
    assert bool(latents.isfinite().all()) and vae.decode(latents).shape == (1, 64, 64, 3)


def test_the_baseline_with_one_reader_learns_and_is_no_style_file(tiny_base: Path, data: Path, tmp_path: Path) -> None:
    settings = STEPS.format(steps=2)
    train(tiny_base, data, tmp_path / "mixed", settings.replace('form = "groups"', 'form = "mixed"'))
    file = tmp_path / "mixed" / "style.safetensors"
    header, adapter = load_mixed(file)
    assert header.training["steps"] == 2 and any(bool(layer.to_v.weight.any()) for layer in adapter.layers.values())
    with pytest.raises(ProductBackgroundError, match=r"holds 'style_mixed' weights"):
        load_style(file)
    mixed = settings.replace('form = "groups"', 'form = "mixed"')
    train_style.main([*arguments(tiny_base, data, tmp_path / "more", mixed), "--start", str(file)])
    _, more = load_mixed(tmp_path / "more" / "style.safetensors")
    assert adapter.config == more.config and not torch.equal(adapter.encoder.place.weight, more.encoder.place.weight)
    with pytest.raises(ProductBackgroundError, match=r"holds 'style_mixed' weights"):
        train_style.main([*arguments(tiny_base, data, tmp_path / "other", settings), "--start", str(file)])
    with pytest.raises(ProductBackgroundError, match=r"no form 'both'; accepted are groups, mixed"):
        train(tiny_base, data, tmp_path / "mixed", settings.replace('form = "groups"', 'form = "both"'))
    with pytest.raises(ProductBackgroundError, match="precision is 'half', accepted are"):
        train(tiny_base, data, tmp_path / "mixed", settings.replace("[options]", '[options]\nprecision = "half"'))
