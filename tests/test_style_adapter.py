"""The style adapter: tokens without the product, attention as it is defined, files that are known by their content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bg_core.errors import ProductBackgroundError
from bg_core.style_adapter import StyleAdapter, attend, layer_keys
from bg_core.style_config import CLIP_VISION, StyleConfig, load_style, save_style
from bg_core.style_encoder import Tokens, grid_positions
from bg_core.style_features import clip_features, latent_features
from bg_core.style_plan import StyledChunk, StyleGuide, StylePlan
from bg_core.style_views import cleared, standard_views

LAYER = ("input", 1, 0)
LATENT = StyleConfig(((*LAYER, 64), ("middle", 0, 0, 64)), width=32)
CLIP = StyleConfig(((*LAYER, 64),), front=CLIP_VISION, features=24, frame=112, crop=56, crop_share=0.375, width=32)


def adapter_of(config: StyleConfig = LATENT, seed: int = 0) -> StyleAdapter:
    """With values that aren't zero, as after training."""
    torch.manual_seed(seed)
    adapter = StyleAdapter(config).eval().requires_grad_(False)
    for layer in adapter.layers.values():
        torch.nn.init.normal_(layer.to_v.weight, std=0.2)
    return adapter


def latents(pictures: Tensor) -> Tensor:
    """A stand-in for a VAE's encoder: a random projection of patches of 8x8 pixels, the neighbours' edges included."""
    weight = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(4)) * 0.2
    return torch.nn.functional.conv2d(pictures - 0.5, weight, stride=8, padding=2)


class Tower:
    """A stand-in for CLIP's vision tower: patches that attend to each other in two layers, the hole masked in both."""

    def __init__(self, features: int = 24) -> None:
        generator = torch.Generator().manual_seed(3)
        self.patch = torch.randn(features, 3 * 14 * 14, generator=generator) * 0.05
        self.start = torch.randn(features, generator=generator)

    def __call__(self, pixels: Tensor, kept: Tensor) -> Tensor:
        patches = torch.nn.functional.unfold(pixels, 14, stride=14).transpose(1, 2) @ self.patch.T
        x = torch.cat([self.start.expand(len(pixels), 1, -1), patches], 1)
        for _ in range(2):
            q = torch.nn.functional.normalize(x, dim=-1)[:, None]
            x = x + torch.nn.functional.scaled_dot_product_attention(q, q, x[:, None], kept[:, None, None])[:, 0]
        return x


@pytest.mark.parametrize("front", ["latents", "clip_vision"])
def test_swapping_the_product_leaves_the_tokens_bit_equal(front: str) -> None:
    torch.manual_seed(0)
    config, features = (LATENT, latent_features(latents)) if front == "latents" else (CLIP, clip_features(Tower()))
    adapter = adapter_of(config)
    picture, mask = torch.rand(2, 3, 150, 120), torch.zeros(2, 1, 150, 120)
    mask[:, :, 50:110, 30:80] = 1
    swapped = torch.where(mask > 0, torch.rand_like(picture), picture)
    moved = torch.where(mask > 0, picture, torch.rand_like(picture))
    found = [
        adapter.encoder(standard_views(*cleared(p, mask, config.frame, config.frame), config), features)
        for p in (picture, swapped, moved)
    ]
    for group, count in config.tokens.items():
        ours, theirs, others = (tokens[group] for tokens in found)
        assert ours.values.shape == (2, count, 32)
        assert torch.equal(ours.values, theirs.values) and torch.equal(ours.kept, theirs.kept)
        assert float((ours.values - others.values).abs().max()) > 1e-2, "the background matters"
    assert not found[0]["layout"].kept.all() and found[0]["layout"].kept.any()


def test_style_knows_no_places() -> None:
    """The order of crops, and so where they lay, is nothing that the style tokens could tell."""
    adapter, encode = adapter_of(), latent_features(latents)
    views = standard_views(*cleared(torch.rand(1, 3, 128, 128), None, 128, 128), LATENT)
    style = views.style
    order = torch.randperm(style.pictures.shape[1])
    shuffled = type(views)(type(style)(style.pictures[:, order], style.hole[:, order]), views.layout, views.elements)
    ours, theirs = (adapter.encoder(v, encode)["style"].values for v in (views, shuffled))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def random_tokens(rows: int = 1, seed: int = 5) -> dict[str, Tokens]:
    generator = torch.Generator().manual_seed(seed)
    tokens = {}
    for group, count in LATENT.tokens.items():
        kept = torch.ones(rows, count, dtype=torch.bool)
        if group == "layout":
            kept = torch.rand(rows, count, generator=generator) > 0.3
        tokens[group] = Tokens(torch.randn(rows, count, 32, generator=generator), kept)
    return tokens


def by_definition(
    adapter: StyleAdapter, tokens: dict[str, Tokens], strengths: dict[str, float], q: Tensor, place: Tensor, heads: int
) -> Tensor:
    """Softmax by softmax, head by head; `q` [B,N,C]."""
    layer = adapter.layers["input_1_0"]
    out = torch.zeros_like(q)
    d = q.shape[-1] // heads
    for row in range(len(q)):
        for group, strength in strengths.items():
            given = tokens[group]
            of = row % len(given.values)
            values = given.values[of][given.kept[of]]
            k, v = layer.to_k(values), layer.to_v(values)
            query = q[row]
            if group == "layout":
                query = query + layer.place * layer.to_k(adapter.encoder.place(place))
            for head in range(heads):
                part = slice(head * d, (head + 1) * d)
                weights = (query[:, part] @ k[:, part].T / d**0.5).softmax(-1)
                out[row, :, part] += strength * weights @ v[:, part]
    return out


@pytest.mark.parametrize("references", [1, 2])
def test_attention_is_the_definitions(references: int) -> None:
    adapter, tokens = adapter_of(), random_tokens(references)
    strengths = {"style": 0.7, "layout": 1.3, "elements": 0.4}
    q, place = torch.randn(4, 12, 64), grid_positions(4, 3)
    keys = layer_keys(adapter, adapter.layers["input_1_0"], tokens, strengths, heads=4)
    expected = by_definition(adapter, tokens, strengths, q, place, 4)
    torch.testing.assert_close(attend(q, keys, place, 4), expected, atol=1e-5, rtol=1e-4)


def test_a_group_of_strength_0_is_not_there_and_all_of_0_are_nothing() -> None:
    adapter, tokens = adapter_of(), random_tokens()
    layer, q, place = adapter.layers["input_1_0"], torch.randn(1, 12, 64), grid_positions(4, 3)
    one = layer_keys(adapter, layer, tokens, {"style": 1.0, "layout": 0.0}, 4)
    alone = layer_keys(adapter, layer, {"style": tokens["style"]}, {"style": 1.0}, 4)
    assert torch.equal(attend(q, one, place, 4), attend(q, alone, place, 4))
    assert one.k.shape[-1] == 5
    assert layer_keys(adapter, layer, tokens, {"style": 0.0, "layout": 0.0, "elements": 0.0}, 4) is None


def test_strengths_row_by_row_and_a_layout_that_is_all_hole() -> None:
    """As training drops groups: one row has them, the next doesn't."""
    adapter, tokens = adapter_of(), random_tokens(2)
    layer, q, place = adapter.layers["input_1_0"], torch.randn(2, 12, 64), grid_positions(4, 3)
    dropped = layer_keys(adapter, layer, tokens, {"style": torch.tensor([1.0, 0.0])}, 4)
    out = attend(q, dropped, place, 4)
    assert not out[1].any() and out[0].any()
    tokens["layout"] = Tokens(tokens["layout"].values, torch.tensor([[True], [False]]).expand(2, 36))
    out = attend(q, layer_keys(adapter, layer, tokens, {"layout": 1.0}, 4), place, 4)
    assert not out[1].any() and out[0].any() and out.isfinite().all()


def test_near_places_attract_before_any_training() -> None:
    torch.manual_seed(1)
    adapter = StyleAdapter(StyleConfig(((*LAYER, 64),), width=128)).requires_grad_(False)
    place = adapter.encoder.place(grid_positions(6, 6))
    tokens = {"layout": Tokens(place[None], torch.ones(1, 36, dtype=torch.bool))}
    keys = layer_keys(adapter, adapter.layers["input_1_0"], tokens, {"layout": 1.0}, 2)
    logits = (grid_positions(6, 6) @ keys.place[0]).mean(0)
    assert float((logits.argmax(1) == torch.arange(36)).float().mean()) > 0.9


def test_untrained_adapter_adds_nothing() -> None:
    adapter = StyleAdapter(LATENT).requires_grad_(False)
    keys = layer_keys(adapter, adapter.layers["input_1_0"], random_tokens(), {"style": 1.0, "layout": 1.0}, 4)
    assert not attend(torch.randn(1, 12, 64), keys, grid_positions(4, 3), 4).any()


def guide_of(adapter: StyleAdapter, rows: int = 1, mask: Tensor | None = None, strength: float = 1.0) -> StyleGuide:
    return StyleGuide(adapter, random_tokens(rows), {"style": strength, "layout": strength}, mask)


HEADS = {LAYER: 4, ("middle", 0, 0): 4}


def plan_of(chunks: list[StyledChunk], batch: int, guides: list[StyleGuide], **more: object) -> StylePlan:
    keys = [guide.keys(HEADS, torch.float32, torch.device("cpu")) for guide in guides]
    return StylePlan(chunks, batch, guides, keys, (8, 6), more.get("part", (8, 6)))


def test_plan_acts_on_its_rows_and_in_its_region() -> None:
    adapter, mask = adapter_of(), torch.zeros(1, 64, 48)
    mask[..., :24] = 1
    plan = plan_of([StyledChunk(False), StyledChunk(True)], 2, [guide_of(adapter, 1, mask)])
    q, out = torch.randn(4, 48, 64), torch.randn(4, 48, 64)
    found = plan.added(LAYER, q, out, 4, (8, 6))
    assert torch.equal(found[:2], out[:2])
    change = (found[2:] - out[2:]).unflatten(1, (8, 6)).abs().amax(-1)
    assert not change[..., 3:].any() and bool((change[..., :3] > 0).all())
    whole = plan_of([StyledChunk(True)], 2, [guide_of(adapter)])
    assert whole.spans[0].stop == 2 and whole.at(8, 6)[0].regions == (None,)


def test_plan_of_strength_0_has_no_rows() -> None:
    assert not plan_of([StyledChunk(True)], 1, [guide_of(adapter_of(), strength=0.0)]).spans


def test_references_add_up_and_go_picture_by_picture() -> None:
    adapter, q, out = adapter_of(), torch.randn(4, 48, 64), torch.zeros(4, 48, 64)
    one, two = guide_of(adapter), guide_of(adapter, 2)
    chunks = [StyledChunk(True), StyledChunk(True)]
    both, first, second = (
        plan_of(chunks, 2, guides).added(LAYER, q, out, 4, (8, 6)) for guides in ([one, two], [one], [two])
    )
    torch.testing.assert_close(both, first + second, atol=1e-5, rtol=1e-4)
    single = [
        StyleGuide(adapter, {g: Tokens(t.values[i : i + 1], t.kept[i : i + 1]) for g, t in two.tokens.items()},
                   two.strengths)
        for i in (0, 1)
    ]  # fmt: skip
    for i in (0, 1):
        alone = plan_of(chunks, 2, [single[i]]).added(LAYER, q, out, 4, (8, 6))
        torch.testing.assert_close(second[i::2], alone[i::2], atol=1e-5, rtol=1e-4)
    with pytest.raises(ProductBackgroundError, match="reference is a batch of 2, the latents a batch of 3"):
        plan_of(chunks, 3, [two])


def test_a_part_of_the_picture_gets_its_part_of_region_and_places() -> None:
    adapter, mask = adapter_of(), torch.rand(1, 64, 48)
    q, out = torch.randn(1, 48, 64), torch.zeros(1, 48, 64)
    whole = plan_of([StyledChunk(True)], 1, [guide_of(adapter, 1, mask)]).added(LAYER, q, out, 4, (8, 6))
    part = plan_of([StyledChunk(True, (0.5, 0.0, 1.0, 1.0))], 1, [guide_of(adapter, 1, mask)], part=(4, 6))
    lower = part.added(LAYER, q[:, 24:], out[:, 24:], 4, (4, 6))
    torch.testing.assert_close(lower, whole[:, 24:], atol=1e-5, rtol=1e-4)


def test_file_holds_the_adapter_and_says_what_it_is(tmp_path: Path) -> None:
    adapter, file = adapter_of(), tmp_path / "any name.safetensors"
    save_style(file, adapter, base="product-background-demo", training={"steps": 3}, dtype=torch.float32)
    header, loaded = load_style(file)
    assert header.base == "product-background-demo" and header.training == {"steps": 3}
    assert loaded.config == adapter.config
    for name, value in adapter.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_other_files_are_refused_by_content(tmp_path: Path) -> None:
    file = tmp_path / "style.safetensors"
    save_file({"weight": torch.zeros(2)}, file)
    with pytest.raises(ProductBackgroundError, match=r"not a weight file of this pack.*train_style"):
        load_style(file)
    save_style(file, adapter_of(), base="x", training={})
    tensors = load_file(file)
    good = {"format": "product_background/1", "kind": "style", "base": "x", "training": "{}"}
    config = LATENT.to_dict()
    for change, message in (
        ({"kind": "category"}, "holds 'category' weights"),
        ({"config": json.dumps(config | {"front": "magic"})}, "no front end 'magic'"),
        ({"config": json.dumps(config | {"width": 10**9})}, "width 1000000000"),
        ({"config": json.dumps(config | {"colour": 1})}, "Unknown fields: colour"),
        ({"config": json.dumps(config | {"layers": [["input", 1]]})}, "Bad style configuration"),
        ({"config": json.dumps(config | {"width": 64})}, "does not fit"),
    ):
        save_file(tensors, file, good | {"config": json.dumps(config)} | change)
        with pytest.raises(ProductBackgroundError, match=message):
            load_style(file)
