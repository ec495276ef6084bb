"""The arm without trained weights paints as the node does: references beside the picture, in both UNets."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from bg_core.base import add_noise, alphas_cumprod, inpainting_input, sigmas
from bg_core.self_reference import SelfGuide
from bg_core.style_plan import Reach, StyledChunk
from training.painters import load_painter
from training.style.self_unet import looking, predict_beside


@pytest.mark.parametrize("size", [(16, 24), (13, 19)])
def test_prediction_beside_a_reference_is_comfyuis(loaded: SimpleNamespace, size: tuple[int, int]) -> None:
    """The text's row looks at the reference, the other one doesn't. With a hole, in a region."""
    from product_background.nodes.self_attention import SEED, SelfAttention, SelfRun
    from product_background.nodes.unet_layers import cross_attention_layers

    torch.manual_seed(4)
    model, painter = loaded.model.model, load_painter(loaded.path)
    hole = torch.zeros(1, 96, 128)
    hole[:, 30:60, 40:80] = 1
    guide = SelfGuide(torch.randn(1, 16, *size), hole, 0.8, torch.rand(1, *size))
    t = torch.tensor([600, 600])
    sigma, context = sigmas()[t].float(), torch.randn(2, 77, 128)
    noisy = add_noise(torch.randn(1, 16, *size), torch.randn(1, 16, *size), alphas_cumprod()[t[:1]]).repeat(2, 1, 1, 1)
    mask, masked = (torch.rand(1, 1, *size) > 0.5).float().repeat(2, 1, 1, 1), torch.randn(2, 16, *size)
    inputs, scaled = inpainting_input(noisy, mask, masked), noisy * (1 + sigma**2).sqrt().view(-1, 1, 1, 1)
    noise = torch.randn(guide.latents.shape, generator=torch.Generator().manual_seed(SEED))

    layers = tuple(cross_attention_layers(model))  # each has a self-attention layer before it
    run = SelfRun(Reach([StyledChunk(True), StyledChunk(False)], 1, [guide], size, size), layers)
    options = {"cond_or_uncond": [0, 1], "sigmas": sigma}
    with torch.no_grad():
        stock = painter.predict(inputs, t, context)
        with looking(painter.unet, guide, 1, size) as state:
            v = predict_beside(painter.unet, state, painter.diffusion, inputs, t, context, noise)
        run.record(model, sigma, context, options, {})
        patches = {layer: SelfAttention(run, layer, None) for layer in layers}
        host = model.apply_model(
            scaled, sigma, c_concat=torch.cat([mask, masked], 1), c_crossattn=context,
            transformer_options=options | {"patches_replace": {"attn1": patches}},
        )  # fmt: skip
    assert float((v[0] - stock[0]).abs().max()) > 1e-3
    torch.testing.assert_close(v[1], stock[1], atol=1e-5, rtol=1e-5)
    a = alphas_cumprod()[t].float().view(-1, 1, 1, 1)
    torch.testing.assert_close(host, a.sqrt() * noisy - (1 - a).sqrt() * v, atol=1e-4, rtol=1e-4)
