"""The style adapter inside diffusers' UNet: the same functions as in ComfyUI, behind `training.attention`'s processors.

    regions = guide_layers(unet)
    with styling(regions, adapter, tokens, strengths, background):
        loss = f(unet(latents, t, encoder_hidden_states=context).sample)

It may stand inside `regions.guiding`, as both nodes may act on one model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bg_core.regions import region_of
from bg_core.style_adapter import Strengths, StyleAdapter, attend, layer_keys
from bg_core.style_config import LayerName
from bg_core.style_encoder import Tokens, grid_positions

from ..attention import LEVELS, Regions

BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.attentions\.(\d+)\.transformer_blocks\.(\d+)\.")
MIDDLE = re.compile(r"mid_block\.attentions\.0\.transformer_blocks\.(\d+)\.")


def layer_names(unet: Any) -> dict[str, LayerName]:
    """ComfyUI's name of each cross-attention layer by that of diffusers' processor, in the order they run."""
    per_level = int(unet.config.layers_per_block)
    found: dict[str, LayerName] = {}
    for name in unet.attn_processors:
        if not name.endswith("attn2.processor"):
            continue
        if middle := MIDDLE.match(name):
            found[name] = ("middle", 0, int(middle.group(1)))
        elif block := BLOCK.match(name):
            level, i, index = (int(block.group(n)) for n in (2, 3, 4))
            # the encoder's first block is the input, and each of its levels ends with a downsampler; a level of the
            # decoder has one block more than one of the encoder, and no such end
            number = level * (per_level + 1) + i
            found[name] = ("input", number + 1, index) if block.group(1) == "down" else ("output", number, index)
    order = ("input", "middle", "output")
    return dict(sorted(found.items(), key=lambda item: (order.index(item[1][0]), *item[1][1:])))


def adapter_layers(unet: Any) -> tuple[tuple[str, int, int, int], ...]:
    """`StyleConfig.layers` for a UNet2DConditionModel."""
    return tuple(
        (*layer, int(unet.get_submodule(name.removesuffix(".processor")).to_q.out_features))
        for name, layer in layer_names(unet).items()
    )


@contextmanager
def styling(
    regions: Regions,
    adapter: StyleAdapter,
    tokens: Mapping[str, Tokens],
    strengths: Strengths,
    background: Tensor,
    names: Mapping[str, LayerName],
) -> Iterator[None]:
    """Inside, the first rows of each batch take from references: as many as `background` [B,h,w] has, 1 = it acts.

    h and w are the latents' own. `tokens` of R references, R divides B. `names`: `layer_names` of the UNet. Gradients
    flow into the adapter and the tokens.
    """
    layers = dict(adapter.named_layers())
    # once for all steps that run inside
    keys = {
        name: layer_keys(adapter, layers[layer], tokens, strengths, regions.heads[name])
        for name, layer in names.items()
    }
    places: dict[int, tuple[Tensor, Tensor]] = {}
    for level in range(LEVELS):
        height, width = (-(-side // 2**level) for side in background.shape[-2:])
        where = grid_positions(height, width).to(background)
        places[height * width] = where, region_of(background, height, width)[..., None]

    def added(name: str, q: Tensor, out: Tensor, heads: int) -> Tensor:
        known = keys[name]
        if known is None:
            return out
        rows = len(background)
        where, region = (place.to(q) for place in places[q.shape[1]])
        total = out[:rows] + region * attend(q[:rows], known.to(q.dtype), where, heads)
        return total if len(out) == rows else torch.cat([total, out[rows:]])

    with regions.entered() as state:
        state.added = added
        try:
            yield
        finally:
            state.added = None
