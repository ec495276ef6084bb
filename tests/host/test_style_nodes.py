"""The style nodes as a graph runs them: from a picture to a reference to a model that paints in its style."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.style_adapter import StyleAdapter
from product_background.bg_core.style_config import StyleConfig, save_style
from safetensors.torch import save_file

SETTINGS = {"style": 1.0, "layout": 1.0, "elements": 0.0, "start_percent": 0.0, "end_percent": 1.0}


@pytest.fixture(scope="module")
def nodes(comfyui: Path) -> ModuleType:
    return importlib.import_module("product_background.nodes.style")


@pytest.fixture(scope="module")
def adapter(nodes: ModuleType, loaded: SimpleNamespace) -> StyleAdapter:
    """Random weights for the demonstration base."""
    modules = nodes.modules_of(loaded.model.model)
    torch.manual_seed(5)
    made = StyleAdapter(StyleConfig(tuple((*name, m.heads * m.dim_head) for name, m in modules.items()), width=32))
    for layer in made.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.2)
    return made


@pytest.fixture
def folder(nodes: ModuleType, adapter: StyleAdapter, tmp_path: Path) -> Iterator[Path]:
    """The kind `style_weights` with a good file and two that aren't."""
    import folder_paths

    save_style(tmp_path / "good.safetensors", adapter, base="product-background-demo", training={})
    save_file({"w": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "good.safetensors").read_bytes()[:500])
    before = dict(folder_paths.folder_names_and_paths)
    folder_paths.folder_names_and_paths["style_weights"] = ([str(tmp_path)], {".safetensors"})
    yield tmp_path
    folder_paths.folder_names_and_paths.clear()
    folder_paths.folder_names_and_paths.update(before)


def packshot(seed: int = 0, height: int = 160, width: int = 120) -> torch.Tensor:
    """A box on plain grey, IMAGE [1,H,W,3]."""
    picture = torch.full((1, height, width, 3), 0.8)
    colours = torch.rand(80, 50, 3, generator=torch.Generator().manual_seed(seed)) * 0.5
    picture[0, 50:130, 35:85] = colours
    return (picture * 255).round() / 255


def scene(seed: int = 1, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 160, 120, 3, generator=torch.Generator().manual_seed(seed))


def sampled(loaded: SimpleNamespace, model: Any) -> torch.Tensor:
    import comfy.sample

    positive, negative = (
        loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(text)) for text in ("a photo of a mug", "")
    )
    latent = torch.zeros(1, 16, 24, 24)
    noise = comfy.sample.prepare_noise(latent, seed=0)
    return comfy.sample.sample(model, noise, 2, 3.0, "euler", "sgm_uniform", positive, negative, latent, seed=0)


def test_files_are_known_by_content_and_others_refused_with_the_folders(nodes: ModuleType, folder: Path) -> None:
    assert nodes.FOLDER.files() == ["good.safetensors"]
    assert nodes.LoadStyleWeights.validate_inputs("good.safetensors") is True
    for name, said in (("foreign.safetensors", "not a weight file"), ("cut.safetensors", "truncated"),
                       ("../good.safetensors", "There is no style file")):  # fmt: skip
        answer = nodes.LoadStyleWeights.validate_inputs(name)
        assert said in answer and str(folder) in answer and "train_style" in answer
    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0]
    assert weights.base == "product-background-demo" and weights.adapter.config.width == 32


def test_reference_by_weights_paints_and_strength_0_hands_the_model_on(
    nodes: ModuleType, folder: Path, loaded: SimpleNamespace
) -> None:
    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0]
    reference, seen, report = nodes.EncodeStyleReference.execute(scene(), None, weights, loaded.vae).args
    assert seen.shape == (1, 128, 128, 3) and "none found" in report and "product_mask" in report
    mask = torch.zeros(1, 192, 192)
    mask[..., :96] = 1
    styled = nodes.ApplyStyleReference.execute(loaded.model, reference, **SETTINGS, background_mask=mask).args[0]
    stock = sampled(loaded, loaded.model)
    assert float((sampled(loaded, styled) - stock).abs().max()) > 1e-3
    assert [patcher.model for patcher in styled.get_additional_models()] == [weights.adapter]
    nothing = {**SETTINGS, "style": 0.0, "layout": 0.0}
    assert nodes.ApplyStyleReference.execute(loaded.model, reference, **nothing).args[0] is loaded.model


@pytest.mark.parametrize("trained", [True, False])
def test_each_setting_goes_where_its_name_says(
    nodes: ModuleType, folder: Path, loaded: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, trained: bool
) -> None:
    """Named in words and in the order of the inputs."""
    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0] if trained else None
    reference = nodes.EncodeStyleReference.execute(scene(), None, weights, loaded.vae).args[0]
    given: list[Any] = []
    monkeypatch.setattr(nodes, "styled", lambda model, guide, *patcher: given.append(guide))
    mask = torch.rand(1, 48, 48)
    names = [entry.id for entry in nodes.ApplyStyleReference.define_schema().inputs]
    assert names[2:8] == ["style", "layout", "elements", "start_percent", "end_percent", "background_mask"]
    settings = (0.3, 0.7, 0.9, 0.1, 0.6, mask)
    nodes.ApplyStyleReference.execute(loaded.model, reference, *settings)
    nodes.ApplyStyleReference.execute(
        model=loaded.model, reference=reference, **dict(zip(names[2:8], settings, strict=True))
    )
    for guide in given:
        assert (guide.start, guide.end) == (0.1, 0.6) and torch.equal(guide.mask, mask)
        if trained:
            assert guide.strengths == {"style": 0.3, "layout": 0.7, "elements": 0.9}
        else:
            assert guide.strength == 0.3
    assert len(given) == 2


def test_tokens_are_those_of_training(
    nodes: ModuleType, folder: Path, loaded: SimpleNamespace, adapter: StyleAdapter
) -> None:
    """ComfyUI's VAE and ours make the same tokens of a picture."""
    from bg_core.style_features import latent_features
    from bg_core.style_views import cleared, standard_views

    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0]
    picture = (scene() * 255).round() / 255
    ours = nodes.EncodeStyleReference.execute(picture, None, weights, loaded.vae).args[0].tokens
    clear = cleared(picture.movedim(-1, 1), None, 128, 128)
    with torch.no_grad():
        theirs = weights.adapter.encoder(
            standard_views(*clear, adapter.config), latent_features(loaded.base.autoencoder.encode)
        )
    for group, tokens in theirs.items():
        assert torch.equal(ours[group].kept, tokens.kept)
        torch.testing.assert_close(ours[group].values, tokens.values, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("trained", [True, False])
def test_product_is_cut_off_its_plain_background_and_another_leaves_no_trace(
    nodes: ModuleType, folder: Path, loaded: SimpleNamespace, trained: bool
) -> None:
    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0] if trained else None
    one, _, report = nodes.EncodeStyleReference.execute(packshot(0), None, weights, loaded.vae).args
    assert "cut off its plain background" in report
    mask = torch.zeros(1, 160, 120)
    mask[:, 50:130, 35:85] = 1
    first, second = (
        nodes.EncodeStyleReference.execute(packshot(seed), mask, weights, loaded.vae).args[0] for seed in (0, 1)
    )
    if trained:
        for group in ("style", "layout", "elements"):
            assert torch.equal(first.tokens[group].values, second.tokens[group].values)
        assert not one.tokens["layout"].kept.all()
    else:
        assert torch.equal(first.latents, second.latents) and bool(one.hole.any())


def test_reference_without_weights_paints_on_the_demonstration_base(nodes: ModuleType, loaded: SimpleNamespace) -> None:
    """An inpainting model: nothing of the reference is to be painted."""
    reference, seen, _ = nodes.EncodeStyleReference.execute(packshot(), None, None, loaded.vae).args
    assert reference.latents.shape[1] == 16
    width, height = seen.shape[2], seen.shape[1]
    assert width < height and 0.6 < width * height / 192**2 < 1.5
    styled = nodes.ApplyStyleReference.execute(loaded.model, reference, **SETTINGS).args[0]
    assert float((sampled(loaded, styled) - sampled(loaded, loaded.model)).abs().max()) > 1e-3
    nothing = {**SETTINGS, "style": 0.0}
    assert nodes.ApplyStyleReference.execute(loaded.model, reference, **nothing).args[0] is loaded.model


def test_what_does_not_fit_is_refused_before_sampling(nodes: ModuleType, folder: Path, loaded: SimpleNamespace) -> None:
    from tests.host import attention_lab as lab

    weights = nodes.LoadStyleWeights.execute("good.safetensors").args[0]
    encode, apply = nodes.EncodeStyleReference.execute, nodes.ApplyStyleReference.execute
    for given, said in (
        ((scene(), None, weights, None), "Input vae isn't connected, and good.safetensors needs it"),
        ((scene(), None, None, None), "Input vae isn't connected"),
        ((scene(), torch.ones(1, 8, 8), weights, loaded.vae), "product_mask is 8x8 pixels, the image 120x160"),
        ((scene()[..., :1], None, weights, loaded.vae), "image has the shape"),
        ((scene(), almost_all(), weights, loaded.vae), r"The product covers 9\d% of reference 0"),
    ):
        with pytest.raises(ProductBackgroundError, match=said):
            encode(*given)
    reference, plain = (encode(scene(), None, w, loaded.vae).args[0] for w in (weights, None))
    sd15 = lab.new_model()
    with pytest.raises(ProductBackgroundError, match=r"fits the base 'product-background-demo'.*16 of"):
        apply(sd15, reference, **SETTINGS)
    with pytest.raises(ProductBackgroundError, match="16 latent channels, the model works on 4"):
        apply(sd15, plain, **SETTINGS)
    with pytest.raises(ProductBackgroundError, match="would never act"):
        apply(loaded.model, reference, **{**SETTINGS, "start_percent": 0.7, "end_percent": 0.2})
    with pytest.raises(ProductBackgroundError, match="background_mask is empty"):
        apply(loaded.model, reference, **SETTINGS, background_mask=torch.zeros(1, 64, 64))


def almost_all() -> torch.Tensor:
    mask = torch.ones(1, 160, 120)
    mask[:, :6, :] = 0
    mask[:, :, :4] = 0
    return mask


@pytest.fixture(scope="module")
def tower(comfyui: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small random CLIP vision tower, as ComfyUI holds it and as transformers does."""
    import json

    import comfy.clip_vision
    from transformers import CLIPVisionConfig, CLIPVisionModel

    shape = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 112,
        "patch_size": 14, "num_channels": 3, "hidden_act": "quick_gelu",
    }  # fmt: skip
    torch.manual_seed(1)
    theirs = CLIPVisionModel(CLIPVisionConfig(**shape)).eval().requires_grad_(False)
    for parameter in theirs.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    folder = tmp_path_factory.mktemp("tower")
    theirs.save_pretrained(folder)
    config = folder / "host.json"
    config.write_text(json.dumps({**shape, "model_type": "clip_vision_model", "projection_dim": 16}))
    host = comfy.clip_vision.ClipVisionModel(str(config))
    missing = host.load_sd(theirs.state_dict()).missing_keys
    assert not [key for key in missing if "projection" not in key]
    host.model.float()
    return SimpleNamespace(host=host, folder=folder)


def test_clip_vision_hides_the_product_in_every_layer_and_is_trainings(
    nodes: ModuleType, loaded: SimpleNamespace, tower: SimpleNamespace
) -> None:
    import comfy.model_patcher

    from bg_core.style_views import cleared, standard_views
    from training.style.front import front_end

    modules = nodes.modules_of(loaded.model.model)
    layers = tuple((*name, m.heads * m.dim_head) for name, m in modules.items())
    torch.manual_seed(6)
    config = StyleConfig(layers, front="clip_vision", features=32, frame=112, crop=112, width=32)
    adapter = StyleAdapter(config).eval().requires_grad_(False)
    cpu = torch.device("cpu")
    weights = nodes.StyleWeights("clip.safetensors", "sd15", comfy.model_patcher.ModelPatcher(adapter, cpu, cpu))
    mask = torch.zeros(1, 160, 120)
    mask[:, 50:130, 35:85] = 1
    first, second = (
        nodes.EncodeStyleReference.execute(packshot(s), mask, weights, None, tower.host).args[0].tokens for s in (0, 1)
    )
    front, about = front_end(loaded.base, "clip_vision", tower.folder)
    assert about == {"features": 32}
    pictures = (packshot() * 255).round() / 255
    theirs = adapter.encoder(standard_views(*cleared(pictures.movedim(-1, 1), mask[:, None], 112, 112), config), front)
    for group, tokens in theirs.items():
        assert torch.equal(first[group].values, second[group].values)
        torch.testing.assert_close(first[group].values, tokens.values, atol=2e-3, rtol=2e-3)
    with pytest.raises(ProductBackgroundError, match="Input clip_vision isn't connected"):
        nodes.EncodeStyleReference.execute(packshot(), None, weights, loaded.vae)


def test_latents_are_read_in_the_units_of_the_unet(nodes: ModuleType, adapter: StyleAdapter) -> None:
    """Stable Diffusion's VAE gives others, and the trainers scale them."""
    from dataclasses import replace

    from product_background.nodes import reference_encoder

    class Coder:
        latent_channels = 16

        def encode(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(pictures), 16, 2, 2)

    weights = SimpleNamespace(name="x", base="y")
    config = replace(adapter.config, latent_scale=0.18215)
    front = reference_encoder._front(config, weights, Coder(), None)
    found = front(torch.rand(1, 3, 16, 16), torch.zeros(1, 1, 16, 16))
    assert float(found.mean()) == pytest.approx(0.18215)
