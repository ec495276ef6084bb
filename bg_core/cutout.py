"""Cutting a packshot off a plain studio background: white, grey or coloured, with its soft shadow.

The background is a smooth colour field fitted to the picture's border. It is then flooded from the border inwards, so
that whites inside a label stay part of the product, and passes on into soft shadow: the background's own colour,
darker, without an edge. The hard outline is found on a picture of at most WORK_SIDE pixels; the soft alpha along it is
solved at the photograph's own resolution.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .colour import luminance_slope, rgb_to_lab, smooth
from .edge import soft_alpha
from .errors import ProductBackgroundError

WORK_SIDE = 1000

_ADVICE = "Give a product mask, or a photograph with alpha or on a plain background with some room around the product."


@dataclass(frozen=True)
class Cutout:
    """alpha: uint8 [H, W], 255 = product. background: float32 [H, W, 3], 0..255, the studio background behind it."""

    alpha: np.ndarray
    background: np.ndarray


@dataclass(frozen=True)
class BackgroundModel:
    """A polynomial colour field over the picture, and how much the real background scatters around it.

    coefficients: [terms, 3] for RGB in 0..255 over x, y in -1..1. noise: the scatter in Lab units.
    """

    coefficients: np.ndarray
    order: int
    noise: float

    def render(self, height: int, width: int) -> np.ndarray:
        """float32 [height, width, 3], 0..255."""
        y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        field = _terms(x.ravel(), y.ravel(), self.order) @ self.coefficients
        return field.clip(0, 255).reshape(height, width, 3).astype(np.float32)


def cut_out(rgb: np.ndarray) -> Cutout:
    """Finds the product in uint8 [H, W, 3].

    Raises ProductBackgroundError where the border isn't a plain background (too varied, or covered by the product) and
    where nothing differs from the background.
    """
    height, width = rgb.shape[:2]
    shrink = max(1.0, max(height, width) / WORK_SIDE)
    work = rgb
    if shrink > 1:
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        work = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    model = fit_background(work)
    product = _product_region(work, model)
    background = model.render(height, width)
    if shrink > 1:
        enlarged = Image.fromarray(product.astype(np.uint8) * 255).resize((width, height), Image.Resampling.BILINEAR)
        product = np.asarray(enlarged) >= 128
    alpha = soft_alpha(rgb, product, background, band=1.5 + 0.75 * shrink)
    return Cutout(alpha, background)


def fit_background(rgb: np.ndarray) -> BackgroundModel:
    """Fits the colour field to the border of uint8 [H, W, 3], ignoring the part that the product covers."""
    height, width = rgb.shape[:2]
    ring = max(2, round(0.01 * max(height, width)))
    border = np.zeros((height, width), bool)
    border[:ring], border[-ring:], border[:, :ring], border[:, -ring:] = True, True, True, True
    rows, columns = np.nonzero(border)
    x, y = columns / max(1, width - 1) * 2 - 1, rows / max(1, height - 1) * 2 - 1
    colours = rgb[border].astype(np.float64)
    lab = rgb_to_lab(colours)

    # Start from the commonest border colour, then let the field bend step by step while the tolerance shrinks.
    cells, counts = np.unique(np.round(lab / 5), axis=0, return_counts=True)
    centre = cells[counts.argmax()] * 5
    inside = np.linalg.norm(lab - centre, axis=1) < 10
    for order, tolerance in ((0, 12.0), (1, 10.0), (1, 8.0), (2, 7.0), (2, 6.0)):
        terms = _terms(x, y, order)
        # The ridge keeps the field flat where the product hides one side of the border.
        ridge = np.eye(terms.shape[1]) * 1e-3 * inside.sum()
        ridge[0, 0] = 0.0
        system = terms[inside].T @ terms[inside] + ridge
        coefficients = np.linalg.solve(system, terms[inside].T @ colours[inside])
        distance = np.linalg.norm(lab - rgb_to_lab((terms @ coefficients).clip(0, 255)), axis=1)
        inside = distance < tolerance
        if inside.mean() < 0.3:
            raise ProductBackgroundError(
                f"The product can't be cut out: only {inside.mean():.0%} of the picture's border is one plain colour, "
                f"so the background isn't plain or the product covers the border. {_ADVICE}"
            )
    noise = float(1.4826 * np.median(distance[inside]))
    if noise > 4.0:
        raise ProductBackgroundError(
            f"The product can't be cut out: the background isn't plain (its colour scatters by {noise:.1f} Lab units; "
            f"up to 4 is accepted). {_ADVICE}"
        )
    return BackgroundModel(coefficients, order, noise)


def _terms(x: np.ndarray, y: np.ndarray, order: int) -> np.ndarray:
    powers = [(0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2)][: (1, 3, 6)[order]]
    return np.stack([x**i * y**j for i, j in powers], axis=1)


def _product_region(rgb: np.ndarray, model: BackgroundModel) -> np.ndarray:
    """bool [H, W]: everything that the flood from the border doesn't reach, without specks."""
    from scipy import ndimage

    height, width = rgb.shape[:2]
    # A median takes JPEG's ringing off the background and leaves edges where they are.
    calm = ndimage.median_filter(rgb, size=(3, 3, 1)).astype(np.float32)
    lab = rgb_to_lab(calm)
    field = model.render(height, width)
    field_lab = rgb_to_lab(field)
    near = np.linalg.norm(lab - field_lab, axis=2) < np.clip(4 * model.noise, 2.2, 8.0)
    shadow = _shadow(calm, lab, field, field_lab)

    open_ground = _flood(near, np.ones_like(near), gap=1)
    background = _flood(near | shadow, open_ground, gap=1)
    product = ~background
    product = ndimage.binary_fill_holes(product)
    return _without_specks(product, np.linalg.norm(lab - field_lab, axis=2))


def _shadow(rgb: np.ndarray, lab: np.ndarray, field: np.ndarray, field_lab: np.ndarray) -> np.ndarray:
    """bool [H, W]: the background's own chroma, darker, and without an edge."""
    light = np.clip(lab[..., 0] / np.maximum(field_lab[..., 0], 1.0), 0.0, 1.2)
    # Under less light a colour keeps its ratios, and its Lab chroma shrinks about with the lightness.
    chroma = np.linalg.norm(lab[..., 1:] - field_lab[..., 1:] * light[..., None], axis=2)
    return (chroma < 4.0) & (light < 1.0) & (light > 0.35) & (luminance_slope(lab[..., 0]) < 2.0)


def _flood(passable: np.ndarray, seeds: np.ndarray, gap: int) -> np.ndarray:
    """The part of `passable` reached from the picture's border (where `seeds`) without squeezing through narrow gaps."""
    from scipy import ndimage

    wide = ndimage.binary_erosion(passable, iterations=gap, border_value=1)
    labels, count = ndimage.label(wide)
    rim = np.zeros_like(passable)
    rim[0], rim[-1], rim[:, 0], rim[:, -1] = True, True, True, True
    reached = np.zeros(count + 1, bool)
    reached[labels[rim & wide & seeds]] = True
    reached[0] = False
    return ndimage.binary_dilation(reached[labels], iterations=gap + 1, mask=passable)


def _without_specks(product: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """Keeps the pieces that are large beside the largest one and clearly not background."""
    from scipy import ndimage

    labels, count = ndimage.label(product, structure=np.ones((3, 3)))
    if count == 0:
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {_ADVICE}")
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(product, labels, index)
    contrast = ndimage.maximum(distance, labels, index)
    keep = (area >= 0.01 * area.max()) & (area >= 12) & (contrast > 6.0)
    if not keep.any():
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {_ADVICE}")
    return np.concatenate([[False], keep])[labels]
