"""The weights that come with the pack: what they are for, what they fit, how large they are."""

from __future__ import annotations

import pytest
import torch

from bg_core.style_config import load_style
from bg_core.vocabulary import CategoryVocabulary
from training.export_run import BUNDLED
from training.lora import LAYERS, load_lora
from training.painters import load_painter
from training.render.categories import CATEGORIES
from training.style.unet import adapter_layers

MODELS = BUNDLED.parent.parent
IDENTIFIERS = MODELS / "category_weights" / "product_background_demo_categories.safetensors"
LORA = MODELS / "loras" / "product_background_demo_categories_lora.safetensors"
STYLE = MODELS / "style_weights" / "product_background_demo_style.safetensors"


def test_sizes_keep_to_the_limits() -> None:
    files = [path for path in MODELS.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors"}
    assert BUNDLED.stat().st_size < 45e6
    assert sum(path.stat().st_size for path in files) < 60e6


@pytest.fixture(scope="module")
def identifiers() -> CategoryVocabulary:
    return CategoryVocabulary.open(IDENTIFIERS)


def test_every_category_of_the_studio_has_an_identifier_that_learned(identifiers: CategoryVocabulary) -> None:
    assert identifiers.names() == sorted(CATEGORIES)
    vectors = torch.stack([identifiers.identifier(row) for row in range(len(identifiers))])
    assert vectors.shape[1:] == (identifiers.vectors, identifiers.width)
    # as far from each other as from nothing: none is a copy of another
    apart = torch.cdist(vectors.flatten(1), vectors.flatten(1)) + 1e9 * torch.eye(len(vectors))
    assert float(apart.min()) > 0.5 * float(vectors.std())
    assert identifiers.header.training["steps"] > 0 and identifiers.header.training["licence"] == "Apache-2.0"


def test_identifiers_and_style_weights_are_of_the_bundled_base(identifiers: CategoryVocabulary) -> None:
    painter = load_painter(BUNDLED)
    assert identifiers.base == painter.family and identifiers.width == painter.unet.config.cross_attention_dim
    header, adapter = load_style(STYLE)
    assert header.base == painter.family and adapter.config.layers == adapter_layers(painter.unet)


def test_the_lora_is_the_identifiers_own_and_reaches_every_layer(identifiers: CategoryVocabulary) -> None:
    assert identifiers.header.config["lora"] == LORA.name
    painter = load_painter(BUNDLED)
    layers = {name: module for name, module in painter.unet.named_modules() if name.endswith(LAYERS)}
    before = {name: layer.weight.clone() for name, layer in layers.items()}
    load_lora(painter.unet, LORA, painter.family)
    # additions start at zero: a layer that stayed there would have learned nothing
    assert [name for name, layer in layers.items() if torch.equal(layer.weight, before[name])] == []


def test_style_weights_learned_and_speak_through_every_layer() -> None:
    """The values' projections start at zero: one that stayed there would be silent."""
    header, adapter = load_style(STYLE)
    assert header.training["steps"] > 0 and header.training["licence"] == "Apache-2.0"
    loudness = {name: float(layer.to_v.weight.abs().max()) for name, layer in adapter.layers.items()}
    assert min(loudness.values()) > 0, loudness


def test_nothing_else_is_bundled() -> None:
    assert {str(path.relative_to(MODELS)) for path in MODELS.rglob("*.safetensors")} == {
        str(path.relative_to(MODELS)) for path in (BUNDLED, IDENTIFIERS, LORA, STYLE)
    }
