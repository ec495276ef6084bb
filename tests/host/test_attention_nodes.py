"""The attention nodes as a graph runs them: from masks and a category's prompt to pictures and maps."""

from __future__ import annotations

import importlib
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from product_background.bg_core.errors import ProductBackgroundError

PLACES = [5, 6, 7]
SETTINGS = {"strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "feather": 0, "grow": 0}


@pytest.fixture(scope="module")
def nodes(lab: ModuleType) -> ModuleType:
    return importlib.import_module("product_background.nodes.attention")


@pytest.fixture(scope="module")
def model(lab: ModuleType) -> Any:
    return lab.new_model(**lab.FEW_LAYERS)


def guide(nodes: ModuleType, model: Any, mask: torch.Tensor, **settings: Any) -> Any:
    given = {**SETTINGS, **settings}
    product = given.pop("product_mask", None)
    return nodes.MaskGuidedAttention.execute(model, mask, *given.values(), product).args[0]


def product_mask(height: int = 128, width: int = 96) -> torch.Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = 1
    return mask


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (torch.zeros(1, 64, 64), "background_mask is empty"),
        (product_mask(), "background_mask looks inverted"),
        (torch.zeros(1, 8, 8, 3), "Accepted is a MASK"),
    ],
)
def test_bad_masks_are_refused_before_sampling(nodes: ModuleType, model: Any, mask: torch.Tensor, message: str) -> None:
    with pytest.raises(ProductBackgroundError, match=message):
        guide(nodes, model, mask)


def test_bad_product_mask_and_bad_range_are_refused(nodes: ModuleType, model: Any) -> None:
    with pytest.raises(ProductBackgroundError, match="product_mask looks inverted"):
        guide(nodes, model, 1 - product_mask(), product_mask=1 - product_mask())
    with pytest.raises(ProductBackgroundError, match=r"start_percent is 0\.6, end_percent 0\.4"):
        guide(nodes, model, 1 - product_mask(), start_percent=0.6, end_percent=0.4)


def test_strength_0_hands_the_model_on(nodes: ModuleType, model: Any) -> None:
    assert guide(nodes, model, 1 - product_mask(), strength=0.0) is model


def test_feather_and_grow_move_both_borders_alike(nodes: ModuleType, model: Any) -> None:
    guided = guide(nodes, model, 1 - product_mask(), product_mask=product_mask(), grow=6, feather=8)
    (wrapper,) = guided.get_wrappers("apply_model", "product_background")
    (masks,) = (guide.masks for guide in wrapper.__self__.guides.regions)
    torch.testing.assert_close(masks["identifier"], 1 - masks["product"], atol=1e-5, rtol=0)
    assert float(masks["product"].sum()) < float(product_mask().sum())


def test_map_is_dark_on_the_product_and_fills_in_with_less_strength(
    lab: ModuleType, nodes: ModuleType, model: Any
) -> None:
    background, positive, negative = 1 - product_mask(), lab.conditioning(1, *PLACES), lab.conditioning(2)
    picture = torch.rand(1, 128, 96, 3)
    inside = product_mask()[0] > 0
    on_product, on_background = [], []
    for strength in (0.0, 0.2, 0.6, 1.0):
        tapped, attention = nodes.AttentionTap.execute(guide(nodes, model, background, strength=strength)).args
        lab.sample(tapped, positive, negative)
        maps, share, report = nodes.AttentionMap.execute(
            attention, picture, "identifier", "averaged", 0.0, 0.7, background
        ).args
        assert maps.shape == picture.shape and 0 <= float(maps.min()) <= float(maps.max()) <= 1
        core = torch.zeros_like(inside)
        core[44:84, 36:60] = True  # away from the edge, where the map is interpolated
        on_product.append(float(share[0][core].mean()))
        on_background.append(float(share[0][~inside].mean()))
    assert on_product == sorted(on_product, reverse=True)
    assert on_product[0] > 0.02 and on_product[-1] < 1e-3
    assert on_background[-1] > 0.5 * on_background[0]
    assert "mean of all" in report and "product 0.0" in report


def test_tap_changes_no_picture_and_may_come_first_or_last(lab: ModuleType, nodes: ModuleType, model: Any) -> None:
    background, positive, negative = 1 - product_mask(), lab.conditioning(1, *PLACES), lab.conditioning(2)
    expected = lab.sample(guide(nodes, model, background), positive, negative)
    last, after = nodes.AttentionTap.execute(guide(nodes, model, background)).args
    first, before = nodes.AttentionTap.execute(model).args
    assert torch.equal(lab.sample(last, positive, negative), expected)
    assert torch.equal(lab.sample(guide(nodes, first, background), positive, negative), expected)
    for name, share in after.shares("identifier").items():
        assert torch.equal(share, before.shares("identifier")[name])
    unguided = lab.sample(first, positive, negative)
    assert torch.equal(unguided, lab.sample(model, positive, negative)), "a tap alone changes nothing either"
    assert any(not torch.equal(s, after.shares("identifier")[n]) for n, s in before.shares("identifier").items())


def test_maps_layer_by_layer_for_a_batch_and_each_group(lab: ModuleType, nodes: ModuleType, model: Any) -> None:
    positive = lab.conditioning(1, *PLACES, groups={"product": [2, 3]})
    tapped, attention = nodes.AttentionTap.execute(model).args
    lab.sample(tapped, positive, lab.conditioning(2), batch=2)
    pictures = torch.rand(2, 128, 96, 3)
    layers = len(attention.shares("product"))
    assert layers == 4
    maps, share, report = nodes.AttentionMap.execute(attention, pictures, "product", "one by one", 0.3, 0.5).args
    assert maps.shape == (2 * layers, 128, 96, 3) and share.shape == (2 * layers, 128, 96)
    assert [line.split(":")[0] for line in report.splitlines()[1:]] == [*attention.shares("product"), "mean of all"]
    with pytest.raises(ProductBackgroundError, match="There are no layers 'all'"):
        nodes.AttentionMap.execute(attention, pictures, "product", "all", 0.3, 0.5)


def test_next_run_replaces_the_record(lab: ModuleType, nodes: ModuleType, model: Any) -> None:
    positive, negative = lab.conditioning(1, *PLACES), lab.conditioning(2)
    tapped, attention = nodes.AttentionTap.execute(model).args
    lab.sample(tapped, positive, negative, size=(24, 18))
    lab.sample(tapped, positive, negative)
    again, fresh = nodes.AttentionTap.execute(model).args
    lab.sample(again, positive, negative)
    for name, share in attention.shares("identifier").items():
        assert torch.equal(share, fresh.shares("identifier")[name])
    lab.sample(tapped, lab.conditioning(3), negative)
    with pytest.raises(ProductBackgroundError, match="Nothing was recorded"):
        attention.shares("identifier")


def test_record_is_of_the_positive_wherever_a_guider_puts_it(lab: ModuleType, nodes: ModuleType, model: Any) -> None:
    """DualCFGGuider asks for the negative first; ConditioningZeroOut leaves the positive's keys on a negative."""
    (text, about), plain = lab.conditioning(1, *PLACES)[0], lab.conditioning(2)
    zeroed = [[torch.zeros_like(text), about]]
    tapped, attention = nodes.AttentionTap.execute(model).args
    found = []
    for sides in ([[[text, about]], plain], [plain, [[text, about]]], [[[text, about]], zeroed]):
        lab.predictions(tapped, sides)
        found.append(attention.shares("identifier"))
    for name, share in found[0].items():
        assert float(share.std()) > 1e-4
        torch.testing.assert_close(share, found[1][name], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(share, found[2][name], atol=1e-5, rtol=1e-4)


@pytest.fixture(scope="module")
def prompt(loaded: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """What Category Conditioning makes for the demonstration base, with a random identifier."""
    from bg_core.vocabulary import Category
    from bg_core.vocabulary_files import write_vocabulary

    category = importlib.import_module("product_background.nodes.category")
    torch.manual_seed(4)
    file = write_vocabulary(
        tmp_path_factory.mktemp("categories") / "random.safetensors",
        [Category("mug", "a mug")],
        torch.randn(1, 4, 128),
        base="product-background-demo",
        training={},
    )
    text = "a photo of {category}, in the background of {identifier}, soft light"
    return category.CategoryConditioning.execute(loaded.clip, file, "mug", text, 1.0, False).args[0]


@pytest.mark.parametrize("size", [(24, 24), (13, 19)])
def test_categorys_prompt_is_guided_on_the_demonstration_base(
    lab: ModuleType, nodes: ModuleType, loaded: SimpleNamespace, prompt: list[Any], size: tuple[int, int]
) -> None:
    """Stock loader, Category Conditioning, our nodes, stock sampler: the product never looks at the identifier."""
    import comfy.sample

    height, width = size[0] * 8, size[1] * 8
    negative = loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(""))
    background = 1 - product_mask(height, width)
    tapped, attention = nodes.AttentionTap.execute(guide(nodes, loaded.model, background)).args
    latent = torch.zeros(1, 16, *size)
    noise = comfy.sample.prepare_noise(latent, seed=0)

    def sampled(model: Any) -> torch.Tensor:
        return comfy.sample.sample(model, noise, 2, 3.0, "euler", "sgm_uniform", prompt, negative, latent, seed=0)

    assert not torch.equal(sampled(tapped), sampled(loaded.model))
    shares = attention.shares("identifier")
    assert len(shares) == 11
    finest = next(iter(shares.values()))[0]
    inside = torch.zeros(size, dtype=torch.bool)
    inside[size[0] // 4 + 1 : size[0] * 3 // 4 - 1, size[1] // 4 + 1 : size[1] * 3 // 4 - 1] = True
    assert float(finest[inside].max()) < 1e-6
    assert float(finest[0].mean()) > 1e-3
