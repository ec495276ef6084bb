"""What product shapes share: paints, finishes, caps, printed bands."""

import random
from collections.abc import Callable, Sequence

import bpy

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..meshes import lathe

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
