"""Cross-attention in which groups of tokens act in regions of the picture only.

With logits S = Q K^T / sqrt(d), a group of tokens G and its region r in [0,1] over the picture:

    S'[q,k] = S[q,k] + strength * log(max(r[q], EPS))   for k in G,   S'[q,k] = S[q,k] for all others,

then softmax over k. At strength 1 the odds of a token of G at a place q are multiplied by r[q]: all of them where r is
1, none where r is 0, half where r is a half. This is the mask-guided cross-attention of arXiv 2312.13309, whose text
gives the idea and no equation: the logarithm, and what strength means, are our choice.

Everything that depends on masks and tokens is a bias, made once for a picture size; the attention itself is PyTorch's
own with that bias. Of the ways to compute it, tests/drills/attention_kernels.py holds the candidates and their times.
The same functions serve training and ComfyUI.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

EPS = 1e-8
"""The smallest region value. It turns odds of e^18 to 1; the largest logits of trained layers stay well below."""

WHOLE = 1 - 1e-6
"""A region value from here on counts as 1: averages of ones come out a rounding error off, and must give no bias."""

ALIGNMENT = 16
"""Rows of the bias begin at multiples of so many elements: CUDA's kernels else copy the bias in every layer."""


def region_logits(region: Tensor, strength: float | Tensor = 1.0) -> Tensor:
    """strength * log(max(region, EPS)), in float32 and exactly 0 where the region is whole; any shape, region in [0,1].

    `strength` is a number or broadcasts against `region`.
    """
    logits = region.float().clamp(min=EPS).log() * strength
    return torch.where(region >= WHOLE, torch.zeros_like(logits), logits)


def membership(positions: Sequence[Iterable[int]], length: int, device: torch.device | None = None) -> Tensor:
    """Which of `length` tokens belong to which of G groups, float32 [G,length] of zeros and ones."""
    members = torch.zeros(len(positions), length)
    for group, places in enumerate(positions):
        members[group, list(places)] = 1.0
    return members.to(device)


def attention_bias(logits: Tensor, members: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """The bias [B,1,N,M] that `region_attention` adds to the logits of every head.

    `logits` [B,G,N]: `region_logits` of each row's G groups at N places. `members` [B,G,M] or [G,M]: `membership` of
    each row's groups among M tokens. Rows with fewer groups get zeros in either. A token of several groups gets the
    sum.
    """
    bias = torch.einsum("bgn,bgm->bnm", logits, members.to(logits).expand(len(logits), -1, -1))
    rows, places, tokens = bias.shape
    aligned = torch.empty(rows, 1, places, -(-tokens // ALIGNMENT) * ALIGNMENT, dtype=dtype, device=bias.device)
    aligned = aligned[..., :tokens]
    return aligned.copy_(bias[:, None])


def region_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, bias: Tensor | None = None) -> Tensor:
    """Attention [B,N,heads*d] of `q` [B,N,heads*d] to `k` and `v` [B,M,heads*d], all of one dtype.

    `bias` [B or 1,1,N,M] from `attention_bias`, best in the same dtype; None is plain attention, bit for bit.
    """
    q, k, v = (_split(tensor, heads) for tensor in (q, k, v))
    if bias is not None:
        bias = bias.to(q.dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias).transpose(1, 2).flatten(2)


def attention_share(q: Tensor, k: Tensor, heads: int, members: Tensor, bias: Tensor | None = None) -> Tensor:
    """The share of its attention that each place gives to each group of tokens, mean over the heads.

    float32 [B,G,N] in [0,1], from `q` [B,N,heads*d], `k` [B,M,heads*d], `members` [B,G,M] or [G,M] and the `bias` that
    the attention itself gets. Differentiable: a loss on it can teach tokens where to act.
    """
    q, k = _split(q, heads), _split(k, heads)
    weight = members.to(q.device, torch.float32).expand(len(q), -1, -1)
    share = q.new_zeros(len(q), weight.shape[1], q.shape[2], dtype=torch.float32)
    for head in range(heads):  # one at a time: all heads at once would be the largest tensor of the whole model
        logits = (q[:, head].float() * q.shape[-1] ** -0.5) @ k[:, head].float().transpose(1, 2)
        if bias is not None:
            logits = logits + bias[:, 0].float()
        share = share + weight @ logits.softmax(-1).transpose(1, 2)
    return share / heads


def _split(tensor: Tensor, heads: int) -> Tensor:
    """[B,N,heads*d] -> [B,heads,N,d]."""
    return tensor.unflatten(-1, (heads, -1)).transpose(1, 2)
