"""Cutting a packshot off a plain studio background: white, grey or coloured, with its soft shadow.

The background is a smooth colour field fitted to the picture's border. It is then flooded from the border inwards, so
that whites inside a label stay part of the product, and passes on into soft shadow: the background's own colour,
darker, without an edge. The hard outline is found on a picture of at most WORK_SIDE pixels; the soft alpha along it is
solved at the photograph's own resolution.
"""

import math

import numpy as np
from PIL import Image

from .backdrop import ADVICE, fit_background, refit
from .colour import luminance_slope, median3, rgb_to_lab, smooth
from .edge import signed_distance, soft_alpha
from .errors import ProductBackgroundError
from .reflection import without_reflection

WORK_SIDE = 640
BLEED = 6
# A difference in Lab that makes an outline certain.
SURE_STEP = 24.0
# Thin parts that differ from the background by so much (Lab) are kept as they are.
SPARED_CONTRAST = 6.0
# A contact shadow is darker than the ground by at least so much lightness; white margins on white are not.
DARK = 3.0


def cut_out(rgb: np.ndarray) -> np.ndarray:
    """Finds the product in uint8 [H, W, 3]: alpha uint8 [H, W], 255 = product.

    Raises ProductBackgroundError where the border isn't a plain background (too varied, or covered by the product) and
    where nothing differs from the background.
    """
    height, width = rgb.shape[:2]
    shrink = max(1.0, max(height, width) / WORK_SIDE)
    work = rgb
    if shrink > 1:
        size = (max(1, round(width / shrink)), max(1, round(height / shrink)))
        work = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BOX))
    product = _product_region(work, reach=max(1, round(BLEED / shrink)))
    return soft_alpha(rgb, work, signed_distance(product), shrink)


def _product_region(rgb: np.ndarray, reach: int) -> np.ndarray:
    """bool [H, W]: everything that the flood from the border doesn't reach, without specks."""
    from scipy import ndimage

    height, width = rgb.shape[:2]
    # A median takes JPEG's ringing off the background and leaves edges where they are.
    lab = rgb_to_lab(median3(rgb))
    # A first, coarse flood finds the ground that the field is then fitted to.
    model = fit_background(rgb)
    coarse = lab[::2, ::2] - model.render_lab(height, width)[::2, ::2]
    ground = _flood(_near(coarse, model.noise, max(1, reach // 2)), _rim(coarse.shape[:2]), gap=1)
    model = refit(rgb[::2, ::2], ground)
    field = model.render_lab(height, width)
    offset = lab - field
    ground = _flood(_near(offset, model.noise, reach), _rim((height, width)), gap=1)
    tint = _shaded(lab, field, model.noise)
    shadow = tint & _gentle(-offset[..., 0], model.noise, ground)
    # Shadow is entered through wide openings only: a white box must not drain through a weak spot of its outline.
    background = ground | _flood(ground | shadow, ground, gap=max(2, round(0.015 * max(height, width))))
    contrast = np.sqrt((offset**2).sum(-1))
    product = without_reflection(rgb, ndimage.binary_fill_holes(~background))
    product &= ~_contact_shadow(product, offset, model.noise)
    product = _tidy(product, tint, lab, contrast)
    return _without_specks(product, contrast, model.noise)


def _near(offset: np.ndarray, noise: float, reach: int) -> np.ndarray:
    """bool [H, W]: pixels that look like the background and whose weakly differing neighbours do so on average.

    The average tells a white box (a little off everywhere) from JPEG noise on white (off to both sides). offset:
    float32 [H, W, 3], Lab differences from the background. reach: how many pixels far a colour may bleed.
    """
    from scipy import ndimage

    # JPEG keeps colour at half resolution: a strong one bleeds some pixels out, while lightness stays in place.
    chroma = np.hypot(offset[..., 1], offset[..., 2])
    bleed = (1 - 0.35 * ndimage.maximum_filter(chroma, 2 * reach + 1) / np.maximum(chroma, 1e-3)).clip(0, 1)
    offset = offset * np.stack([np.ones_like(bleed), bleed, bleed], axis=-1)
    weak = (offset**2).sum(-1) < (4.0 + 3 * noise) ** 2
    mean = smooth(offset, weak, 1.5)
    return weak & ((mean**2).sum(-1) < (1.2 + 2 * noise) ** 2)


def _shaded(lab: np.ndarray, field: np.ndarray, noise: float) -> np.ndarray:
    """bool [H, W]: the background's own chroma, as light or darker."""
    light = np.clip(lab[..., 0] / np.maximum(field[..., 0], 1.0), 0.0, 1.2)
    # Under less light a colour keeps its ratios, and its Lab chroma shrinks about with the lightness.
    chroma = lab[..., 1:] - field[..., 1:] * light[..., None]
    return (np.hypot(chroma[..., 0], chroma[..., 1]) < 3.0 + noise) & (light < 1.01) & (light > 0.35)


def _gentle(depth: np.ndarray, noise: float, ground: np.ndarray) -> np.ndarray:
    """bool [H, W]: pixels as steep as shadows are: the deeper (float32 [H, W], in lightness), the steeper. A box that
    is a little darker than its background begins with a step that is steep for its depth."""
    from scipy import ndimage

    # Beyond the picture lies plain background: a product that is cut off there ends in a step, not in a shadow.
    slope = luminance_slope(ndimage.gaussian_filter(np.pad(depth, 2), 0.7))[2:-2, 2:-2]
    # Products stand: shadow lies low. Higher up, a smooth pale area is the product far more often than its shadow.
    return _low_rows(~ground, 0.65) & (slope < np.minimum(0.4 + 0.28 * depth, 4.5) + 0.5 * noise)


def _contact_shadow(product: np.ndarray, offset: np.ndarray, noise: float) -> np.ndarray:
    """bool [H, W]: the dark rim where a product meets the ground. It is too steep for `_gentle`, but told by its place,
    its thinness, its colour (the background's, darker, with some of the product's bounced into it) and its fading
    outwards: a grey foot is as thin, but ends in a step. offset: float32 [H, W, 3], Lab differences from the field.
    """
    from scipy import ndimage

    depth = -offset[..., 0]
    tinted = np.hypot(offset[..., 1], offset[..., 2]) < 3.0 + noise + 0.3 * depth
    dark = product & tinted & (depth > DARK) & (depth < 60)
    labels, count = ndimage.label(dark)
    if count == 0:
        return dark
    index = np.arange(1, count + 1)
    thin = ndimage.maximum(ndimage.distance_transform_edt(dark), labels, index) < 0.03 * max(product.shape)
    lying = ndimage.minimum(np.broadcast_to(_low_rows(product, 0.75), dark.shape), labels, index) > 0
    outer = np.where(ndimage.binary_dilation(~product, iterations=2), labels, 0)
    touching = np.isin(index, outer)
    rim_depth = np.where(touching, ndimage.mean(depth, outer, np.where(touching, index, 0)), np.inf)
    fading = rim_depth < 0.6 * ndimage.maximum(depth, labels, index)
    return np.concatenate([[False], thin & lying & fading])[labels]


def _low_rows(region: np.ndarray, share: float) -> np.ndarray:
    """bool [H, 1]: the rows below `share` of the pixels of `region`, bool [H, W]."""
    rows = np.nonzero(region)[0]
    return np.arange(len(region))[:, None] > (np.quantile(rows, share) if len(rows) else 0)


def _tidy(product: np.ndarray, tint: np.ndarray, lab: np.ndarray, contrast: np.ndarray) -> np.ndarray:
    """Takes off rims of shadow and spurs of noise: what is thin and has the background's tint. Then smooths the outline
    where hardly a step in colour (float32 [H, W, 3], Lab) bears it out: there its wiggles are noise."""
    from scipy import ndimage

    size = max(product.shape)
    radius, sigma = max(1.3, 0.008 * size), 0.012 * size
    pad = math.ceil(4 * sigma)
    inside = ndimage.distance_transform_edt(np.pad(product, pad, mode="edge"))
    core, thick = (
        ndimage.distance_transform_edt(inside <= r)[pad:-pad, pad:-pad] <= r for r in (radius, max(radius, 2 * sigma))
    )
    kept = product & (core | ~tint)

    step = _step(lab)
    outline = kept ^ ndimage.binary_erosion(kept, border_value=1)
    # A step in the picture may lie a pixel beside the outline. Its strength, averaged along the outline:
    weight = ndimage.gaussian_filter(outline.astype(np.float32), sigma, truncate=2.5) + 1e-6
    total = ndimage.gaussian_filter(np.where(outline, np.minimum(step, 2 * SURE_STEP), 0), sigma, truncate=2.5)
    evidence = total / weight
    doubt = (2 - 2 * evidence / SURE_STEP).clip(0, 1)
    depth = signed_distance(np.pad(kept, pad, mode="edge")).clip(-2 * sigma, 2 * sigma)
    smoothed = ndimage.gaussian_filter(depth, sigma, truncate=2.5)[pad:-pad, pad:-pad]
    # Smoothing would eat stems and spouts.
    spared = kept & ~thick & (contrast > SPARED_CONTRAST)
    return (depth[pad:-pad, pad:-pad] * (1 - doubt) + smoothed * doubt > 0) | spared


def _step(lab: np.ndarray) -> np.ndarray:
    """float32 [H, W]: the difference in colour across each pixel, the largest nearby."""
    from scipy import ndimage

    padded = np.pad(lab, ((2, 2), (2, 2), (0, 0)), mode="edge")
    down = ((padded[4:, 2:-2] - padded[:-4, 2:-2]) ** 2).sum(-1)
    across = ((padded[2:-2, 4:] - padded[2:-2, :-4]) ** 2).sum(-1)
    return ndimage.maximum_filter(np.sqrt(np.maximum(down, across)), 3)


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
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {ADVICE}")
    index = np.arange(1, count + 1)
    area = ndimage.sum_labels(product, labels, index)
    contrast = ndimage.maximum(distance, labels, index)
    keep = (area >= 0.01 * area.max()) & (area >= 12) & (contrast > 3.0 + 2 * noise)
    if not keep.any():
        raise ProductBackgroundError(f"The product can't be cut out: nothing differs from the background. {ADVICE}")
    return np.concatenate([[False], keep])[labels]
