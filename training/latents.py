"""Latents of framed pictures, computed once and kept on disk: what every trainer of a UNet reads."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from bg_core.base import grey_out, mask_channel
from bg_core.files import replacing
from bg_core.regions import region_of

from .data import Record, load_masks, load_pictures
from .framing import framed
from .painters import Coder
from .stamps import stamp_records, stamp_weights

PICTURES_PER_FILE = 200


@dataclass(frozen=True)
class Latents:
    """Framed views of N pictures as a UNet knows them.

    `clean` and `masked` [N,V,C,h,w] float16, the picture and the picture with its background grey; `mask` [N,V,1,h,w]
    and `background` [N,V,h,w] float16, the mask channel (1 = repaint) and the background's share of each cell;
    `nothing` [C,h,w], a picture that is grey all over.
    """

    clean: Tensor
    masked: Tensor
    mask: Tensor
    background: Tensor
    nothing: Tensor

    def __len__(self) -> int:
        return len(self.clean)

    def chosen(self, rows: Sequence[int]) -> Latents:
        kept = (t[list(rows)] for t in (self.clean, self.masked, self.mask, self.background))
        return Latents(*kept, self.nothing)


def kept_latents(
    coder: Coder, records: Sequence[Record], side: int, views: int, folder: Path, batch: int = 16, mirror: bool = True
) -> Latents:
    """`encoded`, from files in `folder` where the same was computed before.

    Each file holds `PICTURES_PER_FILE`, so what was stopped goes on there, and what grew encodes what is new. Its name
    is a digest of everything that decides its content: pictures, views, side, mirroring, autoencoder.
    """
    # a setting is part of it only where it isn't the usual one: files of before stay valid
    shared = hashlib.sha256(json.dumps([side, views] if mirror else [side, views, "unmirrored"]).encode())
    stamp_weights(shared, coder)
    parts = []
    starts = range(0, len(records), PICTURES_PER_FILE)
    for start in tqdm(starts, desc=f"latents of {side} pixels", unit="file", disable=len(starts) < 2):
        some = records[start : start + PICTURES_PER_FILE]
        about = shared.copy()
        stamp_records(about, some)
        file = folder / f"latents_{about.hexdigest()[:16]}.safetensors"
        if not file.is_file():
            latents = encoded(coder, some, side, views, batch, mirror)
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(file) as temporary:
                save_file({key: value.contiguous() for key, value in vars(latents).items()}, temporary)
        parts.append(load_file(file))
    nothing = parts[0].pop("nothing")
    return Latents(**{key: torch.cat([part[key] for part in parts]) for key in parts[0]}, nothing=nothing)


@torch.no_grad()
def encoded(
    coder: Coder, records: Sequence[Record], side: int, views: int, batch: int = 16, mirror: bool = True
) -> Latents:
    """`views` framings of each picture, `side` pixels wide: odd ones are mirrored, the first one isn't zoomed.

    A picture's framings depend on its name alone. `mirror` False: none is mirrored, for texts that don't say which
    side is which.
    """
    device = next(coder.parameters()).device if isinstance(coder, nn.Module) else torch.device("cpu")
    parts: dict[str, list[Tensor]] = defaultdict(list)
    chunks = range(0, len(records), batch)
    for start in tqdm(chunks, desc="latents", unit="batch", mininterval=5, leave=False, disable=len(chunks) <= 4):
        some = list(records[start : start + batch])
        sizes = {_size(record) for record in some}
        # squares about the product where needed, large enough that framing doesn't enlarge what it zooms into
        square = None if len(sizes) == 1 and len(set(*sizes)) == 1 else round(side / 0.85)
        pictures, masks = load_pictures(some, square), load_masks(some, square)
        for view in range(views):
            both = [framed(pictures[i], masks[i], side, _draws(record, view, mirror)) for i, record in enumerate(some)]
            image, background = torch.cat([b[0] for b in both]), 1 - torch.cat([b[1] for b in both])
            pair = torch.cat([image, grey_out(image, background)]).to(device)
            clean, masked = coder.encode(pair).cpu().chunk(2)
            height, width = clean.shape[-2:]
            parts["clean"].append(clean)
            parts["masked"].append(masked)
            parts["mask"].append(mask_channel(background, height, width))
            parts["background"].append(region_of(background[:, 0], height, width).unflatten(1, (height, width)))
    nothing = coder.encode(torch.full((1, 3, side, side), 0.5, device=device))[0].cpu()
    joined = {}
    for key, values in parts.items():
        # batch after batch, and within each its views: [N,V,...]
        grouped = [torch.stack(values[i : i + views], dim=1) for i in range(0, len(values), views)]
        joined[key] = torch.cat(grouped).half()
    return Latents(**joined, nothing=nothing.half())


def _draws(record: Record, view: int, mirror: bool) -> list[float]:
    generator = torch.Generator().manual_seed(
        int.from_bytes(hashlib.blake2b(f"{record.name} {view}".encode(), digest_size=6).digest(), "big")
    )
    _, zoom, down, across, tight = torch.rand(5, generator=generator).tolist()
    return [0.0 if mirror and view % 2 else 1.0, 0.0 if view == 0 else zoom, down, across, tight]


def _size(record: Record) -> tuple[int, int]:
    with Image.open(record.picture) as image:
        return image.size
