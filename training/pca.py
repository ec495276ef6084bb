"""Linear PCA of 8x8 patches: the baseline that the autoencoder has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PATCH = 8


@dataclass(frozen=True)
class PatchPCA:
    """`mean` [192], `basis` [192,C] orthonormal columns, `scale` [C]: coefficient / scale is the latent."""

    mean: Tensor
    basis: Tensor
    scale: Tensor

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight [C,3,8,8] and bias [C] of the convolution that encodes."""
        weight = (self.basis / self.scale).T.reshape(-1, 3, PATCH, PATCH)
        return weight, -((self.mean @ self.basis) / self.scale)

    def encode(self, images: Tensor) -> Tensor:
        """[B,3,H,W] in [0,1] -> [B,C,H/8,W/8]."""
        return F.conv2d(images, *self.kernel(), stride=PATCH)

    def decode(self, latents: Tensor) -> Tensor:
        """The least-squares picture [B,3,8h,8w]."""
        weight = (self.basis * self.scale).T.reshape(-1, 3, PATCH, PATCH)
        bias = self.mean.reshape(1, 3, PATCH, PATCH).repeat(1, 1, *latents.shape[-2:])
        return F.conv_transpose2d(latents, weight, stride=PATCH) + bias


def fit(images: Tensor, channels: int, patches: int = 200_000, seed: int = 0) -> PatchPCA:
    """Fits `channels` components to random patches of `images` [N,3,H,W] uint8.

    Each coefficient is divided by the root of its deviation, so that strong components stay stronger than weak ones and
    noise isn't amplified to unit variance; a common factor makes the mean variance of the latents 1.
    """
    generator = torch.Generator().manual_seed(seed)
    n, _, height, width = images.shape
    which = torch.randint(n, (patches,), generator=generator)
    top = torch.randint(height - PATCH + 1, (patches,), generator=generator)
    left = torch.randint(width - PATCH + 1, (patches,), generator=generator)
    rows = top[:, None] + torch.arange(PATCH)
    columns = left[:, None] + torch.arange(PATCH)
    picked = images[which[:, None, None], :, rows[:, :, None], columns[:, None, :]]  # [P,8,8,3]
    x = picked.permute(0, 3, 1, 2).reshape(patches, -1).double() / 255
    mean = x.mean(0)
    values, vectors = torch.linalg.eigh((x - mean).T @ (x - mean) / patches)
    basis = vectors[:, -channels:].flip(1)
    deviation = values[-channels:].flip(0).sqrt()
    scale = deviation.sqrt()
    scale = scale * ((deviation / scale) ** 2).mean().sqrt()
    return PatchPCA(mean.float(), basis.float(), scale.float())
