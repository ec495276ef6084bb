"""The evaluators' pictures and labels, from rendered data sets with factors, and how batches of them are drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from bg_core.autoencoder import Autoencoder
from bg_core.errors import ProductBackgroundError
from bg_core.files import replacing

from ..data import Record, load_masks, load_pictures, read_records
from ..generate import on_cores, pasted
from ..render.catalog import (
    ARRANGEMENTS,
    BOUND_PROPS,
    DEPTHS_OF_FIELD,
    LIGHTS,
    PALETTE,
    RIGS,
    SURFACES,
    WALLS,
    shows_palette,
)
from ..render.categories import CATEGORIES
from ..stamps import stamp_records, stamp_weights

CLASSES: dict[str, tuple[str, ...]] = {
    "category": tuple(CATEGORIES),
    "surface": tuple(SURFACES),
    "wall": tuple(WALLS),
    "palette": tuple(PALETTE),
    "light": tuple(LIGHTS),
    "rig": tuple(RIGS),
    "arrangement": tuple(ARRANGEMENTS),
    "depth_of_field": tuple(DEPTHS_OF_FIELD),
}
"""The heads of the scene evaluator and the answers of each, in the order of its logits."""

KEEPSAKES = BOUND_PROPS
"""What the keepsakes evaluator looks for: the props that category-bound scenes alone hold, any number at once."""

GRID = 24
"""Cells across and down in which places of keepsakes are kept."""

UNKNOWN = -100
"""The label of what a picture doesn't tell; cross entropy leaves it out."""

MIRRORED = {"left": "right", "right": "left"}

VALIDATION_SHARE = 10
"""Every tenth seed is kept from training; a scene and its negatives share a seed, so they stay together."""


@dataclass(frozen=True)
class Examples:
    """`pictures` and `painted` [N,3,H,W], `masks` and `wholes` [N,1,H,W], all uint8; `labels` [N] int64 a head.

    `painted` is what a generator could at best deliver: the picture through the autoencoder, its product pasted back.
    `masks` may lack a part of the product, `wholes` never do. `negatives` names each picture's fault, or nothing.
    `places` [N,K,g,g] uint8: 255 where a box of that keepsake covers a cell.
    """

    pictures: Tensor
    painted: Tensor
    masks: Tensor
    wholes: Tensor
    labels: dict[str, Tensor]
    categories: list[str]
    negatives: list[str]
    seeds: list[int]
    places: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def chosen(self, rows: Sequence[int]) -> Examples:
        return Examples(
            *(t[list(rows)] for t in (self.pictures, self.painted, self.masks, self.wholes)),
            {head: values[list(rows)] for head, values in self.labels.items()},
            *([values[i] for i in rows] for values in (self.categories, self.negatives, self.seeds)),
            self.places[list(rows)],
        )

    def split(self) -> tuple[Examples, Examples]:
        """Training and validation examples."""
        held = [i for i, seed in enumerate(self.seeds) if is_held_out(seed)]
        rest = [i for i, seed in enumerate(self.seeds) if not is_held_out(seed)]
        return self.chosen(rest), self.chosen(held)


def is_held_out(seed: int) -> bool:
    return seed % VALIDATION_SHARE == 0


def read_metadata(file: Path) -> dict[str, str]:
    with safe_open(str(file), "pt") as opened:
        return opened.metadata() or {}


def labels_of(record: Record) -> dict[str, int]:
    """A record's label under each head.

    The category counts only where the scene was made for it, the palette where something has its colour.
    """
    labels = {}
    for head, classes in CLASSES.items():
        value = record.factors.get(head)
        if value not in classes:
            raise ProductBackgroundError(
                f"{record.name}: expected a factor {head}, one of {', '.join(classes)}; got {value!r}."
            )
        labels[head] = classes.index(value)
    if record.factors.get("half") != "bound":
        labels["category"] = UNKNOWN
    if not shows_palette(record.factors["surface"], record.factors["wall"]):
        labels["palette"] = UNKNOWN
    return labels


def places_of(record: Record) -> Tensor:
    """[K,g,g] uint8: where each keepsake stands, 255 inside its boxes."""
    places = torch.zeros(len(KEEPSAKES), GRID, GRID, dtype=torch.uint8)
    for prop in record.factors.get("prop_boxes", ()):
        if prop["kind"] in KEEPSAKES:
            left, top, right, bottom = (round(GRID * edge) for edge in prop["box"])
            places[KEEPSAKES.index(prop["kind"]), top : max(bottom, top + 1), left : max(right, left + 1)] = 255
    return places


def read_examples(folders: Sequence[Path], coder: Autoencoder, cache: Path) -> Examples:
    """All pictures of rendered data sets, negatives among them; they must have one size.

    `cache` keeps what the autoencoder made of them, which takes minutes; it is made anew when the data sets or the
    autoencoder changed.
    """
    records = [record for folder in folders for record in read_records(folder)]
    pictures, masks = load_pictures(records), load_masks(records)
    wholes = load_masks([whole_of(record) for record in records])
    labels = [labels_of(record) for record in records]
    seeds = [int(record.factors["seed"]) for record in records]
    about = hashlib.sha256()
    stamp_weights(about, coder)
    stamp_records(about, records)
    made_of = about.hexdigest()
    if not cache.exists() or read_metadata(cache).get("made_of") != made_of:
        with replacing(cache) as temporary:
            save_file({"painted": painted(pictures, wholes, coder)}, temporary, {"made_of": made_of})
    return Examples(
        pictures=pictures,
        painted=load_file(cache)["painted"],
        masks=masks,
        wholes=wholes,
        labels={head: torch.tensor([row[head] for row in labels]) for head in CLASSES},
        categories=[record.category for record in records],
        negatives=[record.factors.get("negative") or "" for record in records],
        seeds=seeds,
        places=torch.stack([places_of(record) for record in records]),
    )


def whole_of(record: Record) -> Record:
    """The record with the whole product's mask, which lies beside that of a grown negative."""
    whole = record.mask.with_name(f"{record.mask.stem}_whole.png")
    if not whole.is_file():
        return record
    return Record(record.name, record.category, record.picture, whole, record.caption, record.factors)


def painted(pictures: Tensor, masks: Tensor, coder: Autoencoder, batch: int = 16) -> Tensor:
    """`pictures` uint8 through the autoencoder, their products pasted back by `masks` uint8."""

    def through(start: int) -> Tensor:
        image, mask = (t[start : start + batch].float() / 255 for t in (pictures, masks))
        return pasted(coder.decode(coder.encode(image)), image, mask)

    return torch.cat(on_cores(through, range(0, len(pictures), batch), "through the autoencoder"))


def mirrored_labels(head: str, labels: Tensor) -> Tensor:
    """The labels of the mirrored pictures: light from the left comes from the right."""
    classes = CLASSES[head]
    names = [" ".join(MIRRORED.get(word, word) for word in name.split()) for name in classes]
    table = torch.tensor([classes.index(name) for name in names])
    return torch.where(labels < 0, labels, table[labels.clamp(min=0)])


@dataclass(frozen=True)
class Draw:
    """An augmented batch in [0,1]: pictures [B,3,H,W], masks and wholes [B,1,H,W], labels [B] a head; `places`
    [B,K,g,g], how much of a cell a keepsake's box covers."""

    pictures: Tensor
    masks: Tensor
    wholes: Tensor
    labels: dict[str, Tensor]
    places: Tensor


def draw(examples: Examples, rows: Tensor, generator: torch.Generator) -> Draw:
    """Augments rows of `examples`: mirrored, zoomed by up to an eighth, most of them painted, lighter, noisy."""
    n, size = len(rows), examples.pictures.shape[-1]
    uniform = torch.rand(6, n, generator=generator)
    raw = torch.where((uniform[0] < 0.25).view(-1, 1, 1, 1), examples.pictures[rows], examples.painted[rows])
    stack = torch.cat([raw, examples.masks[rows], examples.wholes[rows]], dim=1).float() / 255
    flip = uniform[1] < 0.5
    zoom = 1 - 0.125 * uniform[2]
    grid = torch.zeros(n, 2, 3)
    grid[:, 0, 0], grid[:, 1, 1] = torch.where(flip, -zoom, zoom), zoom
    grid[:, 0, 2], grid[:, 1, 2] = (uniform[3] * 2 - 1) * (1 - zoom), (uniform[4] * 2 - 1) * (1 - zoom)
    places = F.affine_grid(grid, [n, 5, size, size], align_corners=False)
    stack = F.grid_sample(stack, places, padding_mode="border", align_corners=False)
    there = F.grid_sample(
        examples.places[rows].float() / 255, F.affine_grid(grid, [n, 1, GRID, GRID], align_corners=False),
        align_corners=False,
    )  # fmt: skip
    gain = 0.92 + 0.16 * uniform[5].view(-1, 1, 1, 1)
    pictures = stack[:, :3] * gain + 0.01 * torch.randn(n, 3, size, size, generator=generator)
    labels = {}
    for head, values in examples.labels.items():
        values = values[rows]
        labels[head] = torch.where(flip, mirrored_labels(head, values), values)
    return Draw(pictures.clamp(0, 1), stack[:, 3:4], stack[:, 4:], labels, there)
