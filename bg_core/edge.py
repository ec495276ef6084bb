"""The soft edge of a cut-out: its alpha, and its colour with the old background taken out."""

import math

import numpy as np
from PIL import Image


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
    rim = core & (distance < clear + 1)
    if shrink > 1:
        height, width = rgb.shape[:2]
        distance = enlarge(distance[..., None], height, width, shrink)[..., 0] * shrink
    alpha = (distance > 0).astype(np.uint8) * 255
    rows, columns = np.nonzero(np.abs(distance) <= band)
    if not core.any() or not ground.any() or not len(rows):
        return alpha

    colour, depth = rgb[rows, columns].astype(np.float32), distance[rows, columns]
    # The nearest real ground holds shadow and light fall-off that the fitted background doesn't.
    # The product's colour is taken from core's rim alone: print further in says nothing about a white edge.
    front, back = (_spread(work, side, rows, columns, shrink) for side in (rim, ground))
    span = front - back
    contrast = np.linalg.norm(span, axis=-1)
    solved = ((colour - back) * span).sum(-1) / np.maximum(contrast, 1.0) ** 2
    # The ends of the scale are noise: JPEG ringing must leave neither a veil nor holes.
    solved = ((solved - 0.06) / 0.92).clip(0, 1)
    # Where product and background look alike, only the outline's geometry says anything.
    shape = (0.5 + depth / (2 * min(band, 1.5))).clip(0, 1)
    trust = ((contrast - 12.0) / 30.0).clip(0, 1)
    trust[(solved < 0.4) & (depth > 0) & _plateau(rgb, distance, rows, columns, back, shrink)] = 0
    alpha[rows, columns] = (trust * solved + (1 - trust) * shape) * 255 + 0.5
    return alpha


def _plateau(
    rgb: np.ndarray, distance: np.ndarray, rows: np.ndarray, columns: np.ndarray, back: np.ndarray, shrink: float
) -> np.ndarray:
    """bool [n]: whether the picture steps up from the background `back` [n, 3] just outside a pixel and stays level
    inside it. At the foot of a blurred edge it would rise ever faster: here begins a pale product's own colour, such as
    the white margin beside a print."""
    from scipy import ndimage

    stride = max(1.0, 0.5 * shrink)
    last = np.array(distance.shape) - 1
    above, below = (distance[(rows + i).clip(0, last[0]), columns] for i in (-1, 1))
    left, right = (distance[rows, (columns + i).clip(0, last[1])] for i in (-1, 1))
    normal = np.stack([below - above, right - left])
    normal *= stride / np.maximum(np.hypot(*normal), 1e-3)
    at = np.stack([rows, columns])

    def contrast(offset: np.ndarray) -> np.ndarray:
        seen = [
            ndimage.map_coordinates(rgb[..., i], at + offset, np.float32, order=1, mode="nearest") for i in range(3)
        ]
        return np.linalg.norm(np.stack(seen, axis=-1) - back, axis=-1)

    outer, here, inner = contrast(-normal), contrast(0 * normal), contrast(normal)
    return (here > 6) & (inner - here < 0.5 * (here - outer))


def _spread(work: np.ndarray, where: np.ndarray, rows: np.ndarray, columns: np.ndarray, shrink: float) -> np.ndarray:
    """float32 [n, 3]: the nearest colours where `where` in `work`, at pixels that are `shrink` times finer."""
    from scipy import ndimage

    at = (np.stack([rows, columns]) + 0.5) / shrink - 0.5
    limit = np.array(where.shape)[:, None] - 1
    wanted = np.zeros(where.shape, bool)
    wanted[tuple(at.round().astype(int).clip(0, limit))] = True
    if shrink > 1:
        wanted = ndimage.binary_dilation(wanted, np.ones((3, 3)))
    field = np.zeros((*where.shape, 3), np.float32)
    field[wanted] = _nearest(work, where, wanted)
    if shrink == 1:
        return field[rows, columns]
    return np.stack([ndimage.map_coordinates(field[..., i], at, order=1, mode="nearest") for i in range(3)], axis=-1)


def _nearest(rgb: np.ndarray, where: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """float32 [n, 3]: for each pixel of bool [H, W] `wanted`, in row order, the colour of the nearest pixel where
    `where`, averaged with those of its 8 neighbours that are there too."""
    from scipy import ndimage

    rows, columns = np.nonzero(wanted)
    if not len(rows):
        return np.zeros((0, 3), np.float32)
    nearest = ndimage.distance_transform_edt(~where, return_distances=False, return_indices=True)
    rows, columns = nearest[:, rows, columns]
    height, width = where.shape
    total, count = np.zeros((len(rows), 3), np.float32), np.zeros((len(rows), 1), np.float32)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            y, x = (rows + down).clip(0, height - 1), (columns + right).clip(0, width - 1)
            there = where[y, x, None]
            total += there * rgb[y, x]
            count += there
    return total / count


def enlarge(field: np.ndarray, height: int, width: int, step: float) -> np.ndarray:
    """Bilinearly enlarges a smooth float32 [h, w, C] whose pixels are `step` of the large ones wide."""
    box = (0, 0, min(width / step, field.shape[1]), min(height / step, field.shape[0]))
    planes = [
        np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR, box=box))
        for plane in np.ascontiguousarray(field.transpose(2, 0, 1))
    ]
    return np.stack(planes, axis=-1)


def decontaminate(
    rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray | None, reach: float = np.inf
) -> np.ndarray:
    """The product's own colour: C = aF + (1-a)B solved for F on the soft edge, and extended `reach` pixels outwards.

    rgb: uint8 [H, W, 3]. alpha: uint8 [H, W], 255 = product, somewhere above 0. background: [H, W, 3] or [3], 0..255,
    what lies behind the soft edge; None where the edge is known to hold no background colour (it is kept then).
    Returns uint8 [H, W, 3]; pixels with alpha 255 and beyond the reach are unchanged.
    """
    from scipy import ndimage

    opaque = alpha == 255
    edge = ~opaque
    if np.isfinite(reach):
        edge &= ndimage.maximum_filter(alpha, 2 * math.ceil(reach) + 1) > 0
    # Glass and veils may be nowhere opaque: then their densest part stands for the product.
    own = _nearest(rgb, opaque if opaque.any() else alpha >= 0.9 * alpha.max(), edge)
    share = alpha[edge][:, None].astype(np.float32) / 255.0
    seen = rgb[edge].astype(np.float32)
    if background is not None:
        behind = np.broadcast_to(background, rgb.shape)[edge]
        seen = (seen - (1 - share) * behind) / np.maximum(share, 1 / 255)
    # Dividing by a small alpha multiplies JPEG noise; out there the nearest opaque colour is the better guess.
    trust = ((share - 0.25) / 0.4).clip(0, 1)
    colour = rgb.copy()
    colour[edge] = trust * seen.clip(0, 255) + (1 - trust) * own + 0.5
    return colour


def surroundings(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray | None:
    """The old background's colour behind the soft edge, float32 [H, W, 3] in 0..255, from the nearest pixels with
    alpha 0; None where the product leaves none. Elsewhere it is 0."""
    from scipy import ndimage

    outside = alpha == 0
    # A pixel away from the edge: its blur reaches one pixel further than the alpha tells.
    clear = ndimage.binary_erosion(outside, border_value=1)
    if not outside.any():
        return None
    edge = (alpha > 0) & (alpha < 255)
    found = np.zeros(rgb.shape, np.float32)
    found[edge] = _nearest(rgb, clear if clear.any() else outside, edge)
    return found


def holds_background(rgb: np.ndarray, alpha: np.ndarray, background: np.ndarray) -> bool:
    """Whether the soft edge mixes product and background.

    A photograph under a mask does; a PNG that an editor exported usually has clean colours under its alpha already,
    and whatever fills its transparent part says nothing about the edge.
    """
    edge = (alpha > 25) & (alpha < 230)
    opaque = alpha == 255
    if not edge.any() or not opaque.any():
        return False
    front = _nearest(rgb, opaque, edge)
    span = background[edge] - front
    length = (span**2).sum(-1)
    telling = length > 20.0**2
    if not telling.any():
        return False
    seen = ((rgb[edge] - front) * span).sum(-1)[telling] / length[telling]
    expected = 1 - alpha[edge][telling] / 255.0
    return bool((seen * expected).sum() / (expected**2).sum() > 0.5)
