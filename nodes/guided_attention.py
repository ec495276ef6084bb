"""What a layer runs in place of its cross-attention while regions guide it, or a reference is added to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from comfy.ldm.modules.attention import attention_pytorch, get_attn_precision, optimized_attention
from torch import Tensor

from ..bg_core.attention_map import Record
from ..bg_core.errors import ProductBackgroundError
from ..bg_core.region_attention import attention_share, region_attention
from ..bg_core.region_plan import Plan, Watched
from ..bg_core.style_plan import StylePlan
from .unet_layers import Layer

Patch = Callable[[Tensor, Tensor, Tensor, dict[str, Any]], Tensor]
"""ComfyUI's attention patch: (q, k, v, extra_options) -> out, all [rows,N or M,heads*d]."""

OVERRIDE = "optimized_attention_override"


class GuidedAttention:
    """One layer's attention patch: `plan`'s biases on the rows that have one, the stock attention on all others.

    `previous`: another pack's patch of that layer, or None. `record` takes what the `watched` rows look at. `style`:
    what references add to the result.
    Nothing is prepared or moved here: it runs in every layer of every step, and inside compiled models.
    """

    def __init__(
        self,
        plan: Plan,
        layer: Layer,
        previous: Patch | None,
        record: Record | None,
        watched: tuple[Watched, ...],
        style: StylePlan | None = None,
    ) -> None:
        self.plan, self.layer, self.previous, self.record, self.watched = plan, layer, previous, record, watched
        self.style = style
        self.reads_tokens = bool(plan.spans or watched)

    def __deepcopy__(self, memo: dict[int, Any]) -> GuidedAttention:
        return self

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
        height, width = extra_options["activations_shape"][-2:]
        plan = self.plan
        tokens_fit = k.shape[1] == plan.keys or not self.reads_tokens
        if q.shape[0] != plan.rows or q.shape[1] != height * width or not tokens_fit:
            raise ProductBackgroundError(_misfit(plan, q, k, height * width, self.reads_tokens))
        out = self._attention(q, k, v, extra_options, (height, width))
        if self.style is None:
            return out
        precision = get_attn_precision(extra_options["attn_precision"], q.dtype)
        return self.style.added(self.layer, q, out, extra_options["n_heads"], (height, width), precision)

    def _attention(
        self, q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any], size: tuple[int, int]
    ) -> Tensor:
        plan, heads = self.plan, extra_options["n_heads"]
        biases = plan.at(*size)
        if self.record is not None:
            self._watch(q, k, heads, size, biases)
        if self.previous is not None:
            return self._difference(self.previous(q, k, v, extra_options), q, k, v, extra_options, biases)
        if OVERRIDE in extra_options:  # somebody else's attention function: as a patch, it never sees our biases
            return self._difference(stock_attention(q, k, v, extra_options), q, k, v, extra_options, biases)
        pieces, done = [], 0
        for span, bias in zip(plan.spans, biases, strict=True):
            if span.start > done:
                before = slice(done, span.start)
                pieces.append(stock_attention(q[before], k[before], v[before], extra_options))
            rows = slice(span.start, span.stop)
            pieces.append(_biased(q[rows], k[rows], v[rows], extra_options, bias))
            done = span.stop
        if done < plan.rows:
            pieces.append(stock_attention(q[done:], k[done:], v[done:], extra_options))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)

    def _difference(
        self, out: Tensor, q: Tensor, k: Tensor, v: Tensor, options: dict[str, Any], biases: tuple[Tensor, ...]
    ) -> Tensor:
        """`out` plus what the biases change: the attention to the text with them less the one without."""
        pieces, done = [], 0
        for span, bias in zip(self.plan.spans, biases, strict=True):
            rows = slice(span.start, span.stop)
            of = q[rows], k[rows], v[rows], options
            change = _biased(*of, bias) - _biased(*of, None)
            pieces += [out[done : span.start], out[rows] + change.to(out.dtype)]
            done = span.stop
        # Put together anew, never added in place: what a patch returns may be one of its inputs.
        return torch.cat([*pieces, out[done:]]) if pieces else out

    def _watch(self, q: Tensor, k: Tensor, heads: int, size: tuple[int, int], biases: tuple[Tensor, ...]) -> None:
        part, number, index = self.layer
        for watched in self.watched:
            bias = None
            for span, candidate in zip(self.plan.spans, biases, strict=True):
                if span.start <= watched.start and watched.stop <= span.stop:
                    first = watched.start - span.start
                    one = len(candidate) == 1
                    bias = candidate if one else candidate[first : first + watched.stop - watched.start]
            rows = slice(watched.start, watched.stop)
            share = attention_share(q[rows], k[rows], heads, watched.members, bias)
            self.record.add(f"{part} {number}.{index}", size, watched.names, share)


def _biased(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any], bias: Tensor | None) -> Tensor:
    """PyTorch's own attention, as Sage and flash kernels refuse a bias, or drop it; as precise as the stock one is."""
    heads = extra_options["n_heads"]
    precision = get_attn_precision(extra_options["attn_precision"], q.dtype)
    if precision in (None, q.dtype) or optimized_attention is attention_pytorch:
        return region_attention(q, k, v, heads, bias)
    return region_attention(q.to(precision), k.to(precision), v.to(precision), heads, bias).to(q.dtype)


def stock_attention(q: Tensor, k: Tensor, v: Tensor, extra_options: dict[str, Any]) -> Tensor:
    """What a layer without patches does, another pack's override of the attention function included."""
    precision = extra_options["attn_precision"]
    return optimized_attention(
        q, k, v, extra_options["n_heads"], attn_precision=precision, transformer_options=extra_options
    )


def _misfit(plan: Plan, q: Tensor, k: Tensor, places: int, reads_tokens: bool) -> str:
    found = f"{q.shape[0]} rows of {q.shape[1]} places and {k.shape[1]} tokens"
    node = "Mask-Guided Attention" if reads_tokens else "Apply Style Reference"
    lost = "the positions of the identifier are lost" if reads_tokens else "which rows the reference is for is lost"
    message = (
        f"{node} expected {plan.rows} rows of {places} places and {plan.keys} tokens, and got {found}. "
        f"Another node changes the attention's inputs, and {lost}: "
    )
    if q.shape[0] != plan.rows:
        return message + "an attention couple (PPM and others) repeats rows. Use one of the two."
    if q.shape[1] == places:
        return message + "NegPip halves the tokens, others append some. Use one of the two."
    return message + "something merges places. Use one of the two."
