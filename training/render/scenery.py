"""Surface and wall of a scene. The product stands at the origin; the camera looks along +y."""

import random
from math import cos, pi, sin

import bpy

from . import materials as m
from . import props, props_bound, props_keepsakes
from .catalog import DENSITIES, PALETTE
from .meshes import box, lathe, mesh
from .recipe import Recipe
from .scatter import Disc, Scatter

PROP_BUILDERS = {**props.PROP_BUILDERS, **props_bound.PROP_BUILDERS, **props_keepsakes.PROP_BUILDERS}

WALL_BEHIND = {"eye": (0.5, 1.6), "table": (0.45, 1.1), "high": (0.35, 0.7)}
"""How far behind the product's footprint the wall may stand; the higher the camera, the nearer, or it isn't seen."""


def place_wall(recipe: Recipe, footprint: float) -> float:
    rng = random.Random(f"wall-distance-{recipe.style.style_key}")
    return max(0.8, footprint + rng.uniform(*WALL_BEHIND[recipe.style.view]))


def build_set(recipe: Recipe, wall_at: float) -> None:
    """Surface and wall; two recipes of one style get the same ones, to the grain."""
    style = recipe.style
    rng = random.Random(f"set-{style.style_key}")
    colour = PALETTE[style.palette]
    ground(surface_material(rng, style.surface, colour), wall_at, style.wall)
    wall(rng, style.wall, colour, wall_at, style.light == "evening")


def build_podium(recipe: Recipe, footprint: float) -> tuple[float, float]:
    """A podium under the product, if the recipe has one; returns the height and the radius to keep clear."""
    if "podium" not in recipe.style.props:
        return 0.0, footprint
    rng = random.Random(f"podium-{recipe.layout.layout_key}")
    height, radius = rng.uniform(0.12, 0.3), footprint * rng.uniform(1.25, 1.6)
    material = m.plain(PALETTE[recipe.style.accent], rng.uniform(0.3, 0.6))
    lathe([(0.001, 0), (radius, 0), (radius, height), (0.001, height)], material, 64).name = "podium"
    return height, radius


def build_props(recipe: Recipe, taken: list[Disc], wall_at: float, reach: float) -> list[tuple[str, list]]:
    """Props beside and behind what stands at `taken`; returns kind and bodies of each piece."""
    rng = random.Random(f"props-{recipe.layout.layout_key}")
    scatter = Scatter(rng, recipe.layout, DENSITIES[recipe.layout.density], taken, wall_at, reach)
    kinds = [kind for kind in (*recipe.style.props, *recipe.style.bound_props) if kind != "podium"]
    for kind in sorted(kinds, key=lambda kind: kind != "arch"):  # an arch stands where it must, the others give way
        scatter.kind = kind
        PROP_BUILDERS[kind](scatter, PALETTE[recipe.style.accent])
        scatter.close()
    return scatter.pieces


def surface_material(rng: random.Random, surface: str, colour: m.Colour) -> bpy.types.Material:
    build = {
        "white marble": lambda: m.marble(rng, (0.82, 0.82, 0.80), (0.22, 0.22, 0.24)),
        "black marble": lambda: m.marble(rng, (0.012, 0.012, 0.014), (0.5, 0.48, 0.42)),
        "oak": lambda: m.wood(rng, (0.62, 0.40, 0.20), (0.36, 0.19, 0.08)),
        "walnut": lambda: m.wood(rng, (0.16, 0.07, 0.03), (0.045, 0.018, 0.008)),
        "planks": lambda: m.bricks(rng, (0.66, 0.63, 0.58), (0.12, 0.10, 0.08), 3.0, 0.32, 0.014, 0.37, upright=False),
        "cork": lambda: m.speckled(rng, (0.46, 0.27, 0.13), 30.0, 0.5, 0.25, 0.9),
        "steel": lambda: m.brushed(rng, (0.62, 0.63, 0.65)),
        "chequered": lambda: m.chequered(rng, (0.75, 0.74, 0.70), (0.03, 0.03, 0.035)),
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
    elif kind == "raw concrete":
        flat(at, m.speckled(rng, (0.30, 0.30, 0.295), 1.6, 0.3, 0.25, 0.9))
        groove, panel = m.plain((0.06, 0.06, 0.06), 1.0), rng.uniform(1.1, 1.5)
        for i in range(-5, 6):
            box((0.02, 0.012, 12), (i * panel + rng.uniform(0.0, 0.4), at - 0.005, 0), groove, 0)
        box((24, 0.012, 0.02), (0, at - 0.005, rng.uniform(0.9, 1.3)), groove, 0)
    elif kind == "wallpaper":
        flat(at, m.striped(rng, colour, (0.80, 0.78, 0.74)))
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
