"""Backgrounds painted in the style of references, arm by arm, by the protocol's sampler."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bg_core.self_reference import SelfGuide
from bg_core.style_adapter import StyleAdapter
from bg_core.style_config import StyleConfig
from bg_core.style_encoder import Features, Tokens
from bg_core.style_views import Views, cleared, standard_views

from ..attention import guide_layers
from ..category.paint import Subjects
from ..category.prompts import Context
from ..generate import noise_of, on_cores, pasted
from ..kept import remembered
from ..painters import Painter
from ..protocol import Protocol
from ..sampling import euler_ancestral
from .self_unet import looking, predict_beside
from .unet import layer_names, styling


@dataclass(frozen=True)
class StyleArm:
    """One way to paint: `strengths` by group; `palette`: of the style group, the token of statistics alone; `plain`:
    without trained weights; `words`: the whole caption of such a scene in place of the product's name."""

    strengths: Mapping[str, float] = field(default_factory=dict)
    palette: bool = False
    plain: bool = False
    words: bool = False


STYLE_ARMS: dict[str, StyleArm] = {
    "ours": StyleArm({"style": 1.0, "layout": 1.0}),
    "style": StyleArm({"style": 1.0}),
    "layout": StyleArm({"layout": 1.0}),
    "elements": StyleArm({"elements": 1.0}),
    "palette": StyleArm({"style": 1.0}, palette=True),
    "training_free": StyleArm(plain=True),
    "words": StyleArm(words=True),
    "without": StyleArm(),
}


@dataclass(frozen=True)
class References:
    """Pictures [N,3,H,W] and product masks [N,1,H,W], uint8, one for each subject; tokens are read as needed."""

    pictures: Tensor
    masks: Tensor

    def chosen(self, rows: Sequence[int]) -> References:
        return References(self.pictures[list(rows)], self.masks[list(rows)])

    def cleared(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        return cleared(self.pictures.float() / 255, self.masks.float() / 255, height, width)


@dataclass(frozen=True)
class StyleBrush:
    """A painter with an adapter, its front end, and how it looks at cleared references."""

    painter: Painter
    adapter: StyleAdapter
    front: Features
    views: Callable[[Tensor, Tensor, StyleConfig], Views] = standard_views

    def tokens(self, references: References, palette: bool = False) -> dict[str, Tokens]:
        config = self.adapter.config
        views = self.views(*references.cleared(config.frame, config.frame), config)
        tokens = dict(self.adapter.encoder(views, self.front))
        if palette:
            kept = torch.zeros_like(tokens["style"].kept)
            kept[:, -1] = True  # the token of channel statistics
            tokens["style"] = Tokens(tokens["style"].values, kept)
        return tokens


def paint_in_style(
    brush: StyleBrush,
    arm: StyleArm,
    subjects: Subjects,
    references: References,
    context: Callable[[Sequence[int]], Context],
    empty: Tensor,
    protocol: Protocol,
    batch: int = 16,
    strength: float = 1.0,
) -> Tensor:
    """uint8 [N,3,H,W]: product i in the style of reference i, pasted back by its mask.

    `context(rows)`: what these rows read, their identifiers kept to the background; `empty` [1,L,D]: what guidance goes
    away from. `strength` multiplies the arm's. The noise of picture i depends on i and the protocol's seed alone.
    """
    unet = brush.painter.unet
    regions, names = guide_layers(unet), layer_names(unet)
    strengths = {group: value * strength for group, value in arm.strengths.items()}

    def painted(start: int) -> Tensor:
        rows = range(start, min(start + batch, len(subjects)))
        some, given = subjects.chosen(rows), references.chosen(rows)
        said, size = context(rows), some.masked.shape[-2:]
        # without an identifier nothing is guided, and the references' own rows read the same layers
        guided = any(said.positions)
        masks = torch.cat([some.background, torch.ones_like(some.background)]) if guided else None
        places = said.positions + [[]] * len(some)
        predict = brush.painter.predict
        with ExitStack() as inside:
            inside.enter_context(regions.guiding(masks, places, size, said.values.shape[1]))
            inside.enter_context(regions.keeping())
            if arm.plain:
                predict = _beside(brush, inside, given, some)
            elif strengths:
                tokens = brush.tokens(given, arm.palette)
                inside.enter_context(styling(regions, brush.adapter, tokens, strengths, some.background, names))
            latents = euler_ancestral(
                predict, noise_of(rows, some.masked.shape[1:], protocol.seed), some.where, some.masked, said.values,
                empty.expand(len(some), -1, -1), protocol.steps, protocol.guidance,
            )  # fmt: skip
        picture, mask = some.pictures.float() / 255, some.given.float() / 255
        return pasted(brush.painter.coder.decode(latents), picture, mask)

    def shared() -> list[object]:
        looks = [brush.adapter, brush.adapter.config, brush.views.__qualname__, arm, strength]
        return [brush.painter.unet, brush.painter.coder, *looks, empty, protocol.sampling]

    def own(start: int) -> list[object]:
        rows = range(start, min(start + batch, len(subjects)))
        said = context(rows)
        parts = (*vars(subjects.chosen(rows)).values(), *vars(references.chosen(rows)).values())
        return [said.values, said.positions, *parts]

    # what looks beside the UNet's own self-attention is kept in its layers, for one batch at a time
    cores = 1 if arm.plain else None
    return torch.cat(on_cores(remembered(painted, shared, own), range(0, len(subjects), batch), cores=cores))


def _beside(
    brush: StyleBrush, inside: ExitStack, references: References, subjects: Subjects
) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A prediction whose self-attention looks at the references, too."""
    painter = brush.painter
    height, width = references.pictures.shape[-2:]
    clear, hole = references.cleared(height, width)
    guide = SelfGuide(painter.coder.encode(clear), hole[:, 0], mask=subjects.background)
    state = inside.enter_context(looking(painter.unet, guide, len(subjects), subjects.masked.shape[-2:]))
    noise = torch.randn(guide.latents.shape, generator=torch.Generator().manual_seed(0))
    return lambda x, t, text: predict_beside(painter.unet, state, painter.diffusion, x, t, text, noise)
