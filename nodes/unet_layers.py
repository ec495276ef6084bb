"""Where a UNet of ComfyUI has cross-attention, as its patches name the places."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from comfy.ldm.modules.attention import CrossAttention, SpatialTransformer, SpatialVideoTransformer

from ..bg_core.errors import ProductBackgroundError

Layer = tuple[str, int, int]
"""A transformer block as ComfyUI counts it: "input", "middle" or "output", number, and index within."""


def cross_attention_layers(model: Any) -> tuple[Layer, ...]:
    """Where a ComfyUI BaseModel has cross-attention, in the order it runs; refuses what `modules_of` refuses."""
    return tuple(modules_of(model))


def modules_of(model: Any) -> dict[Layer, CrossAttention]:
    """The cross-attention of each layer of a ComfyUI BaseModel, in the order they run.

    Raises ProductBackgroundError for models of other kinds: they have no cross-attention to a text, or a different one.
    """
    unet = getattr(model, "diffusion_model", None)
    found = dict(_layers(unet))
    if not found:
        raise ProductBackgroundError(
            f"This model ({type(unet).__name__}) has no cross-attention that regions could guide. Supported are the "
            "UNets of Stable Diffusion 1.x, 2.x and XL, and the demonstration base."
        )
    return found


def _layers(unet: Any) -> Iterator[tuple[Layer, CrossAttention]]:
    middle = getattr(unet, "middle_block", None)
    blocks = [("input", i, block) for i, block in enumerate(getattr(unet, "input_blocks", ()))]
    blocks += [("middle", 0, middle)] if middle is not None else []
    blocks += [("output", i, block) for i, block in enumerate(getattr(unet, "output_blocks", ()))]
    for part, number, block in blocks:
        for module in block:
            if isinstance(module, SpatialVideoTransformer):
                raise ProductBackgroundError("Video models aren't supported: their text acts on many frames at once.")
            if isinstance(module, SpatialTransformer):
                for index, transformer in enumerate(module.transformer_blocks):
                    if transformer.attn2 is not None:
                        yield (part, number, index), transformer.attn2
