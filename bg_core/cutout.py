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
from .edge import enlarge, signed_distance, soft_alpha
from .errors import ProductBackgroundError

WORK_SIDE = 1000
MIN_BORDER = 0.3
MAX_NOISE = 4.0
BLEED = 6

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
        # Separable: two small matrix products a channel instead of all the powers at every pixel.
        grid = np.zeros((3, self.order + 1, self.order + 1))
        for (i, j), colour in zip(_powers(self.order), self.coefficients, strict=True):
            grid[:, j, i] = colour
        rows = np.vander(np.linspace(-1, 1, height), self.order + 1, increasing=True)
        columns = np.vander(np.linspace(-1, 1, width), self.order + 1, increasing=True)
        planes = [(rows @ plane @ columns.T).astype(np.float32) for plane in grid]
        return np.stack(planes, axis=-1).clip(0, 255)


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
    product, model = _product_region(work, model, reach=max(1, round(BLEED / shrink)))
    background = model.render(height, width)
    distance = signed_distance(product)
    if shrink > 1:
        distance = enlarge(distance[..., None], height, width, shrink)[..., 0] * shrink
    alpha = soft_alpha(rgb, distance, background, band=1.5 + 0.75 * shrink)
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
    distance = np.linalg.norm(lab - centre, axis=1)
    inside = distance < 10
    for order, tolerance in ((0, 12.0), (1, 10.0), (1, 8.0), (2, 6.0), (2, 5.0)):
        coefficients = _solve(x[inside], y[inside], colours[inside], order)
        fitted = _terms(x, y, order) @ coefficients
        distance = np.linalg.norm(lab - rgb_to_lab(fitted.clip(0, 255)), axis=1)
        # A pale product that touches the border must not bend the field: what scatters little gets little tolerance.
        typical = np.median(distance[distance < tolerance]) if (distance < tolerance).any() else tolerance
        inside = distance < min(tolerance, 1.5 + 5 * typical)
        if inside.mean() < MIN_BORDER:
            raise ProductBackgroundError(
                f"The product can't be cut out: only {inside.mean():.0%} of the picture's border is one plain colour, "
                f"so the background isn't plain or the product covers the border. {_ADVICE}"
            )
    return _checked(BackgroundModel(coefficients, 2, _scatter(distance[inside])))


def _refit(rgb: np.ndarray, ground: np.ndarray) -> BackgroundModel:
    """Fits the field again to all the ground (bool [H, W]) that a first flood found."""
    height, width = ground.shape
    rows, columns = np.nonzero(ground)
    x, y = columns / max(1, width - 1) * 2 - 1, rows / max(1, height - 1) * 2 - 1
    colours = rgb[ground].astype(np.float64)
    coefficients = _solve(x, y, colours, 3)
    fitted = (_terms(x, y, 3) @ coefficients).clip(0, 255)
    return BackgroundModel(coefficients, 3, _scatter(np.linalg.norm(rgb_to_lab(colours) - rgb_to_lab(fitted), axis=1)))


def _solve(x: np.ndarray, y: np.ndarray, colours: np.ndarray, order: int) -> np.ndarray:
    terms = _terms(x, y, order)
    # The ridge keeps the field flat where the product hides one side of the border.
    ridge = np.eye(terms.shape[1]) * 1e-3 * len(terms)
    ridge[0, 0] = 0.0
    return np.linalg.solve(terms.T @ terms + ridge, terms.T @ colours)


def _scatter(distance: np.ndarray) -> float:
    return float(1.4826 * np.median(distance))


def _checked(model: BackgroundModel) -> BackgroundModel:
    if model.noise > MAX_NOISE:
        raise ProductBackgroundError(
            f"The product can't be cut out: the background isn't plain (its colour scatters by {model.noise:.1f} Lab "
            f"units; up to {MAX_NOISE:.0f} is accepted). {_ADVICE}"
        )
    return model


def _powers(order: int) -> list[tuple[int, int]]:
    """The exponents of x and y in each term."""
    return [(i, total - i) for total in range(order + 1) for i in range(total + 1)]


def _terms(x: np.ndarray, y: np.ndarray, order: int) -> np.ndarray:
    return np.stack([x**i * y**j for i, j in _powers(order)], axis=1)


def _product_region(rgb: np.ndarray, model: BackgroundModel, reach: int) -> tuple[np.ndarray, BackgroundModel]:
    """bool [H, W]: everything that the flood from the border doesn't reach, without specks; and the better model."""
    from scipy import ndimage

    # A median takes JPEG's ringing off the background and leaves edges where they are.
    calm = ndimage.median_filter(rgb, size=(3, 3, 1)).astype(np.float32)
    lab = rgb_to_lab(calm)
    ground = _flood(_near(lab, model, reach), _rim(lab.shape[:2]), gap=1)
    model = _refit(rgb, ground)
    near = _near(lab, model, reach)
    ground = _flood(near, _rim(near.shape), gap=1)
    tint = _shaded(lab, model)
    shadow = tint & _gentle(lab, model, ground)
    # Shadow is entered through wide openings only: a white box must not drain through a weak spot of its outline.
    background = ground | _flood(ground | shadow, ground, gap=max(2, round(0.015 * max(near.shape))))
    product = ndimage.binary_fill_holes(~background)
    product = _tidy(product, tint)
    height, width = near.shape
    distance = np.linalg.norm(lab - rgb_to_lab(model.render(height, width)), axis=2)
    return _without_specks(product, distance, model.noise), model


def _near(lab: np.ndarray, model: BackgroundModel, reach: int) -> np.ndarray:
    """bool [H, W]: pixels that look like the background and whose weakly differing neighbours do so on average.

    The average tells a white box (a little off everywhere) from JPEG noise on white (off to both sides). reach: how
    many pixels far a colour may bleed.
    """
    from scipy import ndimage

    offset = lab - rgb_to_lab(model.render(*lab.shape[:2]))
    # JPEG keeps colour at half resolution: a strong one bleeds some pixels out, while lightness stays in place.
    chroma = np.linalg.norm(offset[..., 1:], axis=2)
    bleed = (1 - 0.35 * ndimage.maximum_filter(chroma, 2 * reach + 1) / np.maximum(chroma, 1e-3)).clip(0, 1)
    offset[..., 1:] *= bleed[..., None]
    weak = np.linalg.norm(offset, axis=2) < 4.0 + 3 * model.noise
    mean = smooth(offset, weak, 1.5)
    return weak & (np.linalg.norm(mean, axis=2) < 1.2 + 2 * model.noise)


def _shaded(lab: np.ndarray, model: BackgroundModel) -> np.ndarray:
    """bool [H, W]: the background's own chroma, as light or darker."""
    field = rgb_to_lab(model.render(*lab.shape[:2]))
    light = np.clip(lab[..., 0] / np.maximum(field[..., 0], 1.0), 0.0, 1.2)
    # Under less light a colour keeps its ratios, and its Lab chroma shrinks about with the lightness.
    chroma = np.linalg.norm(lab[..., 1:] - field[..., 1:] * light[..., None], axis=2)
    return (chroma < 3.0 + model.noise) & (light < 1.01) & (light > 0.35)


def _gentle(lab: np.ndarray, model: BackgroundModel, ground: np.ndarray) -> np.ndarray:
    """bool [H, W]: pixels as steep as shadows are: the deeper, the steeper. A box that is a little darker than its
    background begins with a step that is steep for its depth."""
    from scipy import ndimage

    depth = rgb_to_lab(model.render(*lab.shape[:2]))[..., 0] - lab[..., 0]
    # Beyond the picture lies plain background: a product that is cut off there ends in a step, not in a shadow.
    slope = luminance_slope(ndimage.gaussian_filter(np.pad(depth, 2), 0.7))[2:-2, 2:-2]
    # Products stand: shadow lies low. Higher up, a smooth pale area is the product far more often than its shadow.
    rows = np.nonzero(~ground)[0]
    low = (np.arange(lab.shape[0]) > (np.quantile(rows, 0.65) if len(rows) else 0))[:, None]
    return low & (slope < np.minimum(0.4 + 0.28 * depth, 4.5) + 0.5 * model.noise)


def _tidy(product: np.ndarray, tint: np.ndarray) -> np.ndarray:
    """Takes off rims of shadow and spurs of noise: what is thin and has the background's tint."""
    from scipy import ndimage

    radius = max(1, round(0.008 * max(product.shape)))
    disc = np.hypot(*np.mgrid[-radius : radius + 1, -radius : radius + 1]) <= radius + 0.3
    padded = np.pad(product, radius, mode="edge")
    core = ndimage.binary_opening(padded, disc)[radius:-radius, radius:-radius]
    kept = product & (core | ~tint)
    # Where product and background are alike, the outline is a guess: make it a smooth one.
    size = max(product.shape)
    smoothed = ndimage.gaussian_filter(np.pad(kept, radius, mode="edge").astype(np.float32), 0.008 * size) > 0.5
    alike = ndimage.binary_dilation(tint & ndimage.binary_dilation(~kept, disc), disc)
    unlike = ndimage.binary_dilation(~tint & kept, iterations=1)
    return np.where(alike & ~unlike, smoothed[radius:-radius, radius:-radius], kept)


def _rim(shape: tuple[int, ...]) -> np.ndarray:
    rim = np.ones(shape, bool)
    rim[1:-1, 1:-1] = False
    return rim


def _flood(passable: np.ndarray, seeds: np.ndarray, gap: int) -> np.ndarray:
    """The part of `passable` reached from `seeds` without squeezing through gaps below 2 * gap pixels."""
    from scipy import ndimage

    wide = ndimage.binary_erosion(passable, iterations=gap, border_value=1)
    labels, count = ndimage.label(wide)
    reached = np.zeros(count + 1, bool)
    reached[labels[seeds & wide]] = True
    return ndimage.binary_dilation(reached[labels], iterations=gap + 1, mask=passable)


def _without_specks(product: np.ndarray, distance: np.ndarray, noise: float) -> np.ndarray:
    """Keeps the pieces that are large beside the largest one and clearly not background."""
    from scipy import ndimage

    labels, count = ndimage.label(product, structure=np.ones((3, 3)))
    if count == 0:
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {_ADVICE}")
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(product, labels, index)
    contrast = ndimage.maximum(distance, labels, index)
    keep = (area >= 0.01 * area.max()) & (area >= 12) & (contrast > 3.0 + 2 * noise)
    if not keep.any():
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {_ADVICE}")
    return np.concatenate([[False], keep])[labels]
