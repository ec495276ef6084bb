"""Builds and renders one recipe: a picture, the exact coverage mask of its product, and what lies where."""

import random
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from math import radians
from pathlib import Path
from typing import Literal

import bpy
from mathutils import Matrix, Vector
from PIL import Image

from bg_core.files import replacing

from . import materials as m
from .camera import aim_camera, frame_box, keep_inside, vertices, visible
from .lights import area, light_scene, world
from .products import BUILDERS
from .recipe import Product, Recipe
from .scenery import build_podium, build_props, build_set, place_wall, wall

Negative = Literal["lifted", "grown", "doubled"]
LIFT = (0.03, 0.10)  # of the product's height


@dataclass(frozen=True)
class Quality:
    """Picture side in pixels and Cycles samples per pixel for the picture and for the mask."""

    side: int
    samples: int
    mask_samples: int = 4


@dataclass(frozen=True)
class Stood:
    """A product in the scene: its bodies, those of them that a careless mask leaves out, and its size."""

    bodies: list[bpy.types.Object]
    appendages: list[bpy.types.Object]
    radius: float
    height: float

    def move(self, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
        for body in self.bodies:
            body.matrix_world = Matrix.Translation((x, y, z)) @ body.matrix_world
        bpy.context.view_layer.update()


class NothingToGrow(Exception):
    """The product has no appendage that a mask could leave out."""


def render_scene(
    recipe: Recipe, picture: Path, mask: Path, quality: Quality, negative: Negative | None = None
) -> dict[str, object]:
    """Renders `recipe` to two PNG files; the mask is the product's coverage. Returns the facts known only now.

    A negative is the same scene with one fault: the product lifted off its ground, a mask without the appendages (the
    whole mask is written beside, `..._whole.png`), or a second product that the mask doesn't hold.
    """
    rng = random.Random(f"negative-{recipe.product.product_key}")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    product = stand(random.Random(recipe.product.product_key), recipe.product)
    if negative == "grown" and not product.appendages:
        raise NothingToGrow
    wall_at = place_wall(recipe, product.radius)
    stand_height, clear = build_podium(recipe, product.radius)
    product.move(z=stand_height)
    aim_camera(recipe.style, recipe.layout, stand_height, product.radius, product.height)
    keep_inside(product.bodies)
    taken = [(0.0, 0.0, clear)]
    facts: dict[str, object] = {"negative": negative}
    if negative == "doubled":
        second, place = stand_second(rng, recipe.product, product, clear, wall_at)
        taken.append(place)
        facts["second_box"] = visible(frame_box(second.bodies))
    build_set(recipe, wall_at)
    extent = max(product.height, 2 * product.radius)
    pieces = build_props(recipe, taken, wall_at, reach=0.5 * extent / recipe.layout.fill)
    if negative == "lifted":
        facts["lift"] = round(product.height * rng.uniform(*LIFT), 4)
        product.move(z=facts["lift"])
    facts["product_box"] = visible(frame_box(product.bodies))
    facts["prop_boxes"] = [
        {"kind": kind, "box": box} for kind, bodies in pieces if bodies and (box := visible(frame_box(bodies)))
    ]
    podium = [body for body in bpy.context.scene.objects if body.name.startswith("podium")]
    if podium:
        facts["prop_boxes"].append({"kind": "podium", "box": visible(frame_box(podium))})
    light_scene(recipe, wall_at)
    masked = [body for body in product.bodies if negative != "grown" or body not in product.appendages]
    shoot_picture(picture, quality)
    shoot_mask(masked, mask, quality)
    if negative == "grown":
        shoot_mask(product.bodies, whole_mask(mask), quality)
    return facts | camera_facts() | {"side": quality.side, "samples": quality.samples}


def render_packshot(recipe: Recipe, picture: Path, mask: Path, quality: Quality) -> dict[str, object]:
    """The same product on a white studio sweep, centred and filling the frame, as sellers photograph it.

    `..._cutout.png` beside the picture holds the same with the mask as alpha.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    product = stand(random.Random(recipe.product.product_key), recipe.product)
    wall(random.Random(0), "seamless", (0.93, 0.93, 0.93), at=3.0, evening=False)
    style = replace(recipe.style, depth_of_field="deep")
    layout = replace(recipe.layout, shift_x=0.0, shift_y=0.0, fill=0.74)
    aim_camera(style, layout, 0.0, product.radius, product.height)
    keep_inside(product.bodies)
    world((1.0, 1.0, 1.0), 0.55)
    area(Vector((-0.5, -1.4, 3.4)), 3.0, 170, (1, 1, 1))  # a large softbox above: the shadow lies under the product
    area(Vector((2.6, -1.2, 1.6)), 1.0, 15, (1, 1, 1))
    facts = {"product_box": visible(frame_box(product.bodies))} | camera_facts()
    shoot_picture(picture, quality)
    shoot_mask(product.bodies, mask, quality)
    with Image.open(picture) as shot, Image.open(mask) as alpha, replacing(cutout(picture)) as temporary:
        shot.putalpha(alpha)
        shot.save(temporary)
    return facts | asdict(quality)


def whole_mask(mask: Path) -> Path:
    return mask.with_name(f"{mask.stem}_whole.png")


def cutout(picture: Path) -> Path:
    return picture.with_name(f"{picture.stem}_cutout.png")


def stand(rng: random.Random, product: Product) -> Stood:
    """Builds a product at the origin. `rng` alone decides its looks, so a seed's product is the same everywhere."""
    scene = bpy.context.scene
    before = set(scene.objects.keys())
    appendages = BUILDERS[product.category](rng, product.family)
    bodies = [body for body in scene.objects if body.type == "MESH" and body.name not in before]
    spin = Matrix.Rotation(radians(product.turn), 4, "Z")
    bpy.context.view_layer.update()
    for body in bodies:
        body.matrix_world = spin @ body.matrix_world
    bpy.context.view_layer.update()
    points = [vertices(body) for body in bodies]
    radius = max(float((p[:, 0] ** 2 + p[:, 1] ** 2).max()) for p in points) ** 0.5
    return Stood(bodies, list(appendages or ()), radius, max(float(p[:, 2].max()) for p in points))


def stand_second(
    rng: random.Random, product: Product, first: Stood, clear: float, wall_at: float
) -> tuple[Stood, tuple[float, float, float]]:
    """A second product of the same category beside or behind the first, inside the frame and not hidden by it."""
    key = product.product_key if rng.random() < 0.7 else f"second-{product.product_key}"  # mostly a twin to the label
    second = stand(random.Random(key), replace(product, turn=product.turn + rng.uniform(-25, 25)))
    apart = clear + second.radius + 0.04
    x0, y0, x1, y1 = frame_box(first.bodies)
    best, best_seen = (apart, 0.0), -1.0
    for _ in range(24):
        x = rng.choice((-1, 1)) * rng.uniform(0.35, 1.0) * apart
        y = max(apart * apart - x * x, 0.0) ** 0.5 + rng.uniform(0.0, 0.1)
        y = min(y, wall_at - second.radius - 0.02)
        if x * x + y * y < (apart - 0.03) ** 2:
            continue
        second.move(x, y)
        a0, b0, a1, b1 = frame_box(second.bodies)
        second.move(-x, -y)
        inside = max(0.0, min(a1, 1.0) - max(a0, 0.0)) * max(0.0, min(b1, 1.0) - max(b0, 0.0))
        hidden = max(0.0, min(a1, x1) - max(a0, x0)) * max(0.0, min(b1, y1) - max(b0, y0))
        seen = (inside - hidden) / ((a1 - a0) * (b1 - b0))
        if seen > best_seen:
            best, best_seen = (x, y), seen
        if seen > 0.8:
            break
    second.move(*best)
    return second, (*best, second.radius)


def camera_facts() -> dict[str, float]:
    """What the camera ended up with after the product was brought into the frame."""
    data = bpy.context.scene.camera.data
    return {"lens": round(data.lens, 2), "shift_x": round(data.shift_x, 4), "shift_y": round(data.shift_y, 4)}


def shoot_picture(picture: Path, quality: Quality) -> None:
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
    cycles.use_light_tree = False  # pays with many lamps; here are three
    cycles.caustics_reflective = cycles.caustics_refractive = False
    cycles.max_bounces, cycles.diffuse_bounces, cycles.glossy_bounces, cycles.transmission_bounces = 6, 2, 2, 6
    cycles.sample_clamp_indirect = 6.0
    cycles.samples, cycles.use_denoising, cycles.denoiser = quality.samples, True, "OPENIMAGEDENOISE"
    cycles.denoising_prefilter = "FAST"  # the accurate one takes as long as four samples
    write_still(picture, "RGB")


def shoot_mask(product: Iterable[bpy.types.Object], mask: Path, quality: Quality) -> None:
    """The coverage of `product` in the scene that `shoot_picture` left; what stands before it cuts into it."""
    scene, product = bpy.context.scene, set(product)
    scene.render.film_transparent = True
    cycles = scene.cycles
    cycles.samples, cycles.use_denoising, cycles.max_bounces = quality.mask_samples, False, 0
    for body in scene.objects:
        body.is_holdout = body.type == "MESH" and body not in product
    bpy.context.view_layer.material_override = m.plain((1, 1, 1))
    write_still(mask, "RGBA")
    with Image.open(mask) as image, replacing(mask) as temporary:
        image.getchannel("A").save(temporary)


def write_still(path: Path, colours: str) -> None:
    scene = bpy.context.scene
    scene.render.image_settings.color_mode = colours
    with replacing(path) as temporary:
        scene.render.filepath = str(temporary)
        bpy.ops.render.render(write_still=True)
