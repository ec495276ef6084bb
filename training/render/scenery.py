"""Surface and wall of a scene. The product stands at the origin; the camera looks along +y."""

import random
from math import cos, pi, sin

import bpy

from . import materials as m
from .catalog import PALETTE
from .meshes import box, lathe, mesh
from .props import PROP_BUILDERS, Scatter
from .recipe import Recipe

WALL_DISTANCE = (0.9, 2.2)


def build_scenery(rng: random.Random, recipe: Recipe, footprint: float) -> float:
    """Builds everything but the product; `footprint` is its radius on the surface. Returns the height it stands at."""
    colour, accent = PALETTE[recipe.palette], PALETTE[recipe.accent]
    wall_at = rng.uniform(*WALL_DISTANCE)
    ground(surface_material(rng, recipe.surface, colour), wall_at, recipe.wall)
    wall(rng, recipe.wall, colour, wall_at, recipe.light == "evening")
    height = 0.0
    if "podium" in recipe.props:
        height = rng.uniform(0.12, 0.3)
        radius = footprint * rng.uniform(1.25, 1.6)
        lathe([(0.001, 0), (radius, 0), (radius, height), (0.001, height)], m.plain(accent, rng.uniform(0.3, 0.6)), 64)
    scatter = Scatter(rng, footprint, wall_at)
    for prop in recipe.props:
        if prop != "podium":
            PROP_BUILDERS[prop](scatter, accent)
    return height


def surface_material(rng: random.Random, surface: str, colour: m.Colour) -> bpy.types.Material:
    build = {
        "white marble": lambda: m.marble(rng, (0.82, 0.82, 0.80), (0.22, 0.22, 0.24)),
        "black marble": lambda: m.marble(rng, (0.012, 0.012, 0.014), (0.5, 0.48, 0.42)),
        "oak": lambda: m.wood(rng, (0.62, 0.40, 0.20), (0.36, 0.19, 0.08)),
        "walnut": lambda: m.wood(rng, (0.16, 0.07, 0.03), (0.045, 0.018, 0.008)),
        "concrete": lambda: m.speckled(rng, (0.34, 0.34, 0.33), 3.0, 0.35, 0.15, 0.8),
        "linen": lambda: m.linen(rng, (0.66, 0.58, 0.45)),
        "slate": lambda: m.speckled(rng, (0.045, 0.05, 0.055), 4.0, 0.4, 0.5, 0.5),
        "terrazzo": lambda: m.terrazzo(rng),
        "sand": lambda: m.speckled(rng, (0.70, 0.50, 0.29), 5.0, 0.2, 1.0, 0.95),
        "moss": lambda: m.speckled(rng, (0.06, 0.17, 0.02), 22.0, 0.55, 1.0, 0.95),
        "acrylic": lambda: m.plain(colour, 0.06, coat_weight=0.5),
        "paper": lambda: m.plain(colour, 0.85),
    }
    return build[surface]()


def ground(material: bpy.types.Material, wall_at: float, wall_kind: str) -> None:
    far = {"garden": 7.0, "sky": 60.0}.get(wall_kind, wall_at)
    if wall_kind == "seamless":
        return  # the sweep is floor and wall at once
    mesh("ground", [(-40, -12, 0), (40, -12, 0), (40, far, 0), (-40, far, 0)], [(0, 1, 2, 3)], material)


def wall(rng: random.Random, kind: str, colour: m.Colour, at: float, evening: bool) -> None:
    if kind == "seamless":
        curve = [(-12.0, 0.0), (at - 0.8, 0.0)]
        curve += [(at - 0.8 + 0.8 * sin(a), 0.8 - 0.8 * cos(a)) for a in (pi / 2 * i / 12 for i in range(1, 13))]
        curve.append((at, 12.0))
        vertices = [(x, y, z) for y, z in curve for x in (-30, 30)]
        faces = [(2 * i, 2 * i + 1, 2 * i + 3, 2 * i + 2) for i in range(len(curve) - 1)]
        mesh("sweep", vertices, faces, m.plain(colour, 0.85))
    elif kind == "curtain":
        columns = 400
        phase, pitch = rng.uniform(0, 6), rng.uniform(5, 9)
        vertices = []
        for i in range(columns):
            x = -12 + 24 * i / (columns - 1)
            y = at + 0.09 * sin(pitch * x + phase) + 0.05 * sin(2.3 * pitch * x)
            vertices += [(x, y, 0), (x, y, 12)]
        mesh(
            "curtain",
            vertices,
            [(2 * i, 2 * i + 2, 2 * i + 3, 2 * i + 1) for i in range(columns - 1)],
            m.plain(colour, 0.8, sheen_weight=0.3),
        )
    elif kind == "panelling":
        flat(at, m.plain(m.mixed(colour, (0, 0, 0), 0.6), 0.6))
        width = rng.uniform(0.12, 0.3)
        slat = m.plain(colour, 0.45)
        for i in range(int(12 / width)):
            box((width * 0.86, 0.05, 12), (-6 + i * width, at - 0.03, 0), slat, 0.01)
    elif kind == "tiles":
        size = rng.uniform(0.22, 0.4)
        flat(
            at,
            m.bricks(
                rng,
                colour,
                m.mixed(colour, (0.7, 0.7, 0.7), 0.6),
                size * rng.choice((1, 2)),
                size,
                0.012,
                rng.choice((0.0, 0.5)),
            ),
        )
    elif kind == "brick":
        flat(at, m.bricks(rng, (0.32, 0.09, 0.05), (0.45, 0.42, 0.38), 0.42, 0.14, 0.016, 0.5))
    elif kind == "shelves":
        flat(at + 0.5, m.plain(m.mixed(colour, (0, 0, 0), 0.35), 0.8))
        board = m.wood(rng, (0.5, 0.3, 0.15), (0.3, 0.16, 0.07))
        for level in range(5):
            z = 0.25 + 0.62 * level
            box((16, 0.5, 0.05), (0, at + 0.25, z), board, 0.01)
            x = -4.0
            while x < 4.0:
                w, h = rng.uniform(0.12, 0.34), rng.uniform(0.2, 0.48)
                hue = PALETTE[rng.choice(tuple(PALETTE))]
                if rng.random() < 0.5:
                    box((w, 0.3, h), (x, at + 0.25, z + 0.05), m.plain(hue, 0.5))
                else:
                    jar = lathe([(0.001, 0), (w / 2, 0), (w / 2, h), (0.001, h)], m.plain(hue, 0.3), 20)
                    jar.location = (x, at + 0.25, z + 0.05)
                x += w + rng.uniform(0.03, 0.3)
    elif kind == "garden":
        at = 7.0
        flat(at, m.foliage(rng, evening))
    elif kind == "plaster":
        flat(at, m.speckled(rng, colour, 2.0, 0.07, 0.2, 0.9))
    # "sky" is the world's own light


def flat(at: float, material: bpy.types.Material) -> None:
    mesh("wall", [(-30, at, -1), (30, at, -1), (30, at, 14), (-30, at, 14)], [(0, 1, 2, 3)], material)
