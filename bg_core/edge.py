"""The soft edge of a cut-out: its alpha, and its colour with the old background taken out."""

import math

import numpy as np
from PIL import Image

from .colour import smooth

# Up to this many pixels the nearest colours are searched at full resolution.
NEAREST_PIXELS = 1_000_000


def signed_distance(product: np.ndarray) -> np.ndarray:
    """float32 [H, W]: the distance to the outline of bool [H, W] in pixels, positive inside."""
    from scipy import ndimage

    inside = ndimage.distance_transform_edt(product)
    outside = ndimage.distance_transform_edt(~product)
    return np.where(product, inside - 0.5, 0.5 - outside).astype(np.float32)


def soft_alpha(rgb: np.ndarray, work: np.ndarray, distance: np.ndarray, shrink: float) -> np.ndarray:
    """Alpha along an outline, from how far each pixel lies between product and background colour.

    rgb: uint8 [H, W, 3]. work: uint8 [h, w, 3], the same with pixels `shrink` (1 or more) times as wide. distance:
    float32 [h, w], signed distance to the outline in pixels of `work`. Returns uint8 [H, W].
    """
    # Half-width of the edge in pixels of rgb; outside it alpha is 0 or 255.
    band = 1.5 + 0.75 * shrink
    # Blocks of pixels that lie outside the edge altogether.
    clear = band / shrink + (0.5 if shrink > 1 else 0.0)
    core, ground = distance > clear, distance < -clear
    if shrink > 1:
        height, width = rgb.shape[:2]
        distance = enlarge(distance[..., None], height, width, shrink)[..., 0] * shrink
    alpha = (distance > 0).astype(np.uint8) * 255
    rows, columns = np.nonzero(np.abs(distance) <= band)
    if not core.any() or not ground.any() or not len(rows):
        return alpha

    colour, depth = rgb[rows, columns].astype(np.float32), distance[rows, columns]
    at = (np.stack([rows, columns]) + 0.5) / shrink - 0.5
    front = _sample(_nearest(work, core), at)
    # The nearest real ground holds shadow and light fall-off that the fitted background doesn't.
    back = _sample(_nearest(work, ground), at)
    span = front - back
    contrast = np.linalg.norm(span, axis=-1)
    solved = ((colour - back) * span).sum(-1) / np.maximum(contrast, 1.0) ** 2
    # The ends of the scale are noise: JPEG ringing must leave neither a veil nor holes.
    solved = ((solved - 0.06) / 0.92).clip(0, 1)
    # Where product and background look alike, only the outline's geometry says anything.
    shape = (0.5 + depth / (2 * min(band, 1.5))).clip(0, 1)
    trust = ((contrast - 12.0) / 30.0).clip(0, 1)
    alpha[rows, columns] = (trust * solved + (1 - trust) * shape) * 255 + 0.5
    return alpha


def _sample(field: np.ndarray, at: np.ndarray) -> np.ndarray:
    """[H, W, C] at the fractional rows and columns [2, n], bilinearly: [n, C]."""
    from scipy import ndimage

    return np.stack([ndimage.map_coordinates(plane, at, order=1, mode="nearest") for plane in field.transpose(2, 0, 1)], -1)


def _nearest(rgb: np.ndarray, where: np.ndarray) -> np.ndarray:
    """float32 [H, W, 3]: at every pixel the locally averaged colour of the nearest pixel where `where`.

    Large pictures are averaged in blocks first: the colours are means anyway, and the search costs seconds there.
    """
    from scipy import ndimage

    height, width = where.shape
    step = math.ceil(math.sqrt(where.size / NEAREST_PIXELS))
    weight = _block_sums(where[..., None].astype(np.float32), step)[..., 0]
    sums = _block_sums(np.where(where[..., None], rgb, 0).astype(np.float32), step)
    mean = sums / np.maximum(weight, 1)[..., None]
    rows, columns = ndimage.distance_transform_edt(weight == 0, return_distances=False, return_indices=True)
    found = smooth(mean, weight, 1.0)[rows, columns]
    return enlarge(found, height, width, step) if step > 1 else found


def _block_sums(values: np.ndarray, step: int) -> np.ndarray:
    """Sums over step x step blocks of [H, W, C]; the last ones may be smaller."""
    if step == 1:
        return values
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], step), axis=0)
    return np.add.reduceat(rows, np.arange(0, values.shape[1], step), axis=1)


def enlarge(field: np.ndarray, height: int, width: int, step: float) -> np.ndarray:
    """Bilinearly enlarges a smooth float32 [h, w, C] whose pixels are `step` of the large ones wide."""
    box = (0, 0, min(width / step, field.shape[1]), min(height / step, field.shape[0]))
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, box=box))
        for plane in np.ascontiguousarray(field.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=-1)


def decontaminate(rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray | None) -> np.ndarray:
    """The product's own colour everywhere: C = aF + (1-a)B solved for F on the soft edge, and extended outwards.

    rgb: uint8 [H, W, 3]. alpha: uint8 [H, W], 255 = product, somewhere above 0. background: [H, W, 3] or [3], 0..255,
    what lies behind the soft edge; None where the edge is known to hold no background colour (it is kept then).
    Returns uint8 [H, W, 3]; pixels with alpha 255 are unchanged.
    """
    opaque = alpha == 255
    # Glass and veils may be nowhere opaque: then their densest part stands for the product.
    own = _nearest(rgb, opaque if opaque.any() else alpha >= 0.9 * alpha.max())
    share = alpha[..., None].astype(np.float32) / 255.0
    seen = rgb.astype(np.float32)
    if background is not None:
        seen = (seen - (1 - share) * background) / np.maximum(share, 1 / 255)
    # Dividing by a small alpha multiplies JPEG noise; out there the nearest opaque colour is the better guess.
    trust = ((share - 0.25) / 0.4).clip(0, 1)
    colour = trust * seen.clip(0, 255) + (1 - trust) * own
    return np.where(opaque[..., None], rgb, (colour + 0.5).clip(0, 255).astype(np.uint8))


def surroundings(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray | None:
    """The old background's colour behind the soft edge, float32 [H, W, 3] in 0..255, from the nearest pixels with
    alpha 0; None where the product leaves none."""
    from scipy import ndimage

    outside = alpha == 0
    # A pixel away from the edge: its blur reaches one pixel further than the alpha tells.
    clear = ndimage.binary_erosion(outside, border_value=1)
    if not outside.any():
        return None
    return _nearest(rgb, clear if clear.any() else outside)


def holds_background(rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> bool:
    """Whether the soft edge mixes product and background.

    A photograph under a mask does; a PNG that an editor exported usually has clean colours under its alpha already,
    and whatever fills its transparent part says nothing about the edge.
    """
    edge = (alpha > 25) & (alpha < 230)
    opaque = alpha == 255
    if not edge.any() or not opaque.any():
        return False
    front = _nearest(rgb, opaque)[edge]
    span = background[edge] - front
    length = (span**2).sum(-1)
    telling = length > 20.0**2
    if not telling.any():
        return False
    seen = ((rgb[edge] - front) * span).sum(-1)[telling] / length[telling]
    expected = 1 - alpha[edge][telling] / 255.0
    return bool((seen * expected).sum() / (expected**2).sum() > 0.5)
