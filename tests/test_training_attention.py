"""Mask-guided attention in diffusers' UNet: stock without regions, ComfyUI's numbers with them."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bg_core.region_plan import Guide
from training.attention import guide_layers

TOLERANCE = 1e-4
PLACES = [[5, 6, 7], [20, 21]]


@pytest.fixture(scope="module")
def case(loaded: SimpleNamespace) -> SimpleNamespace:
    torch.manual_seed(2)
    return SimpleNamespace(
        x=torch.randn(2, 33, 13, 19), context=torch.randn(2, 77, 128) * 2, t=torch.tensor([7.0, 900.0]),
        masks=torch.rand(2, 104, 152), unet=copy.deepcopy(loaded.base.unet).requires_grad_(False),
    )  # fmt: skip


def predict(case: SimpleNamespace, unet: Any) -> torch.Tensor:
    return unet(case.x, case.t, encoder_hidden_states=case.context).sample


def test_without_regions_it_is_stock(case: SimpleNamespace) -> None:
    stock = predict(case, case.unet)
    unet = copy.deepcopy(case.unet)
    regions = guide_layers(unet)
    assert torch.equal(predict(case, unet), stock)
    with regions.guiding(None, PLACES, (13, 19)):
        assert torch.equal(predict(case, unet), stock)


def test_regions_change_the_prediction_and_go_again(case: SimpleNamespace) -> None:
    unet = copy.deepcopy(case.unet)
    regions = guide_layers(unet)
    stock = predict(case, unet)
    with regions.guiding(case.masks, PLACES, (13, 19)):
        guided = predict(case, unet)
    assert float((guided - stock).abs().max()) > 10 * TOLERANCE
    assert torch.equal(predict(case, unet), stock)


def test_masks_for_other_latents_are_noticed(case: SimpleNamespace) -> None:
    unet = copy.deepcopy(case.unet)
    with guide_layers(unet).guiding(case.masks, PLACES, (24, 24)), pytest.raises(RuntimeError, match="247 places"):
        predict(case, unet)


def test_prediction_is_comfyuis(loaded: SimpleNamespace, case: SimpleNamespace) -> None:
    """Same weights, texts, positions and masks: the numbers of ComfyUI's UNet under our patches."""
    from product_background.nodes import attention_patch, guided_attention

    from bg_core.region_plan import Chunk, Plan, TokenGroups

    unet = copy.deepcopy(case.unet)
    with guide_layers(unet).guiding(case.masks, PLACES, (13, 19)):
        ours = predict(case, unet)
    host = loaded.model.model
    network = host.diffusion_model.float()
    rows = []
    for row in range(2):
        groups = TokenGroups(77, (("identifier", tuple(PLACES[row])),))
        guide = Guide({"identifier": case.masks[row : row + 1]})
        plan = Plan([Chunk(groups, 77)], 1, 77, [guide], (13, 19), (13, 19))
        layers = attention_patch.cross_attention_layers(host)
        patches = {layer: guided_attention.GuidedAttention(plan, layer, None, None, ()) for layer in layers}
        one = slice(row, row + 1)
        options = {"patches_replace": {"attn2": patches}}
        rows.append(network(case.x[one], case.t[one], context=case.context[one], transformer_options=options))
    with torch.no_grad():
        stock = predict(case, case.unet)
    assert float((ours - stock).abs().max()) > 10 * TOLERANCE
    torch.testing.assert_close(torch.cat(rows), ours, atol=TOLERANCE, rtol=TOLERANCE)


def test_shares_of_every_layer_with_gradients(case: SimpleNamespace) -> None:
    unet = copy.deepcopy(case.unet)
    regions = guide_layers(unet)
    context = case.context.clone().requires_grad_()
    masks = torch.zeros(2, 104, 152)
    masks[..., 76:] = 1
    with regions.guiding(masks, PLACES, (13, 19), watch=True):
        unet(case.x, case.t, encoder_hidden_states=context)
        assert regions.state.shares is not None and len(regions.state.shares) == 11
        finest = regions.state.shares[0].detach().unflatten(-1, (13, 19))
        assert finest.shape == (2, 1, 13, 19)
        assert float(finest[..., :9].max()) < 1e-5 < 1e-3 < float(finest[..., 10:].mean())
        sum(share.mean() for share in regions.state.shares).backward()
    assert context.grad is not None and float(context.grad[0, PLACES[0]].abs().max()) > 0


def test_gradients_with_checkpointing_are_the_same(case: SimpleNamespace) -> None:
    found = []
    for checkpointing in (False, True):
        unet = copy.deepcopy(case.unet).train()
        if checkpointing:
            unet.enable_gradient_checkpointing()
        regions = guide_layers(unet)
        context = case.context.clone().requires_grad_()
        with regions.guiding(case.masks[:, None], PLACES, (13, 19)):
            unet(case.x, case.t, encoder_hidden_states=context).sample.square().mean().backward()
        found.append(context.grad)
    torch.testing.assert_close(*found, atol=1e-6, rtol=1e-4)


def test_only_cross_attention_is_replaced(case: SimpleNamespace) -> None:
    unet = copy.deepcopy(case.unet)
    before = dict(unet.attn_processors)
    guide_layers(unet)
    changed = {name for name, processor in unet.attn_processors.items() if processor is not before[name]}
    assert changed and all("attn2" in name for name in changed)
    assert {name for name in before if "attn2" in name} == changed
