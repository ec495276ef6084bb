"""The scenes that teach categories: which, under what label, and their latents, computed once and kept on disk."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from bg_core.base import grey_out, mask_channel
from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing
from bg_core.regions import region_of

from .base_batch import framed
from .category_plan import Scenes
from .data import Record, load_masks, load_pictures
from .painters import Painter
from .render.categories import CATEGORIES
from .vocabulary import with_article

LIGHT_KINDS = {
    "soft left": "soft", "soft right": "soft", "top": "soft", "sun left": "sun", "sun right": "sun", "window": "sun",
    "evening": "dim", "moody": "dim",
}  # fmt: skip
"""Virtual categories part lights three ways: sides would be wrong in a mirrored picture, and eight make cells small."""


@dataclass(frozen=True)
class Example:
    """One picture, the category it teaches, and the words that stand for its product in the prompt."""

    record: Record
    label: str
    words: str


def select(records: Sequence[Record], scenes: Scenes, seed: int) -> list[Example]:
    """The pictures of `scenes`, in the data's order. `seed` decides which, where a category has more than it may."""
    if scenes.virtual:
        labelled = _virtual(records, scenes)
    else:
        labelled = [(record, record.category) for record in records]
        wanted = scenes.categories or tuple(dict.fromkeys(record.category for record in records))
        known = {label for _, label in labelled}
        if lost := [name for name in wanted if name not in known]:
            raise ProductBackgroundError(
                f"The data has no pictures of {', '.join(lost[:5])}. Its categories are {', '.join(sorted(known))}."
            )
        labelled = [(record, label) for record, label in labelled if label in wanted]
    if scenes.images:
        labelled = _thinned(labelled, {label: scenes.images for _, label in labelled}, seed)
    return [Example(record, label, words_of(record)) for record, label in labelled]


def words_of(record: Record) -> str:
    """A record's product as captions say it, else its category's own words, else its name."""
    word = record.factors.get("product_word")
    if not word and record.category in CATEGORIES:
        word = CATEGORIES[record.category].words[0]
    return with_article(word) if word else record.category


def cell_of(record: Record) -> str:
    """The virtual category of a rendered scene: its surface, its colour and the kind of its light."""
    facts = record.factors
    if not {"surface", "palette", "light"} <= set(facts):
        raise ProductBackgroundError(
            f"{record.name} has no factors surface, palette and light. Virtual categories need rendered scenes: "
            "python -m training.render."
        )
    return f"{facts['surface']}, {facts['palette']}, {LIGHT_KINDS[facts['light']]}"


def spread_order(count: int) -> list[int]:
    """0 to count-1 so that every beginning of the list is spread evenly over all: by bits read backwards."""
    bits = max(1, (count - 1).bit_length())
    return sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))


def virtual_cells(records: Sequence[Record], scenes: Scenes) -> dict[str, int]:
    """The first `scenes.virtual` cells, and how many pictures each may have.

    Cells are ordered by their numbers of pictures, then taken by `spread_order`: the first 8 lie among the first 32,
    and both reach from the head to the tail, which is as long as the data makes it.
    """
    counts: dict[str, int] = defaultdict(int)
    for record in records:
        counts[cell_of(record)] += 1
    cells = sorted((cell for cell, n in counts.items() if n >= scenes.smallest), key=lambda c: (-counts[c], c))
    if len(cells) < scenes.virtual:
        raise ProductBackgroundError(
            f"The data has {len(cells)} cells of {scenes.smallest} or more pictures. Expected {scenes.virtual}: render "
            "more scenes of the generic half, or set virtual or smallest lower."
        )
    chosen = [cells[i] for i in spread_order(len(cells))][: scenes.virtual]
    return {cell: min(counts[cell], scenes.largest) for cell in chosen}


def _virtual(records: Sequence[Record], scenes: Scenes) -> list[tuple[Record, str]]:
    cells = virtual_cells(records, scenes)
    return _thinned([(r, cell) for r in records if (cell := cell_of(r)) in cells], cells, 0)


def _thinned(labelled: list[tuple[Record, str]], most: dict[str, int], seed: int) -> list[tuple[Record, str]]:
    """At most so many of each label; which, depends on their names and `seed`: smaller sets lie in larger ones."""

    def place(index: int) -> bytes:
        return hashlib.blake2b(f"{seed} {labelled[index][0].name}".encode(), digest_size=8).digest()

    kept: dict[str, int] = defaultdict(int)
    chosen = []
    for index in sorted(range(len(labelled)), key=place):
        label = labelled[index][1]
        if kept[label] < most[label]:
            kept[label] += 1
            chosen.append(index)
    return [labelled[i] for i in sorted(chosen)]


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
    painter: Painter, records: Sequence[Record], side: int, views: int, folder: Path, batch: int = 16
) -> Latents:
    """`encoded`, from a file in `folder` where the same was computed before.

    The file's name is a digest of everything that decides its content: pictures, views, side, autoencoder.
    """
    about = hashlib.sha256(json.dumps([side, views]).encode())
    for record in records:
        for path in (record.picture, record.mask):
            facts = path.stat()
            about.update(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    if isinstance(painter.coder, nn.Module):
        for value in painter.coder.state_dict().values():
            about.update(value.detach().cpu().float().contiguous().numpy().tobytes())
    file = folder / f"latents_{about.hexdigest()[:16]}.safetensors"
    if not file.is_file():
        latents = encoded(painter, records, side, views, batch)
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            save_file({key: value.contiguous() for key, value in vars(latents).items()}, temporary)
    return Latents(**load_file(file))


@torch.no_grad()
def encoded(painter: Painter, records: Sequence[Record], side: int, views: int, batch: int = 16) -> Latents:
    """`views` framings of each picture, `side` pixels wide: odd ones are mirrored, the first one isn't zoomed.

    A picture's framings depend on its name alone.
    """
    device = next(painter.unet.parameters()).device
    parts: dict[str, list[Tensor]] = defaultdict(list)
    chunks = range(0, len(records), batch)
    for start in tqdm(chunks, desc="latents", unit="batch", mininterval=5, disable=len(records) <= 4 * batch):
        some = list(records[start : start + batch])
        sizes = {_size(record) for record in some}
        # squares about the product where needed, large enough that framing doesn't enlarge what it zooms into
        square = None if len(sizes) == 1 and len(set(*sizes)) == 1 else round(side / 0.85)
        pictures, masks = load_pictures(some, square), load_masks(some, square)
        for view in range(views):
            both = [framed(pictures[i], masks[i], side, _draws(record, view)) for i, record in enumerate(some)]
            image, background = torch.cat([b[0] for b in both]), 1 - torch.cat([b[1] for b in both])
            pair = torch.cat([image, grey_out(image, background)]).to(device)
            clean, masked = painter.coder.encode(pair).cpu().chunk(2)
            height, width = clean.shape[-2:]
            parts["clean"].append(clean)
            parts["masked"].append(masked)
            parts["mask"].append(mask_channel(background, height, width))
            parts["background"].append(region_of(background[:, 0], height, width).unflatten(1, (height, width)))
    nothing = painter.coder.encode(torch.full((1, 3, side, side), 0.5, device=device))[0].cpu()
    joined = {}
    for key, values in parts.items():
        # batch after batch, and within each its views: [N,V,...]
        grouped = [torch.stack(values[i : i + views], dim=1) for i in range(0, len(values), views)]
        joined[key] = torch.cat(grouped).half()
    return Latents(**joined, nothing=nothing.half())


def without_faults(records: Sequence[Record]) -> list[Record]:
    """Sound scenes: rendered negatives, which evaluators are trained on, teach no category."""
    return [record for record in records if not record.factors.get("negative")]


def relabelled(examples: Sequence[Example], label: str, words: str) -> list[Example]:
    """All pictures under one label: a new category's folder."""
    return [replace(example, label=label, words=words) for example in examples]


def _draws(record: Record, view: int) -> list[float]:
    generator = torch.Generator().manual_seed(
        int.from_bytes(hashlib.blake2b(f"{record.name} {view}".encode(), digest_size=6).digest(), "big")
    )
    _, zoom, down, across, tight = torch.rand(5, generator=generator).tolist()
    return [0.0 if view % 2 else 1.0, 0.0 if view == 0 else zoom, down, across, tight]


def _size(record: Record) -> tuple[int, int]:
    with Image.open(record.picture) as image:
        return image.size
