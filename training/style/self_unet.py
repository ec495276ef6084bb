"""References without trained weights inside diffusers' UNet, for comparison: the same functions as in ComfyUI."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from bg_core.region_attention import region_attention
from bg_core.self_reference import Recorded, SelfGuide, added
from bg_core.style_plan import Reach, StyledChunk

from ..diffusion import Diffusion


class _SelfProcessor:
    """diffusers' attention processor for one self-attention layer: keeps keys and values, or adds the references."""

    def __init__(self, looking: SelfLooking, name: str) -> None:
        self.looking, self.name = looking, name

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        out = region_attention(q, k, v, attn.heads)
        of, layer = self.looking, (self.name, 0, 0)
        size = of.sizes[q.shape[1]]
        if of.recording:
            of.recorded.keep(layer, k, v, size)
        else:
            out = added(of.reach, [of.recorded], layer, (q, k, v), out, attn.heads, size)
        return attn.to_out[1](attn.to_out[0](out))


class SelfLooking:
    """Rows 0..B-1 of each batch of 2B (text, then without) look at the references of `guide`."""

    def __init__(self, guide: SelfGuide, rows: int, size: tuple[int, int]) -> None:
        self.recorded, self.recording = Recorded(guide), False
        self.reach = Reach([StyledChunk(True), StyledChunk(False)], rows, [guide], size, size)
        halved = [tuple(-(-side // 2**level) for side in size) for level in range(5)]
        self.sizes = {height * width: (height, width) for height, width in halved}


@contextmanager
def looking(unet: Any, guide: SelfGuide, rows: int, size: tuple[int, int]) -> Iterator[SelfLooking]:
    """Puts the processors into every self-attention layer, and the old ones back; `size`: the latents' (h, w)."""
    before, state = dict(unet.attn_processors), SelfLooking(guide, rows, size)
    unet.set_attn_processor(
        {n: _SelfProcessor(state, n) if n.endswith("attn1.processor") else p for n, p in before.items()}
    )
    try:
        yield state
    finally:
        unet.set_attn_processor(before)


def predict_beside(
    unet: Any, state: SelfLooking, diffusion: Diffusion, inputs: Tensor, t: Tensor, context: Tensor, noise: Tensor
) -> Tensor:
    """The UNet's output for `inputs` [2B,...], after it ran on the references at the same noise."""
    guide = state.recorded.guide
    count = guide.references
    latents = guide.latents
    noisy = diffusion.noisy(latents, noise, t[:count])
    known = torch.cat([noisy, torch.zeros_like(latents[:, :1]), latents], 1)  # nothing of it is to be painted
    state.recording = True
    unet(known if inputs.shape[1] > latents.shape[1] else noisy, t[:count], context[:count])
    state.recording = False
    return unet(inputs, t, context).sample
