"""A picture that comes over a link instead of from a file, in the same form as `photo.photo_tensors` gives a file."""

import numpy as np
import torch

from .errors import ProductBackgroundError
from .photo import check_size


def picture_tensors(picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """An IMAGE [B, H, W, 3 or 4] to IMAGE [B, H, W, 3] on the 8-bit grid and product MASK [B, H, W], 1 = product.

    The fourth channel is the mask. Without it, or opaque everywhere, the mask is [1, 64, 64] zeros ("none").
    Raises ProductBackgroundError for another shape, NaN, a size that no photograph may have, an alpha that is
    transparent everywhere, and a batch in which only some pictures have a product mask.
    """
    if picture.ndim != 4 or picture.shape[0] == 0 or picture.shape[-1] not in (3, 4):
        raise ProductBackgroundError(
            f"picture has the shape {tuple(picture.shape)}. Accepted is an IMAGE [batch, height, width, 3], or 4 "
            "channels with alpha."
        )
    check_size((picture.shape[2], picture.shape[1]), "picture")
    if not all(torch.isfinite(end) for end in torch.aminmax(picture)):
        raise ProductBackgroundError("picture holds NaN or infinite values. Look at the node that made it.")
    levels = picture.detach().cpu().float().clamp(0, 1).mul(255).round().numpy()
    image = _on_grid(levels[..., :3])
    if levels.shape[-1] == 3 or not _has_mask(levels[..., 3]):
        return image, torch.zeros(1, 64, 64)
    return image, _on_grid(levels[..., 3])


def _on_grid(levels: np.ndarray) -> torch.Tensor:
    """0..255 to exactly k/255: divided by numpy, as for files (a GPU multiplies by the inverse)."""
    return torch.from_numpy(np.ascontiguousarray(levels) / np.float32(255))


def _has_mask(alpha: np.ndarray) -> bool:
    """Whether the batch's alpha [B, H, W] in 0..255 says where the products are."""
    for i, item in enumerate(alpha):
        if not item.any():
            raise ProductBackgroundError(
                f"picture is empty{_which(i, alpha)}: its alpha channel is transparent everywhere. It must be opaque "
                "on the product; leave the alpha out to have a plain background cut off."
            )
    opaque = [bool(item.min() == 255) for item in alpha]
    if any(opaque) and not all(opaque):
        raise ProductBackgroundError(
            f"picture has no product mask{_which(opaque.index(True), alpha)}: its alpha channel is opaque everywhere, "
            "others of the batch have one. Load those without apart from those with."
        )
    return not any(opaque)


def _which(i: int, batch: np.ndarray) -> str:
    return f" (item {i} of the batch)" if len(batch) > 1 else ""
