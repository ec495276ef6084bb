"""One step's draw for the style trainer: a picture, and its own background as its reference (experiments.md section 4).

What keeps the adapter from copying is what each view of the reference lacks; what keeps it from ignoring the reference
is that nothing else says how the picture looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bg_core.base import grey_out, mask_channel
from bg_core.errors import ProductBackgroundError
from bg_core.regions import region_of
from bg_core.resize import area_average
from bg_core.style_config import GROUPS, StyleConfig
from bg_core.style_views import EDGE, View, Views, elements_view, filled, hole_of, layout_view, style_view

from ..data import Record, load_masks, load_pictures
from ..framing import framed, is_mirrored, mirrored
from ..painters import Painter
from ..vocabulary import with_article
from .mixed import whole_view

ENCODED = 8
"""Pictures that go through the autoencoder at a time."""


@dataclass(frozen=True)
class Recipe:
    """How much of what; shares of the rows, 0..1. `sides`: of the targets in pixels, one of them at random a draw."""

    sides: Sequence[int] = (128,)
    recolour: float = 0.5
    foreign_hole: float = 0.5
    hide_hole: float = 0.2
    drop_group: float = 0.3
    drop_all: float = 0.1
    product_caption: float = 0.6
    full_caption: float = 0.2

    def __post_init__(self) -> None:
        shares = {name: value for name, value in vars(self).items() if name != "sides"}
        if bad := [f"{name} {value}" for name, value in shares.items() if not 0 <= value <= 1]:
            raise ProductBackgroundError(f"Bad recipe: {', '.join(bad)}. Shares lie in 0..1.")


@dataclass(frozen=True)
class StyleDraw:
    """Latents `clean` and `masked` [B,C,h,w], `mask` [B,1,h,w] (1 = repaint), `background` [B,h,w]; `views` of each
    row's reference; `kept`: by group, 0 where a row does without it, [B]; one caption a row."""

    clean: Tensor
    masked: Tensor
    mask: Tensor
    background: Tensor
    views: Views
    kept: dict[str, Tensor]
    captions: list[str]

    def chosen(self, rows: Sequence[int]) -> StyleDraw:
        return StyleDraw(
            *(part[list(rows)] for part in (self.clean, self.masked, self.mask, self.background)),
            self.views.chosen(rows),
            {group: kept[list(rows)] for group, kept in self.kept.items()},
            [self.captions[row] for row in rows],
        )

    def with_references(self, order: Sequence[int]) -> StyleDraw:
        """The same, each row with the reference of row `order[i]`."""
        return replace(self, views=self.views.chosen(order))


def product_caption(record: Record) -> str:
    """The product and nothing of its scene."""
    return f"a photo of {with_article(str(record.factors.get('product_word') or record.category))}"


class StyleScenes:
    """Draws from single pictures, read from disk as they are needed: 60,000 don't fit into memory.

    `whole`: the style view is the frame as it is, for the baseline that has one reader (`mixed`).
    """

    def __init__(
        self, records: Sequence[Record], painter: Painter, config: StyleConfig, recipe: Recipe, whole: bool = False
    ) -> None:
        self.records, self.painter, self.config, self.recipe = list(records), painter, config, recipe
        self.whole = whole

    def draw(self, size: int, generator: torch.Generator) -> StyleDraw:
        """`size` rows by the recipe."""
        rows = torch.randint(len(self.records), (size,), generator=generator).tolist()
        return self.of([self.records[row] for row in rows], generator)

    def of(self, records: Sequence[Record], generator: torch.Generator) -> StyleDraw:
        """These records, one a row."""
        recipe, n = self.recipe, len(records)
        draws = torch.rand(n, 5, generator=generator).tolist()
        side = recipe.sides[int(torch.randint(len(recipe.sides), (1,), generator=generator))]
        pairs = [_framed(record, side, of) for record, of in zip(records, draws, strict=True)]
        pictures, products = torch.cat([p for p, _ in pairs]), torch.cat([m for _, m in pairs])
        captions, told = self._captions(records, draws, generator)
        # A caption that names colours would be wrong of a recoloured picture.
        painted = (torch.rand(n, generator=generator) < recipe.recolour) & ~told
        recoloured = products * pictures + (1 - products) * hue_shifted(pictures, generator)
        target = torch.where(painted.view(-1, 1, 1, 1), recoloured, pictures)
        kept = torch.rand(n, len(GROUPS), generator=generator) >= recipe.drop_group
        kept &= torch.rand(n, 1, generator=generator) >= recipe.drop_all
        background = 1 - products
        device = next(self.painter.unet.parameters()).device
        with torch.no_grad():
            pair = torch.cat([target, grey_out(target, background)])
            # At 512 pixels a layer of SD 1.5's autoencoder holds 128 MB of each picture.
            latents = [self.painter.coder.encode(some.to(device)) for some in pair.split(ENCODED)]
            clean, masked = torch.cat(latents).chunk(2)
        height, width = clean.shape[-2:]
        return StyleDraw(
            clean,
            masked,
            mask_channel(background, height, width).to(device),
            region_of(background[:, 0], height, width).unflatten(1, (height, width)).to(device),
            self._views(pictures, target, products, generator).to(device),
            {group: kept[:, i].float() for i, group in enumerate(GROUPS)},
            captions,
        )

    def _captions(
        self, records: Sequence[Record], draws: Sequence[Sequence[float]], generator: torch.Generator
    ) -> tuple[list[str], Tensor]:
        """One a row, and which rows say what the scene looks like."""
        captions, told = [], []
        chances = torch.rand(len(records), generator=generator).tolist()
        for record, of, chance in zip(records, draws, chances, strict=True):
            whole = bool(record.caption) and chance >= 1 - self.recipe.full_caption
            plain = product_caption(record) if chance < self.recipe.product_caption else ""
            said = mirrored(record.caption) if is_mirrored(of) else record.caption
            captions.append(said if whole else plain)
            told.append(whole)
        return captions, torch.tensor(told)

    def _views(self, pictures: Tensor, target: Tensor, products: Tensor, generator: torch.Generator) -> Views:
        """Style and elements of the painted target, the layout of the picture as it was: colours must not tell it."""
        config, n = self.config, len(pictures)
        product = (products > EDGE).float()
        radius = 0.02 + 0.05 * float(torch.rand(1, generator=generator))
        hole = hole_of(product, config.frame, config.frame, radius)
        # Else the hole would tell where the product stands: another's beside it, or none at all.
        foreign = (torch.rand(n, generator=generator) < self.recipe.foreign_hole).view(-1, 1, 1, 1)
        hole = torch.maximum(hole, hole.roll(1, 0) * foreign)
        shown = hole * (torch.rand(n, generator=generator) >= self.recipe.hide_hole).view(-1, 1, 1, 1)
        own, new = (
            filled(area_average(p * (1 - product), config.frame, config.frame), hole) for p in (pictures, target)
        )
        free = config.frame - round(config.crop_share * config.frame)
        candidates = torch.randint(free + 1, (n, 2 * config.crops, 2), generator=generator)
        gamma = torch.exp(0.6 * (torch.rand(n, 1, 1, 1, generator=generator) - 0.5))
        blur = 2 + int(torch.randint(4, (1,), generator=generator))
        scale = 0.8 + 0.4 * float(torch.rand(1, generator=generator))
        return Views(
            whole_view(new, shown) if self.whole else style_view(new, shown, config, candidates),
            layout_view(own, shown, gamma, blur),
            _shuffled_elements(elements_view(new, shown, config, scale), generator),
        )


def _framed(record: Record, side: int, draws: Sequence[float]) -> tuple[Tensor, Tensor]:
    square = round(side / 0.85)  # framing zooms by up to so much
    picture, mask = load_pictures([record]), load_masks([record])
    if picture.shape[-1] != picture.shape[-2] or picture.shape[-1] > 2 * square:
        picture, mask = load_pictures([record], square), load_masks([record], square)
    return framed(picture[0], mask[0], side, draws)


def _shuffled_elements(view: View, generator: torch.Generator) -> View:
    """Each crop mirrored or not, its hue shifted: what stands there, not how."""
    shape = view.pictures.shape[:2]
    flip = (torch.rand(shape, generator=generator) < 0.5)[..., None, None, None]
    pictures = hue_shifted(view.pictures.flatten(0, 1), generator).unflatten(0, shape)
    return View(torch.where(flip, pictures.flip(-1), pictures), torch.where(flip, view.hole.flip(-1), view.hole))


def hue_shifted(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """[B,3,H,W] in [0,1], each turned about the grey axis by an angle of its own, more or less saturated and bright."""
    n = len(pictures)
    angle = 2 * torch.pi * torch.rand(n, generator=generator)
    saturation = 0.6 + 0.8 * torch.rand(n, 1, 1, generator=generator)
    gain = 0.8 + 0.4 * torch.rand(n, 1, 1, 1, generator=generator)
    cos, sin = angle.cos().view(-1, 1, 1), angle.sin().view(-1, 1, 1)
    grey = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / 3**0.5
    turn = grey + saturation * (cos * (torch.eye(3) - grey) + sin * across)  # Rodrigues' formula
    return (torch.einsum("bij,bjhw->bihw", turn, pictures) * gain).clamp(0, 1)
