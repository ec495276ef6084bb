"""Camera, light and rendering of one recipe: a picture and the exact coverage mask of its product."""

import random
from dataclasses import dataclass, replace
from math import cos, pi, radians, sin
from pathlib import Path

import bpy
from mathutils import Matrix, Vector
from PIL import Image

from bg_core.files import replacing

from . import materials as m
from .catalog import OUTDOORS
from .meshes import mesh
from .products import BUILDERS
from .recipe import DEPTHS_OF_FIELD, Recipe
from .scenery import build_scenery, wall

SENSOR = 36.0  # mm


@dataclass(frozen=True)
class Quality:
    """Picture side in pixels and Cycles samples per pixel for the picture and for the mask."""

    side: int = 192
    samples: int = 14
    mask_samples: int = 4


def render_scene(recipe: Recipe, picture: Path, mask: Path, quality: Quality) -> dict[str, list[float]]:
    """Renders `recipe` to two PNG files; the mask is the product's coverage. Returns boxes over the frame."""
    rng = random.Random(f"scene-{recipe.half}-{recipe.seed}")
    product, radius, height = stand_product(rng, recipe)
    lift = build_scenery(rng, recipe, radius)
    for body in product:
        body.location.z += lift
    others = [body for body in bpy.context.scene.objects if body not in product and body.type == "MESH"]
    aim_camera(recipe, lift, radius, height)
    light_scene(rng, recipe)
    return shoot(product, others, picture, mask, quality)


def render_packshot(recipe: Recipe, picture: Path, mask: Path, quality: Quality) -> dict[str, list[float]]:
    """The same product on a white studio sweep, centred and filling the frame, as sellers photograph it."""
    rng = random.Random(f"scene-{recipe.half}-{recipe.seed}")
    product, radius, height = stand_product(rng, recipe)
    wall(rng, "seamless", (0.93, 0.93, 0.93), at=3.0, evening=False)
    sweep = [body for body in bpy.context.scene.objects if body.type == "MESH" and body not in product]
    aim_camera(replace(recipe, shift_x=0.0, shift_y=0.0, fill=0.74, depth_of_field="deep"), 0.0, radius, height)
    world((1.0, 1.0, 1.0), 0.55)
    area(Vector((-0.5, -1.4, 3.4)), 3.0, 170, (1, 1, 1))  # a large softbox above: the shadow lies under the product
    area(Vector((2.6, -1.2, 1.6)), 1.0, 15, (1, 1, 1))
    return shoot(product, sweep, picture, mask, quality)


def stand_product(rng: random.Random, recipe: Recipe) -> tuple[list, float, float]:
    """Empties the scene and builds the product; returns its parts, footprint radius and height."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    BUILDERS[recipe.category](rng, recipe.family)
    parts = [body for body in bpy.context.scene.objects if body.type == "MESH"]
    turn = radians(recipe.turn) * (0.5 if recipe.category in ("juice", "perfume", "tea") else 1.0)
    bpy.context.view_layer.update()
    spin = Matrix.Rotation(turn, 4, "Z")
    for body in parts:
        body.matrix_world = spin @ body.matrix_world
    bpy.context.view_layer.update()
    corners = [body.matrix_world @ Vector(corner) for body in parts for corner in body.bound_box]
    radius = max((c.x * c.x + c.y * c.y) ** 0.5 for c in corners) * 0.9
    return parts, radius, max(c.z for c in corners)


def aim_camera(recipe: Recipe, lift: float, radius: float, height: float) -> None:
    scene = bpy.context.scene
    data = bpy.data.cameras.new("camera")
    data.lens, data.sensor_width = recipe.lens, SENSOR
    extent = max(height, 2 * radius)
    distance = extent / recipe.fill / (SENSOR / recipe.lens)
    tilt = radians(recipe.elevation)
    target = Vector((0, 0, lift + height / 2))
    camera = bpy.data.objects.new("camera", data)
    camera.location = target + Vector((0, -cos(tilt), sin(tilt))) * distance
    camera.location.z = max(camera.location.z, 0.12)
    camera.rotation_euler = (target - camera.location).to_track_quat("-Z", "Y").to_euler()
    data.shift_x, data.shift_y = recipe.shift_x, recipe.shift_y
    blur = DEPTHS_OF_FIELD[recipe.depth_of_field]
    data.dof.use_dof = blur > 0
    if blur:
        data.dof.focus_distance = max(distance - radius * 0.5, 0.1)
        data.dof.aperture_fstop = recipe.lens / 1000 / (2 * blur * extent * 0.8)
    scene.collection.objects.link(camera)
    scene.camera = camera


def world(colour: m.Colour, strength: float) -> None:
    sky = bpy.data.worlds.new("world")
    sky.use_nodes = True
    background = sky.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (*colour, 1)
    background.inputs["Strength"].default_value = strength
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


def area(position: Vector, size: float, watts: float, colour: m.Colour) -> None:
    lamp = bpy.data.lights.new("area", "AREA")
    lamp.size, lamp.energy, lamp.color = size, watts, colour
    body = bpy.data.objects.new("area", lamp)
    body.location = position
    body.rotation_euler = (Vector((0, 0, 0.4)) - position).to_track_quat("-Z", "Y").to_euler()
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


def light_scene(rng: random.Random, recipe: Recipe) -> None:
    light, outdoors = recipe.light, recipe.wall in OUTDOORS
    ambient = {"moody": 0.20, "evening": 0.34, "window": 0.40}.get(light, 0.60)
    if outdoors:
        low, high = (
            ((1.0, 0.62, 0.36), (0.35, 0.36, 0.55)) if light == "evening" else ((0.75, 0.86, 1.0), (0.22, 0.45, 0.85))
        )
        horizon_world(low, high, 0.9 if light == "evening" else 1.1)
    else:
        world((1.0, 0.86, 0.72) if light == "evening" else (0.95, 0.97, 1.0), ambient)
    jitter = rng.uniform(-0.25, 0.25)
    side = 1 if light.endswith("right") else -1
    if light.startswith("soft"):
        area(Vector((2.6 * side, -1.2 + jitter, 2.2)), 2.4, 190, (1.0, 0.98, 0.95))
    elif light.startswith("sun"):
        azimuth = (-0.55 if side > 0 else pi + 0.55) + jitter
        sun(azimuth, rng.uniform(0.5, 0.8), 4.2, (1.0, 0.94, 0.84), 0.015)
    elif light == "window":
        direction = sun(pi + 0.6 + jitter, rng.uniform(0.5, 0.7), 5.0, (1.0, 0.92, 0.8), 0.012)
        window_bars(rng, direction)
    elif light == "evening":
        azimuth = rng.choice((-0.3, pi + 0.3)) + jitter
        sun(azimuth, rng.uniform(0.22, 0.4), 3.6, (1.0, 0.55, 0.24), 0.04)
    elif light == "top":
        area(Vector((jitter, -0.8, 3.2)), 3.0, 200, (1, 1, 1))
    else:
        area(Vector((rng.choice((-1.6, 1.6)), -0.6, 2.4)), 0.4, 110, (1.0, 0.85, 0.68))


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


def shoot(product: list, others: list, picture: Path, mask: Path, quality: Quality) -> dict[str, list[float]]:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = quality.side
    scene.render.threads_mode, scene.render.threads = "FIXED", 1
    scene.render.image_settings.file_format = "PNG"
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.35
    cycles = scene.cycles
    cycles.device, cycles.seed = "CPU", 0
    cycles.use_adaptive_sampling = False
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 6, 2, 2, 6
    cycles.sample_clamp_indirect = 6.0
    cycles.samples, cycles.use_denoising, cycles.denoiser = quality.samples, True, "OPENIMAGEDENOISE"
    boxes = {"product": frame_box(product)}
    write_still(picture, "RGB")

    scene.render.film_transparent = True
    cycles.samples, cycles.use_denoising, cycles.max_bounces = quality.mask_samples, False, 0
    for body in others:
        body.is_holdout = True
    bpy.context.view_layer.material_override = m.plain((1, 1, 1))
    write_still(mask, "RGBA")
    alpha_to_mask(mask)
    return boxes


def write_still(path: Path, colours: str) -> None:
    scene = bpy.context.scene
    scene.render.image_settings.color_mode = colours
    with replacing(path) as temporary:
        scene.render.filepath = str(temporary)
        bpy.ops.render.render(write_still=True)


def alpha_to_mask(path: Path) -> None:
    with Image.open(path) as image, replacing(path) as temporary:
        image.getchannel("A").save(temporary)


def frame_box(bodies: list) -> list[float]:
    """Bounding box [left, top, right, bottom] as fractions of the frame."""
    from bpy_extras.object_utils import world_to_camera_view

    scene = bpy.context.scene
    bpy.context.view_layer.update()
    seen = [world_to_camera_view(scene, scene.camera, b.matrix_world @ Vector(c)) for b in bodies for c in b.bound_box]
    xs, ys = [p.x for p in seen], [1 - p.y for p in seen]
    return [round(v, 4) for v in (min(xs), min(ys), max(xs), max(ys))]
