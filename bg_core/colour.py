"""Colour arithmetic on numpy pictures."""

import numpy as np

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    np.float32,
)
_WHITE = _TO_XYZ.sum(axis=1)


def _linear(rgb: np.ndarray) -> np.ndarray:
    value = rgb / np.float32(255)
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4).astype(np.float32)


_LINEAR = _linear(np.arange(256, dtype=np.float32))


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] in 0..255 to CIE Lab (D65) [..., 3], float32; one unit is about the least visible difference."""
    rgb = np.asarray(rgb)
    linear = _LINEAR[rgb] if rgb.dtype == np.uint8 else _linear(rgb.astype(np.float32))
    ratio = linear @ (_TO_XYZ.T / _WHITE)
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def median3(picture: np.ndarray) -> np.ndarray:
    """The median over 3x3 pixels of uint8 [H, W, C]: of the columns' lowest the highest, of their middles the middle,
    of their highest the lowest, and of those three the middle."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = padded[:-2], padded[1:-1], padded[2:]
    low, high = np.minimum(np.minimum(rows[0], rows[1]), rows[2]), np.maximum(np.maximum(rows[0], rows[1]), rows[2])
    middle = _middle(*rows)
    return _middle(
        np.maximum(np.maximum(low[:, :-2], low[:, 1:-1]), low[:, 2:]),
        _middle(middle[:, :-2], middle[:, 1:-1], middle[:, 2:]),
        np.minimum(np.minimum(high[:, :-2], high[:, 1:-1]), high[:, 2:]),
    )


def _middle(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return np.maximum(np.minimum(a, b), np.minimum(np.maximum(a, b), c))


def luminance_slope(lightness: np.ndarray) -> np.ndarray:
    """Steepness of [H, W] in units a pixel, measured over three pixels."""
    from scipy import ndimage

    return np.hypot(ndimage.sobel(lightness, 0), ndimage.sobel(lightness, 1)) / 8.0


def smooth(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Normalised convolution: the Gaussian mean of [H, W, C] where weight [H, W] > 0; far from any weight, 0."""
    from scipy import ndimage

    total = ndimage.gaussian_filter(weight.astype(np.float32), sigma, truncate=2.5)
    summed = ndimage.gaussian_filter(values.astype(np.float32) * weight[..., None], (sigma, sigma, 0), truncate=2.5)
    return summed / np.maximum(total, 1e-6)[..., None]
