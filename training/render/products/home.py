"""For the home: perfume, cream, soap, candles, speakers and toys."""

import random
from math import pi

import bpy

from .. import materials as m
from ..labels import label_image
from ..meshes import ball, box, lathe, panel, tube
from .parts import Builder, cap_material, finish, paint, wrap


def perfume(rng: random.Random, family: str) -> list[bpy.types.Object]:
    tint = m.mixed(paint(rng, saturation=(0.3, 0.8), value=(0.6, 1.0)), (1, 1, 1), 0.4)
    body = m.glass(tint) if rng.random() < 0.6 else finish(rng, tint)
    cap = cap_material(rng)
    if family == "slab":
        w, d, h = rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.3), rng.uniform(0.55, 0.75)
        box((w, d, h), (0, 0, 0), body, 0.04)
        panel(w * 0.6, h * 0.45, (0, -d / 2 - 0.003, h * 0.5), m.picture(label_image(rng, w * 0.6 / (h * 0.45))))
        stopper = box((w * 0.3, d * 0.8, 0.2), (0, 0, h + 0.04), cap, 0.02)
        return [stopper, lathe([(0.06, h), (0.06, h + 0.05)], m.metal((0.8, 0.6, 0.3)))]
    if family == "column":
        r, h = rng.uniform(0.19, 0.26), rng.uniform(0.62, 0.8)
        lathe([(0.001, 0), (r, 0), (r, h), (0.07, h + 0.03), (0.07, h + 0.08), (0.001, h + 0.08)], body, bevel=0.04)
        wrap(rng, r + 0.004, h * 0.3, h * 0.65, 1.8)
    else:
        r, h = 0.36, 0.66
        ball(r, (0, 0, 0.0), body, 0.92)
    return [lathe([(0.001, h + 0.03), (0.11, h + 0.03), (0.11, h + 0.26), (0.001, h + 0.26)], cap)]


def cream(rng: random.Random, family: str) -> list[bpy.types.Object]:
    body = rng.choice(
        (
            lambda: m.glass(m.mixed(paint(rng), (1, 1, 1), 0.5), 0.15),
            lambda: finish(rng, paint(rng, saturation=(0.0, 0.5), value=(0.5, 1.0))),
        )
    )()
    lid = cap_material(rng)
    if family == "cube":
        box((0.62, 0.62, 0.36), (0, 0, 0), body, 0.05)
        slab = box((0.56, 0.56, 0.2), (0, 0, 0.38), lid, 0.03)
        panel(0.4, 0.22, (0, -0.314, 0.18), m.picture(label_image(rng, 1.8)))
        return [slab]
    r, h = rng.uniform(0.36, 0.44), rng.uniform(0.3, 0.42)
    lathe([(0.001, 0), (r * 0.9, 0), (r, 0.08), (r, h), (0.001, h)], body, bevel=0.05)
    top = 0.2 if family == "disc" else 0.3
    cover = lathe(
        [
            (0.001, h),
            (r, h + 0.01),
            (r, h + top * 0.8),
            (0.001 if family == "dome" else r * 0.85, h + top),
            (0.001, h + top),
        ],
        lid,
    )
    wrap(rng, r + 0.004, 0.1, h - 0.03, 1.8)
    return [cover]


def soap(rng: random.Random, family: str) -> list[bpy.types.Object]:
    colour = paint(rng, saturation=(0.1, 0.7), value=(0.4, 1.0))
    body = m.glass(m.mixed(colour, (1, 1, 1), 0.3), 0.08) if rng.random() < 0.35 else finish(rng, colour)
    h = rng.uniform(0.62, 0.74)
    if family == "rectangle":
        w, d = rng.uniform(0.4, 0.5), rng.uniform(0.24, 0.32)
        box((w, d, h), (0, 0, 0), body, 0.06)
        panel(w * 0.75, h * 0.55, (0, -d / 2 - 0.003, h * 0.5), m.picture(label_image(rng, w * 0.75 / (h * 0.55))))
    else:
        r = rng.uniform(0.21, 0.27)
        top = r * (0.5 if family == "cone" else 1.0)
        lathe([(0.001, 0), (r, 0), (top, h - 0.05), (0.08, h), (0.001, h)], body, bevel=0.06)
        if family == "cylinder":
            wrap(rng, r + 0.004, h * 0.2, h * 0.72)
    pump = cap_material(rng)
    collar = lathe([(0.001, h), (0.1, h), (0.1, h + 0.08), (0.03, h + 0.09), (0.03, h + 0.2), (0.001, h + 0.2)], pump)
    side = rng.choice((-1, 1))
    spout = tube([(-0.06 * side, 0, h + 0.21), (0.14 * side, 0, h + 0.22), (0.2 * side, 0, h + 0.16)], 0.03, pump)
    return [collar, spout, ball(0.045, (-0.03 * side, 0, h + 0.18), pump)]


def candle(rng: random.Random, family: str) -> None:
    wax = m.plain(paint(rng, saturation=(0.05, 0.6), value=(0.6, 1.0)), 0.5, subsurface_weight=0.2)
    r, h = {"jar": (0.3, 0.62), "pillar": (0.24, 0.85), "tin": (0.38, 0.36)}[family]
    if family == "pillar":
        lathe([(0.001, 0), (r, 0), (r, h), (r * 0.8, h - 0.03), (0.001, h - 0.04)], wax, bevel=0.04)
        level = h - 0.04
    else:
        shell = m.glass((0.95, 0.95, 0.95)) if family == "jar" else m.metal(paint(rng, saturation=(0.1, 0.5)), 0.3)
        lathe([(0.001, 0), (r, 0), (r, h), (r - 0.025, h), (r - 0.025, 0.03), (0.001, 0.03)], shell, bevel=0.02)
        level = h * 0.72
        lathe([(0.001, 0.035), (r - 0.03, 0.035), (r - 0.03, level), (0.001, level)], wax, bevel=0.01)
        wrap(rng, r + 0.004, h * 0.18, h * 0.66, 1.7)
    lathe([(0.012, level), (0.010, level + 0.09)], m.plain((0.02, 0.015, 0.01)), segments=8, bevel=0)
    if rng.random() < 0.6:
        lathe(
            [(0.001, level + 0.08), (0.035, level + 0.13), (0.001, level + 0.26)],
            m.glowing((1.0, 0.55, 0.15), 12),
            segments=12,
        )


def speaker(rng: random.Random, family: str) -> None:
    cloth = m.speckled(rng, paint(rng, saturation=(0.0, 0.5), value=(0.1, 0.6)), 60, 0.4, 0.5, 0.95)
    trim = m.plain((0.015, 0.015, 0.017), 0.25)
    if family == "ball":
        ball(0.42, (0, 0, 0.02), cloth, 0.92)
        lathe([(0.001, 0), (0.24, 0), (0.26, 0.06), (0.001, 0.06)], trim)
        lathe([(0.001, 0.775), (0.14, 0.775), (0.14, 0.8), (0.001, 0.8)], m.glowing((0.2, 0.5, 1.0), 1.5))
        return
    r, h = rng.uniform(0.26, 0.36), rng.uniform(0.7, 0.95)
    upper = r * (0.6 if family == "cone" else 1.0)
    lathe([(0.001, 0), (r, 0), (r, 0.06), (0.001, 0.06)], trim)
    lathe([(r, 0.06), (upper, h), (0.001, h)], cloth, bevel=0.04)
    lathe([(0.001, h), (upper * 0.85, h + 0.002), (upper * 0.8, h + 0.02), (0.001, h + 0.02)], trim)
    panel(0.16, 0.05, (0, -r - 0.006, 0.16), m.picture(label_image(rng, 3.0, (230, 230, 230))))


def toy(rng: random.Random, family: str) -> None:
    def lacquer():
        return m.plain(paint(rng, saturation=(0.6, 1.0), value=(0.5, 1.0)), 0.25, coat_weight=0.5)

    if family == "tower":
        z = 0.0
        for size in (0.5, 0.4, 0.3)[: rng.choice((2, 3))]:
            block = box((size, size, size * 0.75), (rng.uniform(-0.03, 0.03), 0, z), lacquer(), 0.03)
            block.rotation_euler = (0, 0, rng.uniform(-0.4, 0.4))
            z += size * 0.75
        ball(0.14, (0, 0, z - 0.01), lacquer())
    elif family == "car":
        box((0.95, 0.42, 0.24), (0, 0, 0.12), lacquer(), 0.07)
        box((0.5, 0.36, 0.24), (-0.05, 0, 0.34), lacquer(), 0.08)
        wheel = lacquer()
        for x in (-0.3, 0.3):
            for y in (-0.22, 0.22):
                disc = lathe([(0.001, -0.05), (0.14, -0.05), (0.14, 0.05), (0.001, 0.05)], wheel)
                disc.location, disc.rotation_euler = (x, y, 0.14), (pi / 2, 0, 0)
    else:
        box((0.42, 0.3, 0.42), (0, 0, 0.22), lacquer(), 0.05)
        box((0.32, 0.28, 0.26), (0, 0, 0.63), lacquer(), 0.06)
        for x in (-1, 1):
            box((0.13, 0.16, 0.24), (x * 0.13, 0, 0), lacquer(), 0.03)
            box((0.1, 0.14, 0.36), (x * 0.265, 0, 0.26), lacquer(), 0.03)
            ball(0.045, (x * 0.08, -0.15, 0.72), m.plain((0.01, 0.01, 0.01), 0.1))


BUILDERS: dict[str, Builder] = {
    "perfume": perfume, "cream": cream, "soap": soap, "candle": candle, "speaker": speaker, "toy": toy,
}  # fmt: skip
