"""Resizing with exact, stated weights."""

import numpy as np
import torch

LANCZOS_RADIUS = 3


Box = tuple[float, float, float, float]
"""Top, left, bottom and right in pixels; fractions of pixels are allowed."""


def area_average(image: torch.Tensor, height: int, width: int, box: Box | None = None) -> torch.Tensor:
    """Area-averages [..., H, W] to [..., height, width]; every output pixel is the mean of the area it covers.

    `box`: the part of the image to take; the whole by default.
    """
    top, left, bottom, right = box or (0, 0, *image.shape[-2:])
    rows = _coverage(image.shape[-2], height, top, bottom).to(image)
    columns = _coverage(image.shape[-1], width, left, right).to(image)
    return rows @ image @ columns.T


def _coverage(size: int, target: int, first: float, last: float) -> torch.Tensor:
    """[target, size]: the share of each input pixel in each output pixel, within first..last; rows sum to 1."""
    edges = first + torch.arange(target + 1, dtype=torch.float64) * ((last - first) / target)
    pixel = torch.arange(size, dtype=torch.float64)
    end = torch.minimum(edges[1:, None], pixel + 1)
    start = torch.maximum(edges[:-1, None], pixel)
    share = (end - start).clamp(min=0)
    return share / share.sum(dim=1, keepdim=True)


def lanczos_footprint_all(where: np.ndarray, height: int, width: int) -> np.ndarray:
    """bool [height, width]: True where Pillow's LANCZOS resize of bool [H, W] would read nothing but True pixels.

    The windows are Pillow's own (precompute_coeffs in src/libImaging/Resample.c).
    """
    sums = np.zeros((where.shape[0] + 1, where.shape[1] + 1), np.int64)
    sums[1:, 1:] = where.cumsum(0, dtype=np.int64).cumsum(1)
    top, bottom = _lanczos_windows(where.shape[0], height)
    left, right = _lanczos_windows(where.shape[1], width)
    found = sums[bottom][:, right] - sums[top][:, right] - sums[bottom][:, left] + sums[top][:, left]
    return found == (bottom - top)[:, None] * (right - left)[None, :]


def _lanczos_windows(size: int, target: int) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last input pixel that each output pixel reads."""
    scale = size / target
    support = LANCZOS_RADIUS * max(scale, 1.0)
    centre = (np.arange(target) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), size)
    return first, last
