"""Noise schedules, what networks predict, and how errors at different amounts of noise are weighed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bg_core.base import add_noise, alphas_cumprod, velocity

Prediction = Literal["v", "epsilon"]


@dataclass(frozen=True)
class Diffusion:
    """`alpha_bars` [T] float32, and whether the network predicts the velocity or the noise."""

    alpha_bars: Tensor
    prediction: Prediction = "v"

    def times(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] int64, one from each of `size` equal parts of the schedule: less noise in the loss than independent
        draws."""
        spread = (torch.arange(size) + torch.rand(size, generator=generator)) / size
        return (spread * len(self.alpha_bars)).long().clamp(max=len(self.alpha_bars) - 1)

    def alpha_bar(self, t: Tensor) -> Tensor:
        return self.alpha_bars[t.cpu()].to(t.device)

    def noisy(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """`latents` [B,C,h,w] at times `t` [B]."""
        return add_noise(latents, noise, self.alpha_bar(t))

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network should say, [B,C,h,w]."""
        return noise if self.prediction == "epsilon" else velocity(latents, noise, self.alpha_bar(t))

    def weight(self, t: Tensor, gamma: float, floor: float) -> Tensor:
        """Min-SNR weight of the squared error (arXiv 2303.09556), [B], but at least `floor`.

        min(snr, gamma) over snr where the noise is predicted, over snr + 1 where the velocity is.
        """
        alpha_bar = self.alpha_bar(t)
        snr = alpha_bar / (1 - alpha_bar)
        return (snr.clamp(max=gamma) / (snr + (self.prediction == "v"))).clamp(min=floor)


def demonstration_diffusion() -> Diffusion:
    """The demonstration base's: velocity, zero terminal SNR."""
    return Diffusion(alphas_cumprod().float())
