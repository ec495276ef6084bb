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
class State:
    """What layers do in one thread: biases by number of places, and, where asked for, attention shares."""

    biases: dict[int, Tensor] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    members: Tensor | None = None
    shares: list[Tensor] | None = None
    kept: dict[int, tuple[Tensor, Tensor, Tensor]] | None = None
    added: Added | None = None
    depth: int = 0


@dataclass
class Regions:
    """What all guided layers of one UNet share. `heads`: of each layer, by its processor's name.

    Parts of a batch on cores of their own are guided apart: `states` are kept by the thread that runs the UNet.
    """

    heads: Mapping[str, int] = field(default_factory=dict)
    states: dict[int, State] = field(default_factory=dict)

    @property
    def state(self) -> State:
        """This thread's, or the only one there is: a GPU's backward pass has a thread of its own."""
        state = self.states.get(get_ident())
        if state is None and len(self.states) == 1:
            state = next(iter([*self.states.values()]), None)
        return state or State()

    @contextmanager
    def entered(self) -> Iterator[State]:
        """This thread's state, which lasts as long as anything is inside."""
        state = self.states.setdefault(get_ident(), State())
        state.depth += 1
        try:
            yield state
        finally:
            state.depth -= 1
            if not state.depth:
                del self.states[get_ident()]

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
        with self.entered() as state:
            device = None if masks is None else masks.device
            state.members = torch.stack([membership([places], tokens, device) for places in positions])
            if masks is not None:
                masks = masks[:, 0] if masks.ndim == 4 else masks
                for level in range(LEVELS):
                    height, width = (-(-side // 2**level) for side in size)
                    # diffusers' layers know their number of places only; it differs between the levels of a picture
                    region = region_of(masks, height, width)
                    if method == "output":
                        state.outputs[height * width] = strength * region[..., None]
                    else:
                        logits = region_logits(region, strength)[:, None]
                        state.biases[height * width] = attention_bias(logits, state.members)
            state.shares = [] if watch else None
            try:
                yield
            finally:
                state.biases, state.outputs, state.members, state.shares = {}, {}, None, None

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Inside, a context's keys and values are computed once, as long as the very same tensor comes again.

        For sampling, where every step reads the same context; without gradients.
        """
        with self.entered() as state:
            state.kept = {}
            try:
                yield
            finally:
                state.kept = None


class RegionProcessor:
    """diffusers' attention processor for one cross-attention layer of a UNet."""

    def __init__(self, regions: Regions, name: str) -> None:
        self.regions, self.name = regions, name

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        assert encoder_hidden_states is not None, "self-attention isn't guided"
        state = self.regions.state
        q = attn.to_q(hidden_states)
        k, v = _projected(state, attn, encoder_hidden_states)
        out = _attention(state, q, k, v, attn.heads)
        if state.added is not None:
            out = state.added(self.name, q, out, attn.heads)
        return attn.to_out[1](attn.to_out[0](out))


def _attention(state: State, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    if state.outputs:
        return _masked_output(state, q, k, v, heads)
    bias = state.biases.get(q.shape[1])
    if bias is None and state.biases:
        raise RuntimeError(f"No region was prepared for a layer of {q.shape[1]} places: is `size` the latents' own?")
    if state.shares is not None and state.members is not None:
        state.shares.append(attention_share(q, k, heads, state.members, bias))
    return region_attention(q, k, v, heads, bias)


def _projected(state: State, attn: Any, context: Tensor) -> tuple[Tensor, Tensor]:
    kept = state.kept
    if kept is None:
        return attn.to_k(context), attn.to_v(context)
    if id(attn) not in kept or kept[id(attn)][0] is not context:
        kept[id(attn)] = context, attn.to_k(context), attn.to_v(context)
    return kept[id(attn)][1:]


def _masked_output(state: State, q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    assert state.members is not None
    member = state.members[:, None]  # [B,1,1,M]
    others = region_attention(q, k, v, heads, APART * member)
    own = region_attention(q, k, v, heads, APART * (1 - member))
    # a row without any of the tokens has nothing to add
    return others + state.outputs[q.shape[1]] * own * member.amax((2, 3))[..., None]


def guide_layers(unet: Any) -> Regions:
    """Put a RegionProcessor into every cross-attention layer of a UNet2DConditionModel; the rest stays as it is."""
    names = [name for name in unet.attn_processors if name.endswith("attn2.processor")]
    regions = Regions({name: int(unet.get_submodule(name.removesuffix(".processor")).heads) for name in names})
    unet.set_attn_processor(unet.attn_processors | {name: RegionProcessor(regions, name) for name in names})
    return regions
