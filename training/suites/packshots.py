"""Pictures for products that were photographed on white, as sellers have them: what suite `base` shows of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bg_core.placement import Arrangement, place, product_box

COUNT = 256
GREY = (128, 128, 128)
"""Of the canvas around the product; nothing of it is left in a picture."""


def read_packshots(root: Path, count: int = COUNT) -> tuple[Tensor, Tensor, list[str]]:
    """The first `count` of `root/packshots` as canvases: pictures [N,3,S,S] and masks [N,1,S,S] uint8 with the product
    where Place Product puts it by default, and the captions that the seeds draw.
    """
    pictures, masks, captions = [], [], []
    for facts in sorted((root / "packshots").glob("*.json"))[:count]:
        with Image.open(facts.with_name(f"{facts.stem}_cutout.png")) as cutout:
            picture, mask = canvas_of(cutout)
        pictures.append(picture)
        masks.append(mask)
        captions.append(json.loads(facts.read_text())["caption"])
    return torch.stack(pictures), torch.stack(masks), captions


def canvas_of(cutout: Image.Image) -> tuple[Tensor, Tensor]:
    """Canvas [3,S,S] and mask [1,S,S], uint8, for an RGBA picture of side S."""
    size = cutout.size
    placement = place(product_box(np.asarray(cutout.getchannel("A"))), size, size, Arrangement())
    left, top, right, bottom = placement.placed_box
    # colour is weighted by alpha, or the white around the product would bleed into its edge
    product = cutout.convert("RGBa").resize(
        (right - left, bottom - top), Image.Resampling.LANCZOS, placement.source_box
    )
    product = product.convert("RGBA")
    canvas, mask = Image.new("RGB", size, GREY), Image.new("L", size)
    canvas.paste(product, (left, top), product)
    mask.paste(product.getchannel("A"), (left, top))
    return torch.from_numpy(np.array(canvas)).movedim(-1, 0), torch.from_numpy(np.array(mask))[None]
