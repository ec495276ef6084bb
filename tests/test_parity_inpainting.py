"""ComfyUI's stock inpainting node must feed the base what it was trained on, channel for channel."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from bg_core.base import DEMONSTRATION, grey_out, mask_channel


@pytest.fixture(scope="module")
def inpaint_model_conditioning(stock: ModuleType) -> Any:
    return stock.InpaintModelConditioning()


@pytest.mark.parametrize("mask_of", ["every picture", "the first"])
@pytest.mark.parametrize("size", [(128, 192), (104, 72)])
def test_stock_inpainting_node_makes_the_input_of_training(
    loaded: SimpleNamespace, inpaint_model_conditioning: Any, size: tuple[int, int], mask_of: str
) -> None:
    """Pictures and soft masks at full size, through the node and the model's own concatenation, as a graph does it."""

    def encode_text(text: str) -> Any:
        return loaded.clip.encode_from_tokens_scheduled(loaded.clip.tokenize(text))

    torch.manual_seed(6)
    height, width = size
    image = torch.rand(2, 3, height, width)
    mask = torch.rand(2, 1, height, width)  # soft everywhere: rounding before or after resizing gives other channels
    if mask_of == "the first":
        mask = mask[:1]
    positive, negative, latent = inpaint_model_conditioning.encode(
        encode_text("a photo of perfume"),
        encode_text(""),
        image.movedim(1, -1),
        loaded.vae,
        mask[:, 0],
        noise_mask=True,
    )
    noise = torch.randn_like(latent["samples"])
    coder = loaded.base.autoencoder
    with torch.no_grad():
        ours = torch.cat(
            [mask_channel(mask, height // 8, width // 8).expand(2, -1, -1, -1), coder.encode(grey_out(image, mask))], 1
        )
        torch.testing.assert_close(latent["samples"], coder.encode(image), atol=1e-4, rtol=1e-4)
    assert ours.shape[1] + noise.shape[1] == DEMONSTRATION.unet_channels
    assert 0.2 < float(ours[:, 0].mean()) < 0.8 and float(ours[:, 1:].std()) > 1e-2
    for conditioning in (positive, negative):
        host = loaded.model.model.extra_conds(noise=noise, device="cpu", **conditioning[0][1])["c_concat"].cond
        torch.testing.assert_close(host, ours, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(latent["noise_mask"], mask)  # where to paint stays soft
