"""The studio background behind a packshot, as a smooth colour field fitted to the picture's border."""

from dataclasses import dataclass

import numpy as np

from .colour import rgb_to_lab
from .errors import ProductBackgroundError

MIN_BORDER = 0.3
MAX_NOISE = 4.0
# A field of order 3 needs no more samples than this, and Lab no finer grid.
SAMPLES = 20_000
LAB_STEP = 8

ADVICE = "Give a product mask, or a photograph with alpha or on a plain background with some room around the product."


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

    def render_lab(self, height: int, width: int) -> np.ndarray:
        """float32 [height, width, 3]: the same field in Lab, which is computed on a coarse grid."""
        size = (max(2, height // LAB_STEP), max(2, width // LAB_STEP))
        coarse = rgb_to_lab(self.render(*size))
        rows, columns = (np.linspace(0, n - 1, m, dtype=np.float32) for n, m in zip(size, (height, width), strict=True))
        return _lerp(_lerp(coarse, rows).swapaxes(0, 1), columns).swapaxes(0, 1)


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
                f"so the background isn't plain or the product covers the border. {ADVICE}"
            )
    return _checked(BackgroundModel(coefficients, 2, _scatter(distance[inside])))


def refit(rgb: np.ndarray, ground: np.ndarray) -> BackgroundModel:
    """Fits the field again to all the ground (bool [H, W]) that a first flood found."""
    height, width = ground.shape
    found = np.flatnonzero(ground)
    rows, columns = np.divmod(found[:: max(1, len(found) // SAMPLES)], width)
    x, y = columns / max(1, width - 1) * 2 - 1, rows / max(1, height - 1) * 2 - 1
    colours = rgb[rows, columns].astype(np.float64)
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
            f"units; up to {MAX_NOISE:.0f} is accepted). {ADVICE}"
        )
    return model


def _powers(order: int) -> list[tuple[int, int]]:
    """The exponents of x and y in each term."""
    return [(i, total - i) for total in range(order + 1) for i in range(total + 1)]


def _terms(x: np.ndarray, y: np.ndarray, order: int) -> np.ndarray:
    return np.stack([x**i * y**j for i, j in _powers(order)], axis=1)


def _lerp(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Linear interpolation of [n, ...] along its first axis at float indices."""
    low = np.minimum(at.astype(np.int64), len(values) - 2)
    part = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] + part * (values[low + 1] - values[low])
