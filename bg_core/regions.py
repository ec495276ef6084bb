"""From a mask to the region in which tokens act: its checks, its border, and its mean over each place of a layer."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ProductBackgroundError
from .resize import Box, area_average

MAX_BORDER = 512
"""The largest feather and grow, in pixels of the mask."""

STRETCH = 0.02
"""How far a mask's shape may be from the picture's; the painter's sizes stretch the canvas by that much."""


def checked_mask(mask: Tensor, name: str, *, background: bool) -> Tensor:
    """A MASK [B,H,W] or [H,W] as float32 [B,H,W] in [0,1] on the CPU, after looking for what can't be meant.

    `background`: the mask of the background, which reaches the picture's border; else the product's, which doesn't.
    Raises ProductBackgroundError for another shape, NaN, an empty mask, and one that looks inverted.
    """
    where, other = ("background", "product") if background else ("product", "background")
    mask = any_mask(mask, name, f"It must be 1 on the {where}; Prepare Product makes it.")
    for item, picture in enumerate(mask):
        if _looks_inverted(picture, background):
            raise ProductBackgroundError(
                f"{name} looks inverted{_which(item, mask)}: it must be 1 on the {where}, and seems to be 1 on the "
                f"{other}. Connect Prepare Product's {where}_mask, or put an InvertMask node in between."
            )
    return mask


def any_mask(mask: Tensor, name: str, meaning: str) -> Tensor:
    """A MASK [B,H,W] or [H,W] of any region as float32 [B,H,W] in [0,1] on the CPU.

    Raises ProductBackgroundError for another shape, NaN, and an empty mask, where `meaning` says what it should hold.
    """
    if mask.ndim == 2:
        mask = mask[None]
    if mask.ndim != 3 or not mask.numel():
        raise ProductBackgroundError(
            f"{name} has the shape {list(mask.shape)}. Accepted is a MASK [batch, height, width]."
        )
    mask = mask.detach().cpu().float()
    if not torch.isfinite(mask).all():
        raise ProductBackgroundError(f"{name} holds NaN or infinite values. Look at the node that made it.")
    mask = mask.clamp(0, 1)
    for item, picture in enumerate(mask):
        if picture.max() < 0.5:
            raise ProductBackgroundError(f"{name} is empty{_which(item, mask)}: no pixel is above one half. {meaning}")
    return mask


def _which(item: int, batch: Tensor) -> str:
    return f" (item {item} of the batch)" if len(batch) > 1 else ""


def _looks_inverted(picture: Tensor, background: bool) -> bool:
    """Whether border and middle of [H,W] are as they would be in the mask's complement."""
    height, width = picture.shape
    border = torch.cat([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    middle = picture[height * 2 // 5 : height * 3 // 5 + 1, width * 2 // 5 : width * 3 // 5 + 1]
    outside, inside = (float((part >= 0.5).float().mean()) for part in (border, middle))
    return outside < 0.1 and inside > 0.9 if background else outside > 0.9 and inside < 0.1


def moved_border(mask: Tensor, grow: int, feather: int) -> Tensor:
    """`mask` [B,H,W] with its border moved outwards by `grow` pixels (inwards if negative), then softened.

    `feather`: how many pixels the way from 0 to 1 takes, about; a Gaussian blur of a quarter of that. A mask of ones
    stays one. Raises ProductBackgroundError beyond MAX_BORDER.
    """
    if not (abs(grow) <= MAX_BORDER and 0 <= feather <= MAX_BORDER):
        raise ProductBackgroundError(
            f"grow is {grow} and feather {feather} pixels. Accepted are -{MAX_BORDER} to {MAX_BORDER} for the "
            f"one, 0 to {MAX_BORDER} for the other."
        )
    if grow < 0:
        return 1 - moved_border(1 - mask, -grow, feather)
    picture = mask[:, None]
    if grow:
        # One axis after the other: a square's reach, at the cost of its two sides.
        picture = F.max_pool2d(picture, (2 * grow + 1, 1), stride=1, padding=(grow, 0))
        picture = F.max_pool2d(picture, (1, 2 * grow + 1), stride=1, padding=(0, grow))
    if feather:
        reach = 2 * -(-feather // 4) + feather // 2
        steps = torch.arange(-reach, reach + 1, dtype=torch.float32)
        weights = torch.exp(-0.5 * (steps / (feather / 4)) ** 2)
        weights /= weights.sum()
        blurred = F.conv2d(F.pad(picture, (0, 0, reach, reach), mode="replicate"), weights.view(1, 1, -1, 1))
        blurred = F.conv2d(F.pad(blurred, (reach, reach, 0, 0), mode="replicate"), weights.view(1, 1, 1, -1))
        picture = blurred.clamp(0, 1)
    return picture[:, 0]


def check_shape(mask: Tensor, name: str, height: int, width: int) -> None:
    """Refuse a mask [B,H,W] whose shape isn't that of latents `height` x `width`; sizes may differ."""
    ratio = (mask.shape[-1] * height) / (mask.shape[-2] * width)
    # Latents are whole cells of 8 pixels: half a cell at either end changes the shape of a small picture visibly.
    if max(ratio, 1 / ratio) - 1 > STRETCH + 1 / min(height, width):
        raise ProductBackgroundError(
            f"{name} is {mask.shape[-1]}x{mask.shape[-2]} pixels, the latents are {width}x{height} cells. Both must "
            "show the same picture: connect the mask that was made for it, or crop it alike."
        )


def region_of(mask: Tensor, height: int, width: int, box: Box | None = None) -> Tensor:
    """The mean of `mask` [B,H,W] over each of height * width places, [B,height*width], row by row.

    `box`: the part of the mask that the places cover, in fractions 0..1 of its height and width (top, left, bottom,
    right); the whole by default.
    """
    if box is not None:
        tall, wide = mask.shape[-2:]
        box = (box[0] * tall, box[1] * wide, box[2] * tall, box[3] * wide)
    return area_average(mask.float(), height, width, box).flatten(1)
