"""The soft edge of a cut-out: its alpha, and its colour with the old background taken out."""

import numpy as np

from .colour import smooth


def soft_alpha(rgb: np.ndarray, product: np.ndarray, background: np.ndarray, band: float) -> np.ndarray:
    """Alpha along the outline of a hard mask, from how far each pixel lies between product and background colour.

    rgb: uint8 [H, W, 3]. product: bool [H, W]. background: float32 [H, W, 3], 0..255. band: half-width of the edge in
    pixels; outside it alpha is 0 or 255. Returns uint8 [H, W].
    """
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(product)
    outside = ndimage.distance_transform_edt(~product)
    core, ground = inside > band, outside > band
    edge = ~(core | ground)
    if not core.any() or not edge.any():
        return product.astype(np.uint8) * 255

    colour = rgb[edge].astype(np.float32)
    front = _nearest(rgb, core)[edge]
    # The nearest real ground holds shadow and light fall-off that the fitted background doesn't.
    back = _nearest(rgb, ground)[edge] if ground.any() else background[edge]
    span = front - back
    contrast = np.linalg.norm(span, axis=-1)
    solved = ((colour - back) * span).sum(-1) / np.maximum(contrast, 1.0) ** 2
    # The ends of the scale are noise: JPEG ringing must leave neither a veil nor holes.
    solved = ((solved - 0.08) / 0.84).clip(0, 1)
    # Where product and background look alike, only the outline's geometry says anything.
    shape = (0.5 + (inside - outside)[edge] / (2 * min(band, 1.5))).clip(0, 1)
    trust = ((contrast - 12.0) / 30.0).clip(0, 1)
    alpha = core.astype(np.float32)
    alpha[edge] = trust * solved + (1 - trust) * shape
    return (alpha * 255 + 0.5).astype(np.uint8)


def _nearest(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """float32 [H, W, 3]: at every pixel the locally averaged colour of the nearest pixel where `where`."""
    from scipy import ndimage

    rows, columns = ndimage.distance_transform_edt(~where, return_distances=False, return_indices=True)
    calm = smooth(rgb, where, 1.0)
    return calm[rows, columns]
