"""References through ComfyUI's own networks: its VAE and its CLIP vision tower."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ..bg_core.base import DEMONSTRATION
from ..bg_core.canvas import PAINTERS, paint_size
from ..bg_core.errors import ProductBackgroundError
from ..bg_core.style_config import CELLS, CLIP_VISION, LATENTS, StyleConfig
from ..bg_core.style_encoder import Features, Tokens
from ..bg_core.style_features import attention_mask, clip_features, latent_features
from ..bg_core.style_views import cleared, standard_views
from .style_files import StyleWeights

DEMONSTRATION_PAINTER, STABLE_PAINTER = list(PAINTERS)[:2]


def encode_tokens(
    weights: StyleWeights, pictures: Tensor, masks: Tensor, vae: Any, clip_vision: Any
) -> tuple[Mapping[str, Tokens], Tensor]:
    """Tokens of references [R,3,H,W] whose products are `masks` [R,1,H,W], and the pictures that the encoder saw."""
    config = weights.adapter.config
    features = _front(config, weights, vae, clip_vision)
    clear, hole = cleared(pictures, masks, config.frame, config.frame)
    comfy.model_management.load_models_gpu([weights.patcher])
    device, encoder = weights.patcher.load_device, weights.adapter.encoder
    # Where memory is short the host leaves weights behind, as for its own layers, which fetch them; ours are PyTorch's.
    fetched = {name: tensor.to(device) for name, tensor in encoder.state_dict().items()}
    views = standard_views(clear, hole, config).to(device)

    def on_device(view: Tensor, of: Tensor) -> Tensor:
        return features(view, of).to(device, torch.float32)

    with torch.no_grad():
        tokens = torch.func.functional_call(encoder, fetched, (views, on_device))
    home = comfy.model_management.intermediate_device()
    return {group: Tokens(t.values.to(home), t.kept.to(home)) for group, t in tokens.items()}, clear


def encode_latents(pictures: Tensor, masks: Tensor, vae: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Without trained weights: latents [R,C,h,w] as the VAE makes them, holes [R,H,W], and the pictures it saw.

    At the size that the checkpoint paints best, whatever the reference's is.
    """
    vae = _given(vae, "vae", "a reference without style weights")
    painter = DEMONSTRATION_PAINTER if vae.latent_channels == DEMONSTRATION.latent_channels else STABLE_PAINTER
    width, height = paint_size(painter, (pictures.shape[-1], pictures.shape[-2]))
    clear, hole = cleared(pictures, masks, height, width)
    return _latents(vae, clear), hole[:, 0], clear


def _front(config: StyleConfig, weights: StyleWeights, vae: Any, clip_vision: Any) -> Features:
    if config.front == CLIP_VISION:
        tower = _given(clip_vision, "clip_vision", weights.name)
        if wrong := _unlike(config, tower):
            raise ProductBackgroundError(
                f"{weights.name} reads pictures through a CLIP vision tower with {config.features} hidden channels, a "
                f"class token, patches of {config.cell} pixels and pictures of {_sides(config)} pixels; this one "
                f"{wrong}. Load the tower that it was trained with, which its card names, in Load CLIP Vision."
            )
        return clip_features(lambda pixels, kept: _clip_states(tower, pixels, kept))
    coder = _given(vae, "vae", weights.name)
    if coder.latent_channels != config.features:
        raise ProductBackgroundError(
            f"{weights.name} reads pictures through a VAE with {config.features} latent channels; this one has "
            f"{coder.latent_channels}. It fits the base {weights.base!r}: connect that base's own."
        )
    return latent_features(lambda view: _latents(coder, view) * config.latent_scale)


def _given(network: Any, name: str, what: str) -> Any:
    if network is None:
        raise ProductBackgroundError(f"Input {name} isn't connected, and {what} needs it to read the picture.")
    return network


def _sides(config: StyleConfig) -> str:
    """The frame's and the crops' sides, which a tower takes both."""
    return " and ".join(f"{side}x{side}" for side in sorted({config.frame, config.crop}))


def _unlike(config: StyleConfig, tower: Any) -> str | None:
    """What a network that Load CLIP Vision has loaded has in place of what the weights know; None if it fits."""
    embeddings = getattr(getattr(tower.model, "vision_model", None), "embeddings", None)
    if embeddings is None:
        return f"is no such tower ({type(tower.model).__name__})"
    if embeddings.class_embedding is None:
        return "has no class token (SigLIP)"
    channels, _, patch, _ = embeddings.patch_embedding.weight.shape
    if channels != config.features:
        return f"has {channels} hidden channels"
    if patch != config.cell:
        return f"has patches of {patch} pixels"
    side = round((embeddings.position_embedding.weight.shape[0] - 1) ** 0.5) * patch
    return None if {side} == {config.frame, config.crop} else f"has pictures of {side}x{side}"


def _latents(vae: Any, pictures: Tensor) -> Tensor:
    """Latents [N,C,h,w] of [N,3,H,W] in [0,1], as ComfyUI's VAE Encode makes them."""
    latents = vae.encode(pictures.movedim(1, -1))
    cell = CELLS[LATENTS]
    expected = pictures.shape[-2] // cell, pictures.shape[-1] // cell
    if latents.shape[2:] != expected:
        raise ProductBackgroundError(
            f"This VAE makes latents of {'x'.join(map(str, latents.shape[2:]))} cells of a picture of "
            f"{pictures.shape[-2]}x{pictures.shape[-1]} pixels. Expected are {expected[0]}x{expected[1]}, one for "
            f"{cell} pixels a side, as the VAEs of Stable Diffusion's family and of the demonstration base make them. "
            "Connect the checkpoint's own."
        )
    return latents.float()


def _clip_states(clip_vision: Any, pixels: Tensor, kept: Tensor) -> Tensor:
    """The second to last layer's states, the tokens that aren't `kept` hidden in every layer, as stock code can't."""
    comfy.model_management.load_model_gpu(clip_vision.patcher)
    network, device = clip_vision.model.vision_model, clip_vision.load_device
    x = network.pre_layrnorm(network.embeddings(pixels.to(device).float()))
    mask = attention_mask(kept.to(device), x.dtype)[:, 0].expand(-1, kept.shape[1], -1)
    _, states = network.encoder(x, mask=mask, intermediate_output=-2)
    return states.float()
