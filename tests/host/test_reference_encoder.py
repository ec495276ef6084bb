"""Networks that read references: those that don't fit are refused by name, and little memory is enough for ours."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError
from product_background.bg_core.style_adapter import StyleAdapter
from product_background.bg_core.style_config import StyleConfig

LAYERS = (("input", 1, 0, 32),)
TOWER = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 112,
    "patch_size": 14, "num_channels": 3, "hidden_act": "quick_gelu", "model_type": "clip_vision_model",
    "projection_dim": 16,
}  # fmt: skip
DINO = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "layer_norm_eps": 1e-6,
    "use_swiglu_ffn": False, "model_type": "dinov2",
}  # fmt: skip


@pytest.fixture(scope="module")
def encoder(comfyui: Path) -> ModuleType:
    return importlib.import_module("product_background.nodes.reference_encoder")


def weights_of(config: StyleConfig, load_device: str = "cpu") -> Any:
    """As a loader returns them; random."""
    import comfy.model_patcher
    from product_background.nodes.style_files import StyleWeights

    torch.manual_seed(4)
    adapter = StyleAdapter(config).eval().requires_grad_(False)
    patcher = comfy.model_patcher.ModelPatcher(adapter, torch.device(load_device), torch.device("cpu"))
    return StyleWeights("ours.safetensors", "sd15", patcher)


@pytest.fixture
def tower(encoder: ModuleType, tmp_path: Path) -> Callable[[dict[str, Any]], Any]:
    """A network as Load CLIP Vision returns it, of a configuration as ComfyUI holds them."""
    import comfy.clip_vision

    def made(config: dict[str, Any]) -> Any:
        (tmp_path / "config.json").write_text(json.dumps(config))
        return comfy.clip_vision.ClipVisionModel(str(tmp_path / "config.json"))

    return made


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"hidden_size": 64}, "this one has 64 hidden channels"),
        ({"patch_size": 16}, "this one has patches of 16 pixels"),
        ({"image_size": 224}, "this one has pictures of 224x224"),
        ({"model_type": "siglip_vision_model"}, r"this one has no class token \(SigLIP\)"),
        (DINO, r"this one is no such tower \(Dinov2Model\)"),
    ],
    ids=["channels", "patches", "pictures", "class token", "another network"],
)
def test_towers_that_do_not_fit_are_refused_by_what_they_are(
    encoder: ModuleType, tower: Callable[..., Any], changes: dict[str, Any], found: str
) -> None:
    config = StyleConfig(LAYERS, front="clip_vision", features=32, frame=112, crop=112, width=32)
    network = tower(DINO if changes is DINO else {**TOWER, **changes})
    picture, mask = torch.rand(1, 3, 120, 120), torch.zeros(1, 1, 120, 120)
    with pytest.raises(ProductBackgroundError) as said:
        encoder.encode_tokens(weights_of(config), picture, mask, None, network)
    said.match(found)
    said.match(r"32 hidden channels, a class token, patches of 14 pixels and pictures of 112x112 pixels")
    said.match(r"ours\.safetensors reads.*Load the tower that it was trained with.*Load CLIP Vision")
    tokens, _ = encoder.encode_tokens(weights_of(config), picture, mask, None, tower(TOWER))
    assert set(tokens) == {"style", "layout", "elements"}


def test_weights_that_no_tower_fits_say_both_their_sides(encoder: ModuleType, tower: Callable[..., Any]) -> None:
    config = StyleConfig(LAYERS, front="clip_vision", features=32, frame=112, crop=56, width=32)
    with pytest.raises(
        ProductBackgroundError, match="pictures of 56x56 and 112x112 pixels; this one has pictures of 112"
    ):
        encoder._front(config, weights_of(config), None, tower(TOWER))


def vae_of(channels: int, cell: int = 8, *more: int) -> SimpleNamespace:
    """A VAE as ComfyUI holds it, whose latents have `more` sizes before height and width."""

    def encode(pictures: torch.Tensor) -> torch.Tensor:
        count, height, width, _ = pictures.shape
        return torch.zeros(count, channels, *more, height // cell, width // cell)

    return SimpleNamespace(latent_channels=channels, encode=encode)


@pytest.mark.parametrize(
    ("vae", "said"),
    [
        ((4,), "a VAE with 16 latent channels; this one has 4. It fits the base 'sd15': connect that base's own"),
        ((16, 8, 1), "latents of 1x16x16 cells of a picture of 128x128 pixels. Expected are 16x16, one for 8 pixels"),
        ((16, 16), "latents of 8x8 cells of a picture of 128x128 pixels.*Connect the checkpoint's own"),
    ],
    ids=["channels", "video", "larger cells"],
)
def test_vaes_that_do_not_fit_are_refused_by_what_they_make(
    encoder: ModuleType, vae: tuple[int, ...], said: str
) -> None:
    weights = weights_of(StyleConfig(LAYERS, width=32, crop=128))
    picture, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    with pytest.raises(ProductBackgroundError, match=said):
        encoder.encode_tokens(weights, picture, mask, vae_of(*vae), None)


def test_vaes_of_videos_are_refused_without_weights_too(encoder: ModuleType) -> None:
    picture, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    with pytest.raises(ProductBackgroundError, match=r"latents of 1x24x24 cells.*Expected are 24x24"):
        encoder.encode_latents(picture, mask, vae_of(16, 8, 1))


def test_weights_that_the_host_leaves_behind_are_fetched(encoder: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With little memory ComfyUI loads none or a part of a model's weights; PyTorch's meta device stands for a GPU: it
    refuses tensors from elsewhere as a GPU does."""
    import comfy.model_management

    weights = weights_of(StyleConfig(LAYERS, width=32), "meta")
    loaded: list[int] = []

    def load(patchers: list[Any], *args: Any, **kwargs: Any) -> None:
        for patcher in patchers:
            patcher.load(patcher.load_device, lowvram_model_memory=1)
            loaded.append(patcher.loaded_size())

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load)
    monkeypatch.setattr(comfy.model_management, "intermediate_device", lambda: torch.device("meta"))
    picture, mask = torch.rand(1, 3, 128, 128), torch.zeros(1, 1, 128, 128)
    tokens, _ = encoder.encode_tokens(weights, picture, mask, vae_of(16), None)
    assert loaded == [0], "nothing is left behind"
    assert {parameter.device.type for parameter in weights.adapter.parameters()} == {"cpu"}
    assert {group.values.device.type for group in tokens.values()} == {"meta"}
    assert tokens["style"].values.shape == (1, 5, 32)
