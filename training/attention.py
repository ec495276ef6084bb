"""Mask-guided cross-attention inside diffusers' UNet: the same functions as in ComfyUI, behind diffusers' interface.

    regions = Regions(guide_layers(unet))
    with regions.guiding(background_masks, positions, latents.shape[-2:]):
        loss = f(unet(latents, t, encoder_hidden_states=context).sample)
        loss.backward()

The backward pass belongs inside: gradient checkpointing runs layers a second time there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bg_core.region_attention import attention_bias, attention_share, membership, region_attention, region_logits
from bg_core.regions import region_of

LEVELS = 5  # sizes at most: the latents' own and four halvings


@dataclass
class Regions:
    """What all guided layers of one UNet share: biases by number of places, and, where asked for, attention shares."""

    biases: dict[int, Tensor] = field(default_factory=dict)
    members: Tensor | None = None
    shares: list[Tensor] | None = None

    @contextmanager
    def guiding(
        self,
        masks: Tensor | None,
        positions: Sequence[Sequence[int]],
        size: tuple[int, int],
        tokens: int = 77,
        strength: float = 1.0,
        watch: bool = False,
    ) -> Iterator[None]:
        """Guide what runs inside: row i's tokens `positions[i]` act where `masks` [B,H,W] or [B,1,H,W] is 1.

        `size`: the latents' (h, w). `tokens`: the context's length. `masks` None guides nothing. `watch` collects every
        layer's share of attention on the positions, [B,1,places] with gradients, in `shares`.
        """
        device = None if masks is None else masks.device
        self.members = torch.stack([membership([places], tokens, device) for places in positions])
        if masks is not None:
            masks = masks[:, 0] if masks.ndim == 4 else masks
            for level in range(LEVELS):
                height, width = (-(-side // 2**level) for side in size)
                # diffusers' layers know their number of places only; it differs between the levels of a picture
                logits = region_logits(region_of(masks, height, width), strength)[:, None]
                self.biases[height * width] = attention_bias(logits, self.members)
        self.shares = [] if watch else None
        try:
            yield
        finally:
            self.biases, self.members, self.shares = {}, None, None


class RegionProcessor:
    """diffusers' attention processor for one cross-attention layer of a UNet."""

    def __init__(self, regions: Regions) -> None:
        self.regions = regions

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        assert encoder_hidden_states is not None, "self-attention isn't guided"
        q = attn.to_q(hidden_states)
        k, v = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        bias = self.regions.biases.get(q.shape[1])
        if bias is None and self.regions.biases:
            raise RuntimeError(
                f"No region was prepared for a layer of {q.shape[1]} places: is `size` the latents' own?"
            )
        if self.regions.shares is not None and self.regions.members is not None:
            self.regions.shares.append(attention_share(q, k, attn.heads, self.regions.members, bias))
        out = region_attention(q, k, v, attn.heads, bias)
        return attn.to_out[1](attn.to_out[0](out))


def guide_layers(unet: Any) -> Regions:
    """Put a RegionProcessor into every cross-attention layer of a UNet2DConditionModel; the rest stays as it is."""
    regions = Regions()
    processors = {
        name: RegionProcessor(regions) if name.endswith("attn2.processor") else processor
        for name, processor in unet.attn_processors.items()
    }
    unet.set_attn_processor(processors)
    return regions
