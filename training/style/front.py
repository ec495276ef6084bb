"""The style encoder's front ends in training: the painter's own VAE, or transformers' CLIP vision tower."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from bg_core.errors import ProductBackgroundError
from bg_core.style_config import CLIP_VISION, LATENTS
from bg_core.style_encoder import Features
from bg_core.style_features import attention_mask, clip_features, latent_features

from ..painters import Painter


def front_end(painter: Painter, front: str, clip_vision: Path | None) -> tuple[Features, dict[str, Any]]:
    """The front end of that name, frozen, and what `StyleConfig` says of it; `clip_vision`: a folder as transformers
    saves the tower."""
    if front == LATENTS:
        about = {
            "features": int(painter.unet.config.out_channels),
            "latent_scale": getattr(painter.coder, "scale", 1.0),
        }
        return latent_features(painter.coder.encode), about
    if front != CLIP_VISION:
        raise ProductBackgroundError(f"There is no front end {front!r}. Accepted are {LATENTS} and {CLIP_VISION}.")
    if clip_vision is None:
        raise ProductBackgroundError(
            "front is clip_vision: give --clip-vision, the folder of a CLIP vision tower as transformers saves it "
            "(config.json and model.safetensors; SD 1.5's own is openai/clip-vit-large-patch14)."
        )
    from transformers import CLIPVisionModel

    tower = CLIPVisionModel.from_pretrained(clip_vision, local_files_only=True, use_safetensors=True)
    tower.eval().requires_grad_(False).to(next(painter.unet.parameters()).device)
    return clip_features(lambda pixels, kept: hidden_states(tower, pixels, kept)), {
        "features": int(tower.config.hidden_size)
    }


def hidden_states(tower: Any, pixels: Tensor, kept: Tensor) -> Tensor:
    """The second to last layer's states [N,1+cells,F]; tokens that aren't `kept` are hidden in every layer."""
    network = tower.vision_model
    x = network.pre_layrnorm(network.embeddings(pixels))
    mask = attention_mask(kept, x.dtype).expand(-1, -1, kept.shape[1], -1)
    return network.encoder(inputs_embeds=x, attention_mask=mask, output_hidden_states=True).hidden_states[-2]
