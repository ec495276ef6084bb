"""Putting the photographed product back over the painted background, bit for bit."""

import torch
import torch.nn.functional as F

from .canvas import stretch
from .errors import ProductBackgroundError
from .resize import area_average

MAX_STRETCH = 0.03
# A painted pixel that the product covers by more than this shows product, not background.
COVERED = 0.02
BLUR = 2


def composite_product(background: torch.Tensor, canvas: torch.Tensor, product_mask: torch.Tensor) -> torch.Tensor:
    """canvas * mask + background * (1 - mask), the background enlarged to the canvas first.

    background: [N, h, w, 3] as decoded, product painted in or not. canvas: [M, H, W, 3] in 0..1. product_mask:
    [M, H, W], 1 = product. Returns float32 [max(N, M), H, W, 3] in 0..1: the canvas's own values where the mask is 1,
    else values on the 8-bit grid (k / 255).

    Batches: the longer must be a multiple of the shorter; picture i takes background i mod N and canvas i mod M, which
    is the order that ComfyUI's RepeatLatentBatch makes. Raises ProductBackgroundError for shapes, batches or aspect
    ratios that don't fit together, and for NaN.
    """
    _check(background, canvas, product_mask)
    count = max(len(background), len(canvas))
    finished = torch.empty(count, *canvas.shape[1:], dtype=torch.float32, device=canvas.device)
    for i in range(count):
        product = canvas[i % len(canvas)].float()
        mask = product_mask[i % len(product_mask)].to(canvas.device, torch.float32).clamp(0, 1)
        behind = background[i % len(background)].to(canvas.device, torch.float32)
        mixed = torch.lerp(background_only(behind, mask), product, mask[..., None]).clamp(0, 1)
        # SaveImage truncates to eight bits: values on the grid come out as they are.
        finished[i] = torch.where(mask[..., None] == 1, product, (mixed * 255).round() / 255)
    return finished


def background_only(background: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A painted picture [h, w, 3] without its product, at the size of mask [H, W] (1 = product).

    The painted product goes first and the enlarging comes after, so that its colours can't bleed a halo around the
    sharper product that will stand there. Shadow next to the product is background and stays.
    """
    picture = background.movedim(-1, 0)[None]
    height, width = picture.shape[-2:]
    covered = area_average(mask, height, width)[None, None] > COVERED
    # The decoder blurs the product over its outline; what is left of that within BLUR pixels shows as a pale halo.
    covered = F.max_pool2d(covered.float(), 2 * BLUR + 1, stride=1, padding=BLUR)
    if not covered.all():
        picture = fill(picture, 1 - covered)
    if (height, width) != mask.shape:
        picture = F.interpolate(picture, mask.shape, mode="bicubic", align_corners=False, antialias=True)
    return picture[0].movedim(0, -1).clamp(0, 1)


def fill(picture: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Fills [B, C, h, w] where known [B, 1, h, w] is 0 from its surroundings: fine near known pixels, smoother farther
    in (push and pull over a pyramid). Known pixels (1) are unchanged; at least one must be known."""
    if known.min() == 1 or max(picture.shape[-2:]) == 1:
        return picture
    share = F.avg_pool2d(known, 2, ceil_mode=True, count_include_pad=False)
    mean = F.avg_pool2d(picture * known, 2, ceil_mode=True, count_include_pad=False) / share.clamp(min=1e-6)
    coarse = fill(mean, (share > 0).to(known))
    guess = F.interpolate(coarse, picture.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(known > 0, picture, guess)


def _check(background: torch.Tensor, canvas: torch.Tensor, product_mask: torch.Tensor) -> None:
    for name, image in (("background", background), ("canvas", canvas)):
        if image.ndim != 4 or image.shape[-1] != 3 or 0 in image.shape:
            raise ProductBackgroundError(
                f"{name} has the shape {tuple(image.shape)}. Accepted is an IMAGE [batch, height, width, 3]."
            )
        if not torch.isfinite(image).all():
            raise ProductBackgroundError(
                f"{name} holds NaN or infinite values. A decoded picture is broken like this when the VAE overflows in "
                "half precision: start ComfyUI with --fp32-vae, or use another VAE."
            )
    if product_mask.ndim != 3 or product_mask.shape != canvas.shape[:3]:
        raise ProductBackgroundError(
            f"product_mask has the shape {tuple(product_mask.shape)}, the canvas {tuple(canvas.shape)}. Connect both "
            "from the same Prepare Product node."
        )
    if not torch.isfinite(product_mask).all():
        raise ProductBackgroundError("product_mask holds NaN or infinite values.")
    longer, shorter = max(len(background), len(canvas)), min(len(background), len(canvas))
    if longer % shorter:
        raise ProductBackgroundError(
            f"background is a batch of {len(background)}, the canvas a batch of {len(canvas)}. Accepted is one of "
            "either, as many of both, or a multiple."
        )
    size, canvas_size = (background.shape[2], background.shape[1]), (canvas.shape[2], canvas.shape[1])
    if stretch(size, canvas_size) > MAX_STRETCH:
        raise ProductBackgroundError(
            f"background is {size[0]}x{size[1]} pixels, the canvas {canvas_size[0]}x{canvas_size[1]}: their shapes "
            f"differ by {stretch(size, canvas_size):.0%}, and up to {MAX_STRETCH:.0%} is accepted. Paint at Prepare "
            "Product's paint size."
        )
