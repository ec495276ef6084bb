"""What the style trainer draws: targets, references that lack what each view may not say, captions, holes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bg_core.style_config import GROUPS, StyleConfig
from training.data import load_masks, load_pictures, read_records
from training.framing import is_mirrored
from training.painters import Painter, load_painter
from training.style.batch import Recipe, StyleScenes, hue_shifted, product_caption
from training.style.unet import adapter_layers


@pytest.fixture
def painter(tiny_base: Path) -> Painter:
    return load_painter(tiny_base)


def config_of(painter: Painter) -> StyleConfig:
    return StyleConfig(adapter_layers(painter.unet), features=4, frame=64, crop=24, width=32)


def test_draws_follow_the_recipe(painter: Painter, data: Path) -> None:
    records, config = read_records(data), config_of(painter)
    scenes = StyleScenes(records, painter, config, Recipe(sides=(32,)))
    draw = scenes.draw(24, torch.Generator().manual_seed(3))
    again = scenes.draw(24, torch.Generator().manual_seed(3))
    assert torch.equal(draw.clean, again.clean) and draw.captions == again.captions
    assert draw.clean.shape == (24, 4, 4, 4) and draw.background.shape == (24, 4, 4)
    captions = [product_caption(records[0]), "", *{c for c in draw.captions if "oak" in c}]
    assert set(draw.captions) <= set(captions) and len(set(draw.captions)) >= 3
    assert captions[0] == "a photo of a mug"
    assert draw.views.style.pictures.shape == (24, 6, 3, 24, 24)
    layout = draw.views.layout.pictures
    assert torch.equal(layout[:, :, 0], layout[:, :, 2]), "no colours"
    shares = torch.stack([draw.kept[group] for group in GROUPS]).mean()
    assert 0.4 < float(shares) < 0.9
    hidden = (draw.views.layout.hole.flatten(1).sum(1) == 0).float().mean()
    assert 0 < float(hidden) < 0.6


def views_of(painter: Painter, data: Path, pictures: torch.Tensor | None = None, **recipe: float) -> Any:
    """Views of eight rows, recoloured or not, drawn from the same numbers; `pictures` in place of the data's own."""
    records = read_records(data)[:8]
    scenes = StyleScenes(records, painter, config_of(painter), Recipe(sides=(64,), **recipe))
    own, products = load_pictures(records).float() / 255, load_masks(records).float() / 255
    pictures = own if pictures is None else torch.where(products > 0, pictures, own)
    return scenes._views(pictures, pictures, products, torch.Generator().manual_seed(5))


def test_another_product_leaves_the_views_as_they_are(painter: Painter, data: Path) -> None:
    views, other = views_of(painter, data), views_of(painter, data, torch.rand(8, 3, 64, 64))
    for name in ("style", "layout", "elements"):
        one, two = getattr(views, name), getattr(other, name)
        assert torch.equal(one.pictures, two.pictures) and torch.equal(one.hole, two.hole), name


def test_colours_are_the_style_views_alone(painter: Painter, data: Path) -> None:
    """A recoloured target has a recoloured style view, and the layout view of the picture as it was."""
    records = read_records(data)[:8]
    draws = []
    for share in (0.0, 1.0):
        recipe = Recipe(sides=(64,), recolour=share, full_caption=0.0)
        scenes = StyleScenes(records, painter, config_of(painter), recipe)
        draws.append(scenes.of(records, torch.Generator().manual_seed(5)))
    plain, recoloured = draws
    assert not torch.equal(plain.clean, recoloured.clean)
    assert torch.equal(plain.views.layout.pictures, recoloured.views.layout.pictures)
    for name in ("style", "elements"):
        one, two = (getattr(draw.views, name).pictures for draw in draws)
        assert float((one - two).abs().mean()) > 0.02, name


@pytest.mark.parametrize(("hide", "foreign"), [(0.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_holes_are_hidden_and_strange_ones_are_shown(painter: Painter, data: Path, hide: float, foreign: float) -> None:
    hole = views_of(painter, data, hide_hole=hide, foreign_hole=foreign).layout.hole.flatten(1).sum(1)
    alone = views_of(painter, data, hide_hole=0.0, foreign_hole=0.0).layout.hole.flatten(1).sum(1)
    if hide:
        assert not hole.any()
    elif foreign:
        assert bool((hole >= alone).all()) and bool((hole > alone).any())
    else:
        assert bool((hole > 0).all())


def test_mirrored_pictures_have_mirrored_captions(painter: Painter, data: Path) -> None:
    records = read_records(data)[:12]
    recipe = Recipe(sides=(32,), product_caption=0.0, full_caption=1.0)
    captions = (
        StyleScenes(records, painter, config_of(painter), recipe).of(records, torch.Generator().manual_seed(2)).captions
    )
    draws = torch.rand(12, 5, generator=torch.Generator().manual_seed(2)).tolist()
    sides = ["right" if is_mirrored(of) else "left" for of in draws]
    assert len(set(sides)) == 2
    assert captions == [f"a mug on oak, soft light from the {side}" for side in sides]


def test_recolouring_turns_hues_and_keeps_what_is_grey() -> None:
    generator = torch.Generator().manual_seed(0)
    grey = torch.full((3, 3, 4, 4), 0.5)
    turned = hue_shifted(grey, generator)
    assert torch.allclose(turned[:, 0], turned[:, 1], atol=1e-6) and torch.allclose(
        turned[:, 0], turned[:, 2], atol=1e-6
    )
    red = torch.zeros(8, 3, 4, 4)
    red[:, 0] = 0.8
    assert len(hue_shifted(red, generator).mean((2, 3)).argmax(1).unique()) > 1
