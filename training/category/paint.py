"""Backgrounds painted around products as each arm paints them, by the protocol's sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from bg_core.base import grey_out, mask_channel
from bg_core.errors import ProductBackgroundError
from bg_core.regions import moved_border, region_of

from ..attention import guide_layers
from ..diffusion import demonstration_diffusion
from ..generate import noise_of, on_cores, pasted
from ..kept import remembered
from ..painters import Painter
from ..protocol import Protocol
from ..sampling import euler_ancestral
from ..vocabulary import studio_category
from .plan import Arm
from .prompts import Context, Texts


@dataclass(frozen=True)
class Subjects:
    """Products to paint around, encoded once for all arms.

    `pictures` [N,3,H,W] and `masks` [N,1,H,W] uint8; `masked` [N,C,h,w], `where` [N,1,h,w] (1 = repaint) and
    `background` [N,h,w] as the painter reads them. `given` [N,1,H,W] uint8 is the mask that it was given, which a
    careless user may have drawn too large.
    """

    pictures: Tensor
    masks: Tensor
    given: Tensor
    masked: Tensor
    where: Tensor
    background: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    @classmethod
    @torch.no_grad()
    def of(cls, painter: Painter, pictures: Tensor, masks: Tensor, sloppy: float = 0.0, batch: int = 16) -> Subjects:
        """`sloppy`: by how much the given masks are grown, as a share of the picture's height."""
        grown = moved_border(masks[:, 0].float() / 255, round(sloppy * masks.shape[-2]), 0)[:, None]
        masked, where, background = [], [], []
        for image, product in zip(pictures.split(batch), grown.split(batch), strict=True):
            latents = painter.coder.encode(grey_out(image.float() / 255, 1 - product))
            height, width = latents.shape[-2:]
            masked.append(latents)
            where.append(mask_channel(1 - product, height, width))
            background.append(region_of(1 - product[:, 0], height, width).unflatten(1, (height, width)))
        given = (grown * 255).round().byte()
        return cls(pictures, masks, given, torch.cat(masked), torch.cat(where), torch.cat(background))

    def chosen(self, rows: Sequence[int]) -> Subjects:
        return Subjects(*(value[list(rows)] for value in vars(self).values()))


@dataclass(frozen=True)
class Wish:
    """What one picture is asked to show: the product's words, the category whose background it gets, and a whole
    caption of such a scene, in which the product's word is this product's."""

    words: str
    category: str
    caption: str = ""


@dataclass
class Brush:
    """A painter with an arm's learned weights. `vectors`: by category, [n,D]; `wordings`: (name, scene) by category,
    the studio's own where there is none."""

    painter: Painter
    texts: Texts
    vectors: Mapping[str, Tensor]
    wordings: Mapping[str, tuple[str, str]]

    @classmethod
    def of(cls, painter: Painter, vectors: Mapping[str, Tensor] | None = None) -> Brush:
        """Puts the attention processors that `paint` needs into the painter's UNet."""
        return cls(painter, Texts(painter), vectors or {}, {})

    def wording(self, category: str) -> tuple[str, str]:
        if category in self.wordings:
            return self.wordings[category]
        known = studio_category(category)
        return known.words, known.scene

    def context(self, arm: Arm, wishes: Sequence[Wish], strength: float = 1.0) -> Context:
        """What the rows read. `strength` 0 puts the neutral word in the identifier's place."""
        words = [wish.words for wish in wishes]
        if arm.place == "caption":
            return self.texts.captions([wish.caption for wish in wishes])
        if arm.place in ("name", "scene"):
            which = 0 if arm.place == "name" else 1
            return self.texts.in_words(words, [self.wording(wish.category)[which] for wish in wishes])
        vectors = torch.stack([self.vectors[wish.category] for wish in wishes])
        context = self.texts.with_vectors(words, vectors, arm.place)
        if strength == 1.0:
            return context
        neutral = self.texts.neutral(words, vectors.shape[1])
        return replace(context, values=torch.lerp(neutral, context.values, strength))


def check_paintable(painter: Painter, model: Path) -> None:
    """Raises ProductBackgroundError for a base that `paint` can't sample: it knows one kind of UNet and schedule."""
    known, found = demonstration_diffusion(), painter.diffusion
    kind = "an inpainting UNet" if painter.inpaints else "a UNet without mask and product among its inputs"
    same = torch.equal(found.alpha_bars, known.alpha_bars)
    schedule = "zero terminal SNR" if same else "another noise schedule"
    if not (painter.inpaints and found.prediction == known.prediction and same):
        raise ProductBackgroundError(
            f"{model} has {kind}, {found.prediction}-prediction and {schedule}. Accepted is an inpainting UNet with "
            "v-prediction and zero terminal SNR, as the demonstration base has; train_category teaches others, too."
        )


def paint(
    brush: Brush,
    arm: Arm,
    subjects: Subjects,
    wishes: Sequence[Wish],
    protocol: Protocol,
    batch: int = 16,
    strength: float = 1.0,
) -> Tensor:
    """uint8 [N,3,H,W]: `wishes[i]` around product i, pasted back by the mask that was given.

    The base must be one that `check_paintable` accepts. The noise of picture i depends on i and the protocol's seed
    alone. The empty prompt's keys and values, and those of each text, are computed once for all steps.
    """
    painter = brush.painter
    regions = guide_layers(painter.unet)

    def painted(start: int) -> Tensor:
        some = subjects.chosen(range(start, min(start + batch, len(subjects))))
        context = brush.context(arm, wishes[start : start + batch], strength)
        empty = brush.texts.captions([""] * len(some)).values
        masks = None if arm.used == "none" else torch.cat([some.background, torch.ones_like(some.background)])
        with (
            regions.guiding(
                masks,
                context.positions + [[]] * len(some),
                some.masked.shape[-2:],
                context.values.shape[1],
                method="output" if arm.used == "output" else "attention",
            ),
            regions.keeping(),
        ):
            latents = euler_ancestral(
                painter.predict,
                noise_of(range(start, start + len(some)), some.masked.shape[1:], protocol.seed),
                some.where,
                some.masked,
                context.values,
                empty,
                protocol.steps,
                protocol.guidance,
            )
        picture, mask = some.pictures.float() / 255, some.given.float() / 255
        return pasted(painter.coder.decode(latents), picture, mask)

    def shared() -> list[object]:
        return [painter.unet, painter.text, painter.coder, protocol.sampling, arm]

    def own(start: int) -> list[object]:
        said = brush.context(arm, wishes[start : start + batch], strength)
        some = subjects.chosen(range(start, min(start + batch, len(subjects))))
        return [said.values, said.positions, *vars(some).values()]

    work = remembered(painted, shared, own)
    return torch.cat(on_cores(work, range(0, len(subjects), batch), f"painting {arm.name}"))
