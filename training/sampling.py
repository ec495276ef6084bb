"""The sampler of suites and sample sheets; the product itself samples with ComfyUI's KSampler."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from bg_core.base import alphas_cumprod, inpainting_input

Noise = Callable[[], Tensor]
"""Fresh normal noise [B,C,h,w] at every call."""


@torch.no_grad()
def euler_ancestral(
    predict: Callable[[Tensor, Tensor, Tensor], Tensor],
    noise: Noise,
    mask: Tensor,
    masked: Tensor,
    text: Tensor,
    empty: Tensor,
    steps: int = 20,
    guidance: float = 3.0,
) -> Tensor:
    """Latents [B,C,h,w] over trailing timesteps. `predict(input [2B,2C+1,h,w], t [2B], context)` gives v.

    What the host's sampler of that name does in terms of sigmas, as our graphs use it: DDIM with eta 1 (arXiv
    2010.02502, equation 16). Fresh noise at every step mends what a small network gets wrong in the one before: on
    validation pictures horizons are straight where the deterministic sampler leaves tatters.
    """
    alpha_bar = alphas_cumprod().float()
    times = torch.linspace(len(alpha_bar) - 1, 0, steps + 1).round().long()
    context = torch.cat([text, empty])  # one tensor for all steps: its keys and values can be kept
    x = noise()
    for now, then in pairwise(times):
        a, b = (alpha_bar[t].to(x.device) if t > 0 else torch.ones((), device=x.device) for t in (now, then))
        rows = inpainting_input(x, mask, masked)
        v = predict(torch.cat([rows, rows]), now.to(x.device).expand(2 * len(x)), context)
        with_text, without = v.chunk(2)
        v = without + guidance * (with_text - without)
        clean = a.sqrt() * x - (1 - a).sqrt() * v
        eps = a.sqrt() * v + (1 - a).sqrt() * x
        if then == 0:
            return clean
        fresh = (1 - b) / (1 - a) * (1 - a / b)  # variance
        x = b.sqrt() * clean + (1 - b - fresh).sqrt() * eps + fresh.sqrt() * noise()
    return x
