"""A plain DDIM sampler for sheets drawn while training; the product itself samples with ComfyUI's KSampler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from bg_core.base import alphas_cumprod, inpainting_input


@torch.no_grad()
def ddim(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    noise: Tensor,
    mask: Tensor,
    masked: Tensor,
    text: Tensor,
    empty: Tensor,
    steps: int = 20,
    guidance: float = 3.0,
) -> Tensor:
    """Latents [B,C,h,w] from `noise`, trailing timesteps. `predict(input [2B,2C+1,h,w], t [2B], context)` gives v."""
    alpha_bar = alphas_cumprod().float().to(noise.device)
    times = torch.linspace(len(alpha_bar) - 1, 0, steps + 1).round().long().to(noise.device)
    context = torch.cat([text, empty])  # one tensor for all steps: its keys and values can be kept
    x = noise
    for now, then in pairwise(times):
        a, b = alpha_bar[now], alpha_bar[then] if then > 0 else alpha_bar.new_ones(())
        rows = inpainting_input(x, mask, masked)
        v = predict(torch.cat([rows, rows]), now.expand(2 * len(x)), context)
        with_text, without = v.chunk(2)
        v = without + guidance * (with_text - without)
        clean = a.sqrt() * x - (1 - a).sqrt() * v
        eps = a.sqrt() * v + (1 - a).sqrt() * x
        x = b.sqrt() * clean + (1 - b).sqrt() * eps
    return x
