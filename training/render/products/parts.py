"""What product shapes share: paints, finishes, caps, printed bands."""

import random
from collections.abc import Callable, Sequence

import bpy

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..meshes import lathe

BLACK, STEEL, GOLD = (0.012, 0.012, 0.014), (0.72, 0.72, 0.74), (0.83, 0.6, 0.28)

Builder = Callable[[random.Random, str], Sequence[bpy.types.Object] | None]
"""Draws one product of a shape family, standing on z = 0, about one unit high, its front towards -y.

Returns the bodies of its appendages: the cap, handle, lid, pump or leaf that a careless mask would leave out. None or
nothing where the shape has none.
"""


def paint(rng: random.Random, **ranges: tuple[float, float]) -> m.Colour:
    return linear(vivid(rng, **ranges))


def finish(rng: random.Random, colour: m.Colour):
    """Matte, satin or glossy plastic and lacquer."""
    return m.plain(colour, roughness=rng.choice((0.12, 0.3, 0.6)), coat_weight=rng.choice((0.0, 0.6)))


def cap_material(rng: random.Random):
    gold, steel = (0.83, 0.6, 0.28), (0.75, 0.75, 0.76)
    return rng.choice((lambda: m.metal(gold), lambda: m.metal(steel), lambda: m.plain((0.02, 0.02, 0.02), 0.3),
                       lambda: m.plain((0.85, 0.85, 0.83), 0.35), lambda: finish(rng, paint(rng))))()  # fmt: skip


def wrap(rng: random.Random, radius: float, z0: float, z1: float, arc: float = 2.6) -> None:
    """A printed band around a round body."""
    print_ = m.picture(label_image(rng, radius * arc / (z1 - z0)), rng.uniform(0.3, 0.6))
    lathe([(radius, z0), (radius, z1)], print_, arc=arc, bevel=0)


def gadget(rng: random.Random):
    """Black, white, silver, or a colour."""
    return rng.choice((lambda: finish(rng, BLACK), lambda: finish(rng, (0.8, 0.8, 0.78)), lambda: m.metal(STEEL, 0.3),
                       lambda: finish(rng, paint(rng, saturation=(0.3, 0.9), value=(0.3, 0.9)))))()  # fmt: skip


def leather(rng: random.Random):
    dyed = paint(rng, saturation=(0.1, 0.8), value=(0.15, 0.8))
    tone = rng.choice(((0.14, 0.05, 0.02), (0.02, 0.018, 0.016), (0.26, 0.13, 0.06), (0.6, 0.52, 0.42), dyed, dyed))
    return m.speckled(rng, tone, 45, 0.1, 0.2, rng.uniform(0.3, 0.6))
