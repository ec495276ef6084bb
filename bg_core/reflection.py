"""The mirror image of a product on a glossy floor: a fainter copy of what stands above it, upside down."""

import numpy as np
from PIL import Image

from .colour import rgb_to_lab

# Mirror images are looked for at this size; they are soft anyway.
SIDE = 200
# How deep a mirror image must at least be, in shares of the product's height.
DEPTH = 0.1
# Measured on a carton on glass: 0.40, 0.84, 0.66. Of thirty-one other pictures none passes all but one of the tests.
ALIKE_DOWN, ALIKE_ACROSS, ALIKE_EVERYWHERE = 0.3, 0.75, 0.5
STRONGEST, FADING = 0.65, 0.85


def without_reflection(rgb: np.ndarray, product: np.ndarray) -> np.ndarray:
    """bool [H, W] `product` without its mirror image on the floor in uint8 [H, W, 3]; unchanged if there is none."""
    height, width = product.shape
    shrink = max(1.0, max(height, width) / SIDE)
    size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
    small = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    region = np.asarray(Image.fromarray(product.astype(np.uint8) * 255).resize(size, Image.Resampling.BOX)) >= 128
    found = _base_line(small, region)
    if found is None:
        return product
    columns, base = found
    scale = height / size[1]
    line = np.interp((np.arange(width) + 0.5) * size[0] / width - 0.5, columns, base)
    return product & (np.arange(height)[:, None] < np.round((line + 1) * scale)[None, :])


def _base_line(rgb: np.ndarray, product: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Columns and, in each, the last row of the product itself; None where nothing is mirrored below such a line."""
    rows, columns = np.nonzero(product.any(axis=1))[0], np.nonzero(product.any(axis=0))[0]
    if len(rows) < 40 or len(columns) < 20 or product.all():
        return None
    lab = rgb_to_lab(rgb)
    offset = lab - np.median(lab[~product], axis=0)
    depth = max(8, int(DEPTH * (rows[-1] - rows[0] + 1)))
    candidates = np.arange(rows[0] + len(rows) // 2, rows[-1] - depth // 2)
    columns = np.nonzero(product[candidates[0] :].any(axis=0))[0][2:-2] if len(candidates) else columns[:0]
    if len(columns) < 20:
        return None
    scores = np.stack([_likeness(offset[:, columns], row, depth) for row in candidates])
    base, likeness = _best_line(scores)
    base = candidates[base]
    if likeness.mean() < ALIKE_DOWN or not _is_mirrored(offset, base, columns, depth):
        return None
    # All of the mirror image was taken for the product: what already ends at the line has none.
    below = np.minimum(base + int(0.8 * depth), len(product) - 1)
    return (columns, base) if product[below, columns].mean() > 0.9 else None


def _likeness(offset: np.ndarray, row: int, depth: int) -> np.ndarray:
    """float [W]: the correlation of each column above `row` with its mirror image below; low where that isn't fainter.

    A pixel on either side of the axis is left out: it mixes both.
    """
    depth = min(depth, len(offset) - row - 2)
    below, above = offset[row + 2 : row + 2 + depth], offset[row - depth : row][::-1]
    b, a = below - below.mean(axis=0), above - above.mean(axis=0)
    # The constant is what noise of two units would give.
    score = (a * b).sum((0, 2)) / np.sqrt((a**2).sum((0, 2)) * (b**2).sum((0, 2)) + 6 * depth)
    fainter = (below**2).sum((0, 2)) < STRONGEST**2 * ((above**2).sum((0, 2)) + 1)
    return np.where(fainter, score, -0.5)


def _best_line(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The line through [rows, columns] that scores best and moves by at most a row a column: its row and its score in
    each column."""
    from scipy import ndimage

    scores = ndimage.uniform_filter1d(scores, 3, axis=1)
    total, moves = scores[:, 0], []
    for column in range(1, scores.shape[1]):
        padded = np.pad(total, 1, constant_values=-np.inf)
        options = np.stack([padded[:-2] - 0.05, padded[1:-1], padded[2:] - 0.05])
        moves.append(options.argmax(axis=0) - 1)
        total = options.max(axis=0) + scores[:, column]
    line = [int(total.argmax())]
    for move in reversed(moves):
        line.append(line[-1] + int(move[line[-1]]))
    path = np.array(line[::-1])
    return path, scores[path, np.arange(len(path))]


def _is_mirrored(offset: np.ndarray, base: np.ndarray, columns: np.ndarray, depth: int) -> bool:
    """Whether, at each distance from the line, the picture below varies from left to right as it does above, but is
    fainter and fades."""
    from scipy import ndimage

    soft = ndimage.gaussian_filter(offset, (0.7, 1, 0))
    likeness, gain = [], []
    for distance in range(2, depth):
        above = soft[base + 1 - distance, columns]
        below = soft[np.minimum(base + distance, len(soft) - 1), columns]
        a, b = above - above.mean(axis=0), below - below.mean(axis=0)
        # Again the constant is what two units of noise would give.
        likeness.append((a * b).sum() / np.sqrt((a**2).sum() * (b**2).sum() + (2 * len(columns)) ** 2))
        gain.append((above * below).sum() / max((above**2).sum(), 1.0))
    third = max(1, len(gain) // 3)
    near, far = np.mean(gain[:third]), np.mean(gain[-third:])
    alike = np.mean(likeness) > ALIKE_ACROSS and min(likeness) > ALIKE_EVERYWHERE
    return bool(alike and 0.05 < near < STRONGEST and far < FADING * near)
