"""Light of a scene: the world, the key light that captions say, and the rig around it that they don't."""

import random
from math import cos, pi, sin

import bpy
from mathutils import Vector

from . import materials as m
from .catalog import OUTDOORS
from .meshes import mesh
from .recipe import Recipe, Style

AMBIENT = {"moody": 0.20, "evening": 0.34, "window": 0.40}
"""Strength of the indoor world by key light; 0.60 for the others."""
HARD = ("sun left", "sun right", "window", "evening")


def light_scene(recipe: Recipe, wall_at: float) -> None:
    style = recipe.style
    rng = random.Random(f"light-{style.style_key}")
    light_world(style)
    side = key_light(rng, style.light)
    light_rig(style, side, wall_at)


def light_world(style: Style) -> None:
    evening = style.light == "evening"
    dimmed = 0.5 if style.rig in ("key", "halo") else 1.0  # the wall's glow and the key's shadow need dark around them
    if style.wall in OUTDOORS:
        low, high = ((1.0, 0.62, 0.36), (0.35, 0.36, 0.55)) if evening else ((0.75, 0.86, 1.0), (0.22, 0.45, 0.85))
        horizon_world(low, high, (0.9 if evening else 1.1) * (0.5 + 0.5 * dimmed))
    else:
        world((1.0, 0.86, 0.72) if evening else (0.95, 0.97, 1.0), AMBIENT.get(style.light, 0.60) * dimmed)


def key_light(rng: random.Random, light: str) -> int:
    """Builds the light that the caption names; returns its side, -1 for left and 1 for right."""
    jitter = rng.uniform(-0.25, 0.25)
    side = 1 if light.endswith("right") else -1
    if light.startswith("soft"):
        area(Vector((2.6 * side, -1.2 + jitter, 2.2)), 2.4, 190, (1.0, 0.98, 0.95))
    elif light.startswith("sun"):
        azimuth = (-0.55 if side > 0 else pi + 0.55) + jitter
        sun(azimuth, rng.uniform(0.5, 0.8), 4.2, (1.0, 0.94, 0.84), 0.015)
    elif light == "window":
        window_bars(rng, sun(pi + 0.6 + jitter, rng.uniform(0.5, 0.7), 5.0, (1.0, 0.92, 0.8), 0.012))
    elif light == "evening":
        side = rng.choice((1, -1))
        sun((-0.3 if side > 0 else pi + 0.3) + jitter, rng.uniform(0.22, 0.4), 3.6, (1.0, 0.55, 0.24), 0.04)
    elif light == "top":
        area(Vector((jitter, -0.8, 3.2)), 3.0, 200, (1, 1, 1))
    else:
        side = rng.choice((1, -1))
        area(Vector((1.6 * side, -0.6, 2.4)), 0.4, 110, (1.0, 0.85, 0.68))
    return side


def light_rig(style: Style, key_side: int, wall_at: float) -> None:
    strength = 1.6 if style.light in HARD else 0.6 if style.light == "moody" else 1.0
    if style.rig == "rim":
        place = Vector((-1.3 * key_side, min(wall_at - 0.2, 1.2), 1.5))
        area(place, 0.5, 65 * strength, (0.92, 0.96, 1.0), spread=1.3)  # wider, it would wash the wall out
    elif style.rig == "fill":
        area(Vector((-1.9 * key_side, -2.4, 0.7)), 2.2, 70 * strength, (1.0, 0.97, 0.93))
    elif style.rig == "halo":
        spot(Vector((0.0, wall_at - 1.5, 2.9)), Vector((0.0, wall_at, 0.65)), 420 * strength)


def world(colour: m.Colour, strength: float) -> None:
    sky = bpy.data.worlds.new("world")
    sky.use_nodes = True
    background = sky.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (*colour, 1)
    background.inputs["Strength"].default_value = strength
    # plain skies need no finer map; the default's took as long as a sample
    sky.cycles.sampling_method, sky.cycles.sample_map_resolution = "MANUAL", 64
    bpy.context.scene.world = sky


def horizon_world(low: m.Colour, high: m.Colour, strength: float) -> None:
    """A sky that pales towards the horizon."""
    world(high, strength)
    tree = bpy.context.scene.world.node_tree
    nodes, links = tree.nodes, tree.links
    split, ramp, where = (
        nodes.new("ShaderNodeSeparateXYZ"),
        nodes.new("ShaderNodeValToRGB"),
        nodes.new("ShaderNodeTexCoord"),
    )
    ramp.color_ramp.elements[0].color = (*low, 1)
    ramp.color_ramp.elements[1].color = (*high, 1)
    ramp.color_ramp.elements[1].position = 0.4
    links.new(where.outputs["Generated"], split.inputs[0])
    links.new(split.outputs["Z"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Background"].inputs["Color"])


def area(position: Vector, size: float, watts: float, colour: m.Colour, spread: float = pi) -> None:
    lamp = bpy.data.lights.new("area", "AREA")
    lamp.size, lamp.energy, lamp.color, lamp.spread = size, watts, colour, spread
    hang(lamp, position, Vector((0, 0, 0.4)))


def spot(position: Vector, aim: Vector, watts: float) -> None:
    """A cone of light 40 degrees wide, fading to its rim."""
    lamp = bpy.data.lights.new("spot", "SPOT")
    lamp.energy, lamp.spot_size, lamp.spot_blend, lamp.shadow_soft_size = watts, 0.7, 1.0, 0.1
    hang(lamp, position, aim)


def hang(lamp: bpy.types.Light, position: Vector, aim: Vector) -> None:
    body = bpy.data.objects.new(lamp.name, lamp)
    body.location = position
    body.rotation_euler = (aim - position).to_track_quat("-Z", "Y").to_euler()
    body.visible_camera = False
    bpy.context.scene.collection.objects.link(body)


def sun(azimuth: float, elevation: float, strength: float, colour: m.Colour, softness: float = 0.02) -> Vector:
    """Sunlight from `azimuth` (0 = right, pi/2 = behind the product), returns the direction towards the sun."""
    lamp = bpy.data.lights.new("sun", "SUN")
    lamp.energy, lamp.color, lamp.angle = strength, colour, softness
    direction = Vector((cos(azimuth) * cos(elevation), sin(azimuth) * cos(elevation), sin(elevation)))
    body = bpy.data.objects.new("sun", lamp)
    body.rotation_euler = direction.to_track_quat("Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(body)
    return direction


def window_bars(rng: random.Random, direction: Vector) -> None:
    """A frame with bars between the sun and the scene, seen only by shadow rays."""
    black = m.plain((0, 0, 0), 1.0)
    centre = direction * 7.0
    rotation = direction.to_track_quat("Z", "Y").to_euler()
    pitch, bar = rng.uniform(0.5, 0.9), rng.uniform(0.08, 0.16)
    for i in range(-6, 7):
        for size, offset in (((bar, 12.0), (i * pitch, 0.0)), ((12.0, bar), (0.0, i * pitch * 1.3))):
            if size[0] == 12.0 and i % 2:
                continue
            x, y = size[0] / 2, size[1] / 2
            strip = mesh(
                "bar",
                [(offset[0] + a * x, offset[1] + b * y, 0) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))],
                [(0, 1, 2, 3)],
                black,
            )
            strip.location, strip.rotation_euler = centre, rotation
            strip.visible_camera = strip.visible_glossy = strip.visible_diffuse = strip.visible_transmission = False
