"""From photograph and mask to canvas: the product's pixels, its masks, and what the checkpoint gets to see."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from .cutout import cut_out
from .edge import decontaminate, holds_background, surroundings
from .errors import ProductBackgroundError
from .photo import MIN_SIDE
from .placement import Arrangement, Placement, place, product_box
from .resize import LANCZOS_RADIUS, area_average, lanczos_footprint_all

# The canvas beyond the product is only looked at, never used.
CANVAS_GREY = 230
# How many canvas pixels the product's edge colour goes on beyond its mask.
EXTENSION = 4
# How many times finer than the canvas the edge's colour is solved.
EDGE_DETAIL = 1.5
# Lanczos rings: it leaves faint alpha where there was none.
RINGING = 4


@dataclass(frozen=True)
class Prepared:
    """A batch on its canvas (H x W) and at its paint size (h x w); all float32 in 0..1.

    canvas [B, H, W, 3]: the product's colour without any old background. Where product_mask is exactly 1 it is the
    photograph's source box resized by Pillow's LANCZOS, bit for bit. product_mask [B, H, W]: 1 = product.
    background_mask [B, H, W]: its complement. paint_canvas [B, h, w, 3]: the product over middle grey.
    paint_mask [B, h, w]: 1 = paint here. placements: one an item.
    """

    canvas: torch.Tensor
    product_mask: torch.Tensor
    background_mask: torch.Tensor
    paint_canvas: torch.Tensor
    paint_mask: torch.Tensor
    placements: list[Placement]


def prepare_product(
    photo: torch.Tensor,
    product_mask: torch.Tensor | None,
    canvas_size: tuple[int, int],
    paint_size: tuple[int, int],
    arrangement: Arrangement,
) -> Prepared:
    """Cuts out (where there is no mask) and places every photograph of a batch.

    photo: [B, H, W, 3] in 0..1. product_mask: [B or 1, H, W], 1 = product; None or 64x64 zeros mean "none".
    canvas_size, paint_size: (width, height). Raises ProductBackgroundError for a photo or mask of the wrong shape or
    with NaN, an empty or inverted mask, a background that can't be cut off, a product that doesn't fit.
    """
    pictures = checked_pictures(photo, "photo")
    masks = checked_masks(product_mask, pictures, "photo")
    canvases, alphas, placements = [], [], []
    for rgb, mask in zip(pictures, masks, strict=True):
        alpha = cut_out(rgb) if mask is None else mask
        placement = place(product_box(alpha), canvas_size, paint_size, arrangement)
        crop, alpha = _crop(rgb, placement.source_box), _crop(alpha, placement.source_box)
        placed, placed_alpha = _on_canvas(crop, alpha, placement, is_cutout=mask is None)
        canvases.append(torch.from_numpy(placed.astype(np.float32) / 255.0))
        alphas.append(torch.from_numpy(placed_alpha.astype(np.float32) / 255.0))
        placements.append(placement)
    canvas, product = torch.stack(canvases), torch.stack(alphas)
    width, height = paint_size
    over_grey = (canvas * product[..., None] + 0.5 * (1 - product[..., None])).movedim(-1, 1)
    return Prepared(
        canvas=canvas,
        product_mask=product,
        background_mask=1 - product,
        paint_canvas=area_average(over_grey, height, width).movedim(1, -1).clamp(0, 1).contiguous(),
        paint_mask=area_average(1 - product, height, width).clamp(0, 1),
        placements=placements,
    )


def _on_canvas(
    crop: np.ndarray, alpha: np.ndarray, placement: Placement, is_cutout: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The resized product on its canvas: uint8 [H, W, 3] and its alpha uint8 [H, W]."""
    from scipy import ndimage

    left, top, right, bottom = placement.placed_box
    size = (right - left, bottom - top)
    photograph = np.asarray(Image.fromarray(crop).resize(size, Image.Resampling.LANCZOS))
    placed_alpha = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.LANCZOS)).copy()
    # Opaque means that the resampling read opaque pixels only: there stands the photograph itself, and resizing
    # straight or premultiplied colour gives the same. Everything else is edge.
    solid = lanczos_footprint_all(alpha == 255, size[1], size[0])
    placed_alpha[placed_alpha < RINGING] = 0
    placed_alpha = np.where(solid, 255, np.minimum(placed_alpha, 254))
    placed_colour = np.where(solid[..., None], photograph, _edge_colour(crop, alpha, size, is_cutout))

    width, height = placement.canvas_size
    canvas = np.full((height, width, 3), CANVAS_GREY, np.uint8)
    canvas_alpha = np.zeros((height, width), np.uint8)
    near = ndimage.binary_dilation(placed_alpha > 0, iterations=EXTENSION)
    canvas[top:bottom, left:right][near] = placed_colour[near]
    canvas_alpha[top:bottom, left:right] = placed_alpha
    return canvas, canvas_alpha


def _edge_colour(crop: np.ndarray, alpha: np.ndarray, size: tuple[int, int], is_cutout: bool) -> np.ndarray:
    """The product's own colour, without the old background, resized to (width, height); for where alpha isn't solid.

    Only the canvas sees it, so it is solved at no more than EDGE_DETAIL to twice EDGE_DETAIL times the canvas's detail.
    """
    height, width = alpha.shape
    factor = max(1, int(min(width / size[0], height / size[1]) / EDGE_DETAIL))
    box = (0, 0, width / factor, height / factor)
    if factor > 1:
        crop, alpha = (np.asarray(Image.fromarray(picture).reduce(factor)) for picture in (crop, alpha))
    behind = surroundings(crop, alpha)
    # A cut-out's edge mixes product and background; under a mask it may be clean already.
    if behind is not None and not is_cutout and not holds_background(crop, alpha, behind):
        behind = None
    # Lanczos reads as far beyond the canvas pixels that are seen.
    scale = max(crop.shape[1] / size[0], crop.shape[0] / size[1])
    colour = decontaminate(crop, alpha, behind, reach=(EXTENSION + 1) * scale + LANCZOS_RADIUS * max(scale, 1))
    return np.asarray(Image.fromarray(colour).resize(size, Image.Resampling.LANCZOS, box=box))


def _crop(picture: np.ndarray, box: tuple[int, int, int, int]) -> np.ndarray:
    left, top, right, bottom = box
    return np.ascontiguousarray(picture[top:bottom, left:right])


def checked_pictures(photo: torch.Tensor, name: str) -> list[np.ndarray]:
    """An IMAGE as uint8 [H, W, 3] pictures; `name` of the input in errors."""
    if photo.ndim == 4 and photo.shape[-1] == 4:
        raise ProductBackgroundError(
            f"{name} has an alpha channel. Connect it to Load Product Photo's input picture, and that node's photo and "
            "product_mask to this one."
        )
    if photo.ndim != 4 or photo.shape[-1] != 3 or photo.shape[0] == 0:
        raise ProductBackgroundError(
            f"{name} has the shape {tuple(photo.shape)}. Accepted is an IMAGE [batch, height, width, 3]."
        )
    if min(photo.shape[1:3]) < MIN_SIDE:
        raise ProductBackgroundError(
            f"{name} is {photo.shape[2]}x{photo.shape[1]} pixels. At least {MIN_SIDE} pixels a side are needed."
        )
    if not all(torch.isfinite(end) for end in torch.aminmax(photo)):
        raise ProductBackgroundError(f"{name} holds NaN or infinite values. Look at the node that made it.")
    levels = photo.detach().cpu().float().clamp(0, 1).mul_(255).round_().to(torch.uint8)
    return [levels[i].contiguous().numpy() for i in range(len(levels))]


def checked_masks(mask: torch.Tensor | None, pictures: list[np.ndarray], name: str) -> list[np.ndarray | None]:
    """A uint8 [H, W] product mask for each of the pictures of input `name`, or None where there is no mask."""
    if mask is None:
        return [None] * len(pictures)
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3:
        raise ProductBackgroundError(
            f"product_mask has the shape {tuple(mask.shape)}. Accepted is a MASK [batch, height, width]."
        )
    if not torch.isfinite(mask).all():
        raise ProductBackgroundError("product_mask holds NaN or infinite values. Look at the node that made it.")
    if mask.shape[1:] == (64, 64) and not mask.any():
        return [None] * len(pictures)
    height, width = pictures[0].shape[:2]
    if mask.shape[1:] != (height, width):
        raise ProductBackgroundError(
            f"product_mask is {mask.shape[2]}x{mask.shape[1]} pixels, the {name} {width}x{height}. They must be of one "
            f"size; make the mask from this {name}, or resize it."
        )
    if len(mask) not in (1, len(pictures)):
        raise ProductBackgroundError(
            f"product_mask is a batch of {len(mask)}, the {name} a batch of {len(pictures)}. Accepted is one mask, or "
            "one for each."
        )
    levels = (mask.detach().cpu().float().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
    for i, level in enumerate(levels):
        _check_mask(level, f" (item {i} of the batch)" if len(levels) > 1 else "")
    return [levels[i if len(levels) > 1 else 0] for i in range(len(pictures))]


def _check_mask(level: np.ndarray, which: str) -> None:
    if level.max() < 128:
        raise ProductBackgroundError(
            f"product_mask is empty{which}: no pixel is above one half. It must be 1 on the product. Leave it "
            "unconnected to have a plain background cut off."
        )
    border = np.concatenate([level[0], level[-1], level[:, 0], level[:, -1]])
    height, width = level.shape
    middle = level[height * 2 // 5 : height * 3 // 5 + 1, width * 2 // 5 : width * 3 // 5 + 1]
    if (border >= 128).mean() > 0.9 and (middle >= 128).mean() < 0.1:
        raise ProductBackgroundError(
            f"product_mask looks inverted{which}: it covers the picture's border and leaves out the middle. It must be "
            "1 on the product; put an InvertMask node in between (ComfyUI's own Load Image gives 1 where transparent)."
        )
