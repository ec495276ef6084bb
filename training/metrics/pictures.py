"""Pixel metrics of experiments.md section 2. Pictures [B,3,H,W] in [0,1]; `where` [B,1,H,W] in [0,1] weighs pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def psnr(output: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB over the weighed pixels, [B]."""
    weight = where.expand_as(target)
    error = ((output - target) ** 2 * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3)).clamp(min=1e-6)
    return -10 * torch.log10(error.clamp(min=1e-10))


def edge_mask(target: Tensor, where: Tensor, share: float = 0.1) -> Tensor:
    """[B,1,H,W], 1 on the `share` of the weighed pixels whose luminance gradient is largest."""
    grey = target.mean(1, keepdim=True)
    dx = F.pad(grey, (1, 1, 0, 0), mode="replicate").diff(dim=3)
    dy = F.pad(grey, (0, 0, 1, 1), mode="replicate").diff(dim=2)
    strength = dx[..., 1:] ** 2 + dx[..., :-1] ** 2 + dy[..., 1:, :] ** 2 + dy[..., :-1, :] ** 2
    inside = where > 0.99
    strength = strength.masked_fill(~inside, -1.0)
    count = (inside.sum((1, 2, 3)).float() * share).long().clamp(min=1)
    ordered = strength.flatten(1).sort(dim=1, descending=True).values
    threshold = ordered.gather(1, (count - 1)[:, None])[:, :, None, None]
    return ((strength >= threshold) & inside).float()


def psnr_edges(output: Tensor, target: Tensor, where: Tensor) -> Tensor:
    """`psnr` over the tenth of pixels with the largest gradient, [B]: where blur shows."""
    return psnr(output, target, edge_mask(target, where))


def finest_band(image: Tensor) -> Tensor:
    """The finest level of a Laplacian pyramid, [B,3,H,W] for even H and W: what halving the picture loses."""
    return image - F.interpolate(F.avg_pool2d(image, 2), size=image.shape[-2:], mode="bilinear")


def fine_energy(image: Tensor, where: Tensor) -> Tensor:
    """Energy of the finest Laplacian band, [B]. Sharpness of a set is the ratio of sums over its pictures.

    A mean of ratios would be carried by plain pictures, which have next to no such energy to divide by.
    """
    return (finest_band(image) ** 2 * where).sum((1, 2, 3))
