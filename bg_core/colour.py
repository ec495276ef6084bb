"""Colour arithmetic on numpy pictures."""

import numpy as np

_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    np.float32,
)
_WHITE = _TO_XYZ.sum(axis=1)


def rgb_to_lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [..., 3] in 0..255 to CIE Lab (D65) [..., 3], float32; one unit is about the least visible difference."""
    value = np.asarray(rgb, np.float32) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def luminance_slope(lightness: np.ndarray) -> np.ndarray:
    """Steepness of [H, W] in units a pixel, measured over three pixels."""
    from scipy import ndimage

    return np.hypot(ndimage.sobel(lightness, 0), ndimage.sobel(lightness, 1)) / 8.0


def smooth(values: np.ndarray, weight: np.ndarray, sigma: float) -> np.ndarray:
    """Normalised convolution: the Gaussian mean of [H, W, C] where weight [H, W] > 0; far from any weight, 0."""
    from scipy import ndimage

    total = ndimage.gaussian_filter(weight.astype(np.float32), sigma)
    summed = ndimage.gaussian_filter(values.astype(np.float32) * weight[..., None], (sigma, sigma, 0))
    return summed / np.maximum(total, 1e-6)[..., None]
