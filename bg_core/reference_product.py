"""Where the product of a reference picture stands: by its mask, or cut off a plain background, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .cutout import cut_out
from .errors import ProductBackgroundError
from .prepare import checked_masks, checked_pictures

GIVEN, CUT, NONE = "its mask", "cut off its plain background", "none found"

MOST = 0.9
"""A hole of more than this share of the picture leaves no background to learn from."""


def reference_pictures(image: Tensor, product_mask: Tensor | None) -> tuple[Tensor, Tensor, list[str]]:
    """IMAGE [R,H,W,3] as [R,3,H,W] in [0,1], product masks [R,1,H,W], and how each was found.

    Raises ProductBackgroundError for what Prepare Product refuses as well, and for products that leave no background.
    """
    pictures = checked_pictures(image, "image")
    found = [
        _product(rgb, mask) for rgb, mask in zip(pictures, checked_masks(product_mask, pictures, "image"), strict=True)
    ]
    for number, (alpha, _) in enumerate(found):
        share = float((alpha > 0).mean())
        if share > MOST:
            raise ProductBackgroundError(
                f"The product covers {share:.0%} of reference {number}; at most {MOST:.0%} is accepted. Give a picture "
                "with more background, or a mask that is 1 on the product alone."
            )
    colour = _stacked(pictures).movedim(-1, 1)
    return colour, _stacked([alpha for alpha, _ in found])[:, None], [how for _, how in found]


def _product(rgb: np.ndarray, mask: np.ndarray | None) -> tuple[np.ndarray, str]:
    if mask is not None:
        return mask, GIVEN
    try:
        return cut_out(rgb), CUT
    except ProductBackgroundError:  # no plain background: a scene, whose product nobody can tell from its props
        return np.zeros(rgb.shape[:2], np.uint8), NONE


def _stacked(arrays: Sequence[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.stack(arrays)).float() / 255
