"""Mask-guided cross-attention inside diffusers' UNet: the same functions as in ComfyUI, behind diffusers' interface.

    regions = guide_layers(unet)
    with regions.guiding(background_masks, positions, latents.shape[-2:]):
        loss = f(unet(latents, t, encoder_hidden_states=context).sample)
        loss.backward()

The backward pass belongs inside: gradient checkpointing runs layers a second time there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import Any, Literal

import torch
from torch import Tensor

from bg_core.region_attention import attention_bias, attention_share, membership, region_attention, region_logits
from bg_core.regions import region_of

LEVELS = 5  # sizes at most: the latents' own and four halvings
APART = -1e4  # a logit that leaves a token out, in half precision, too

Method = Literal["attention", "output"]
"""Where a region acts: on the logits, as the nodes do it, or (to compare with) on the output.

`output` is IP-Adapter's way (arXiv 2308.06721): the tokens get a softmax of their own, whose output is multiplied by
the region and added to that of all other tokens.
"""


Added = Callable[[str, Tensor, Tensor, int], Tensor]
"""(layer's name, its queries [rows,N,C], its output [rows,N,C], heads) -> the output with what a reference adds."""


@dataclass
class Regions:
    """What all guided layers of one UNet share: biases by number of places, and, where asked for, attention shares."""

    heads: Mapping[str, int] = field(default_factory=dict)
    """Of each layer, by its processor's name."""
    biases: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    members: Tensor | None = None
    shares: list[Tensor] | None = None
    kept: dict[int, tuple[Tensor, Tensor, Tensor]] | None = None
    added: dict[int, Added] = field(default_factory=dict)
    """By the thread that runs the UNet: halves of a batch on cores of their own have references of their own."""

    @contextmanager
    def guiding(
        self,
        masks: Tensor | None,
        positions: Sequence[Sequence[int]],
        size: tuple[int, int],
        tokens: int = 77,
        strength: float = 1.0,
        watch: bool = False,
        method: Method = "attention",
    ) -> Iterator[None]:
        """Guide what runs inside: row i's tokens `positions[i]` act where `masks` [B,H,W] or [B,1,H,W] is 1.

        `size`: the latents' (h, w). `tokens`: the context's length. `masks` None guides nothing. `watch` collects every
        layer's share of attention on the positions, [B,1,places] with gradients, in `shares`; not with `output`.
        """
        device = None if masks is None else masks.device
        self.members = torch.stack([membership([places], tokens, device) for places in positions])
        if masks is not None:
            masks = masks[:, 0] if masks.ndim == 4 else masks
            for level in range(LEVELS):
                height, width = (-(-side // 2**level) for side in size)
                # diffusers' layers know their number of places only; it differs between the levels of a picture
                region = region_of(masks, height, width)
                if method == "output":
                    self.outputs[height * width] = strength * region[..., None]
                else:
                    logits = region_logits(region, strength)[:, None]
                    self.biases[height * width] = attention_bias(logits, self.members)
        self.shares = [] if watch else None
        try:
            yield
        finally:
            self.biases, self.outputs, self.members, self.shares = {}, {}, None, None

    def addition(self) -> Added | None:
        """What a reference adds in this thread, or the only one there is: a GPU's backward pass has its own thread."""
        added = self.added.get(get_ident())
        return next(iter([*self.added.values()]), None) if added is None and len(self.added) == 1 else added

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Inside, a context's keys and values are computed once, as long as the very same tensor comes again.

        For sampling, where every step reads the same context; without gradients.
        """
        self.kept = {}
        try:
            yield
        finally:
            self.kept = None


class RegionProcessor:
    """diffusers' attention processor for one cross-attention layer of a UNet."""

    def __init__(self, regions: Regions, name: str) -> None:
        self.regions, self.name = regions, name

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        assert encoder_hidden_states is not None, "self-attention isn't guided"
        q = attn.to_q(hidden_states)
        k, v = self._projected(attn, encoder_hidden_states)
        out = self._attention(q, k, v, attn.heads)
        added = self.regions.addition()
        if added is not None:
            out = added(self.name, q, out, attn.heads)
        return attn.to_out[1](attn.to_out[0](out))

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        if self.regions.outputs:
            return self._masked_output(q, k, v, heads)
        bias = self.regions.biases.get(q.shape[1])
        if bias is None and self.regions.biases:
            raise RuntimeError(
                f"No region was prepared for a layer of {q.shape[1]} places: is `size` the latents' own?"
            )
        if self.regions.shares is not None and self.regions.members is not None:
            self.regions.shares.append(attention_share(q, k, heads, self.regions.members, bias))
        return region_attention(q, k, v, heads, bias)

    def _projected(self, attn: Any, context: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.regions.kept
        if kept is None:
            return attn.to_k(context), attn.to_v(context)
        if id(attn) not in kept or kept[id(attn)][0] is not context:
            kept[id(attn)] = context, attn.to_k(context), attn.to_v(context)
        return kept[id(attn)][1:]

    def _masked_output(self, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        assert self.regions.members is not None
        member = self.regions.members[:, None]  # [B,1,1,M]
        others = region_attention(q, k, v, heads, APART * member)
        own = region_attention(q, k, v, heads, APART * (1 - member))
        # a row without any of the tokens has nothing to add
        return others + self.regions.outputs[q.shape[1]] * own * member.amax((2, 3))[..., None]


def guide_layers(unet: Any) -> Regions:
    """Put a RegionProcessor into every cross-attention layer of a UNet2DConditionModel; the rest stays as it is."""
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    regions = Regions({name: int(unet.get_submodule(name.removesuffix(".processor")).heads) for name in names})
    unet.set_attn_processor(unet.attn_processors | {name: RegionProcessor(regions, name) for name in names})
    return regions
