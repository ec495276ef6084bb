"""Products by category and shape family. Each builder draws a body standing on z = 0, about one unit high."""

import random
from collections.abc import Callable
from math import cos, pi, sin

from . import materials as m
from .labels import label_image, linear, vivid
from .meshes import ball, box, lathe, leaf, mesh, panel, prism, tube

Builder = Callable[[random.Random, str], None]


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


def mug(rng: random.Random, family: str) -> None:
    outside = finish(rng, paint(rng, saturation=(0.0, 0.8), value=(0.25, 0.95)))
    top, base, height = {"straight": (0.36, 0.36, 0.82), "tapered": (0.40, 0.28, 0.78), "round": (0.33, 0.30, 0.74)}[
        family
    ]
    middle = 0.44 if family == "round" else (top + base) / 2
    wall = 0.035
    lathe(
        [(0.001, 0), (base, 0), (middle, height * 0.45), (top, height),
         (top - wall, height), (middle - wall, height * 0.45),
         (base - wall, 0.05), (0.001, 0.05)], outside, bevel=0.05)  # fmt: skip
    lathe([(0.001, height * 0.88), (top - wall - 0.004, height * 0.88)], m.plain((0.06, 0.02, 0.008), 0.1), bevel=0)
    reach, z = rng.uniform(0.2, 0.27), height * 0.5
    path = [(middle - 0.03 + reach * sin(pi * i / 12), 0, z + 0.24 * cos(pi * i / 12)) for i in range(13)]
    tube(path, 0.04, outside, flat=1.4)
    if rng.random() < 0.5 and family == "straight":
        wrap(rng, 0.363, height * 0.25, height * 0.72, 1.6)


def sauce(rng: random.Random, family: str) -> None:
    content = paint(rng, saturation=(0.6, 1.0), value=(0.25, 0.8))
    body = (
        finish(rng, content) if family == "squeeze" or rng.random() < 0.5 else m.glass(m.mixed(content, (1, 1, 1), 0.2))
    )
    r = rng.uniform(0.18, 0.23)
    shoulder, neck, top = {"squeeze": (0.72, 0.07, 0.86), "glass": (0.62, 0.075, 0.98), "flask": (0.5, 0.07, 0.9)}[
        family
    ]
    waist = r * 1.25 if family == "flask" else r
    lathe(
        [
            (0.001, 0),
            (r, 0),
            (waist, shoulder * 0.5),
            (r, shoulder),
            (neck, shoulder + 0.16),
            (neck, top),
            (0.001, top),
        ],
        body,
        bevel=0.06,
    )
    cap = [
        (0.001, top),
        (neck * 1.3, top),
        (neck * (0.4 if family == "squeeze" else 1.3), top + 0.16),
        (0.001, top + 0.16),
    ]
    lathe(cap, cap_material(rng))
    if family != "flask":
        wrap(rng, r + 0.004, shoulder * 0.18, shoulder * 0.8)


def perfume(rng: random.Random, family: str) -> None:
    tint = m.mixed(paint(rng, saturation=(0.3, 0.8), value=(0.6, 1.0)), (1, 1, 1), 0.4)
    body = m.glass(tint) if rng.random() < 0.6 else finish(rng, tint)
    cap = cap_material(rng)
    if family == "slab":
        w, d, h = rng.uniform(0.5, 0.7), rng.uniform(0.2, 0.3), rng.uniform(0.55, 0.75)
        box((w, d, h), (0, 0, 0), body, 0.04)
        panel(w * 0.6, h * 0.45, (0, -d / 2 - 0.003, h * 0.5), m.picture(label_image(rng, w * 0.6 / (h * 0.45))))
        box((w * 0.3, d * 0.8, 0.2), (0, 0, h + 0.04), cap, 0.02)
        lathe([(0.06, h), (0.06, h + 0.05)], m.metal((0.8, 0.6, 0.3)))
        return
    if family == "column":
        r, h = rng.uniform(0.19, 0.26), rng.uniform(0.62, 0.8)
        lathe([(0.001, 0), (r, 0), (r, h), (0.07, h + 0.03), (0.07, h + 0.08), (0.001, h + 0.08)], body, bevel=0.04)
        wrap(rng, r + 0.004, h * 0.3, h * 0.65, 1.8)
    else:
        r, h = 0.36, 0.66
        ball(r, (0, 0, 0.0), body, 0.92)
    lathe([(0.001, h + 0.03), (0.11, h + 0.03), (0.11, h + 0.26), (0.001, h + 0.26)], cap)


def juice(rng: random.Random, family: str) -> None:
    colour = vivid(rng)
    w, d, h = {"gable": (0.46, 0.46, 0.78), "brick": (0.46, 0.3, 0.86), "slim": (0.32, 0.28, 1.0)}[family]
    card = m.plain(linear(colour), 0.4)
    box((w, d, h), (0, 0, 0), card, 0.012)
    panel(
        w * 0.97,
        h * 0.96,
        (0, -d / 2 - 0.003, h / 2),
        m.picture(label_image(rng, w / h, colour if rng.random() < 0.6 else None)),
    )
    if family == "gable":
        roof, z = 0.2, h
        x, y = w / 2, d / 2
        mesh("gable", [(-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z), (-x, 0, z + roof), (x, 0, z + roof)],
             [(0, 1, 5, 4), (2, 3, 4, 5), (1, 2, 5), (3, 0, 4)], card, smooth=False)  # fmt: skip
        box((w, 0.03, 0.09), (0, 0, h + roof - 0.02), card, 0.004)
        cap = lathe([(0.001, 0), (0.08, 0), (0.08, 0.06), (0.001, 0.06)], cap_material(rng))
        cap.location, cap.rotation_euler = (0, -d * 0.27, h + roof * 0.52), (0.72, 0, 0)
    else:
        cap = lathe([(0.001, h), (0.09, h), (0.08, h + 0.09), (0.001, h + 0.09)], cap_material(rng))
        cap.location = (0, -d * 0.1, 0)


def yoghurt(rng: random.Random, family: str) -> None:
    body = finish(rng, paint(rng, saturation=(0.0, 0.6), value=(0.6, 1.0)))
    top, base, h = {"cup": (0.32, 0.23, 0.72), "tub": (0.44, 0.36, 0.52), "pot": (0.33, 0.36, 0.6)}[family]
    lathe([(0.001, 0), (base, 0), (top, h), (0.001, h)], body)
    lathe(
        [(0.001, h), (top + 0.03, h), (top + 0.03, h + 0.035), (0.001, h + 0.04)],
        rng.choice((m.metal((0.8, 0.8, 0.82), 0.3), finish(rng, paint(rng)))),
    )
    at = lambda t: base + (top - base) * t + 0.004  # noqa: E731
    lathe(
        [(at(0.15), h * 0.15), (at(0.85), h * 0.85)],
        m.picture(label_image(rng, base * 2.6 / (h * 0.7))),
        arc=2.6,
        bevel=0,
    )


def cream(rng: random.Random, family: str) -> None:
    body = rng.choice(
        (
            lambda: m.glass(m.mixed(paint(rng), (1, 1, 1), 0.5), 0.15),
            lambda: finish(rng, paint(rng, saturation=(0.0, 0.5), value=(0.5, 1.0))),
        )
    )()
    lid = cap_material(rng)
    if family == "cube":
        box((0.62, 0.62, 0.36), (0, 0, 0), body, 0.05)
        box((0.56, 0.56, 0.2), (0, 0, 0.38), lid, 0.03)
        panel(0.4, 0.22, (0, -0.314, 0.18), m.picture(label_image(rng, 1.8)))
        return
    r, h = rng.uniform(0.36, 0.44), rng.uniform(0.3, 0.42)
    lathe([(0.001, 0), (r * 0.9, 0), (r, 0.08), (r, h), (0.001, h)], body, bevel=0.05)
    top = 0.2 if family == "disc" else 0.3
    lathe(
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


def tea(rng: random.Random, family: str) -> None:
    colour = vivid(rng)
    tin = rng.choice((m.metal, lambda c: finish(rng, c)))(linear(colour))
    w, h = rng.uniform(0.42, 0.56), rng.uniform(0.6, 0.8)
    if family == "box":
        box((w, w * 0.8, h), (0, 0, 0), tin, 0.03)
        box((w * 1.03, w * 0.83, 0.14), (0, 0, h - 0.02), cap_material(rng), 0.03)
        panel(w * 0.8, h * 0.72, (0, -w * 0.4 - 0.003, h * 0.46), m.picture(label_image(rng, w * 0.8 / (h * 0.72))))
    elif family == "drum":
        r = w * 0.56
        lathe([(0.001, 0), (r, 0), (r, h), (0.001, h)], tin)
        lathe([(r + 0.012, h * 0.84), (r + 0.012, h + 0.02), (r * 0.8, h + 0.05), (0.001, h + 0.05)], cap_material(rng))
        wrap(rng, r + 0.004, h * 0.12, h * 0.78)
    else:
        prism(6, w * 0.6, 0, h, tin, 0.02)
        prism(6, w * 0.62, h, h + 0.1, cap_material(rng), 0.02)


def fruit(rng: random.Random, family: str) -> None:
    hue = {
        "apple": rng.choice(((0.55, 0.03, 0.03), (0.25, 0.42, 0.05), (0.6, 0.35, 0.05))),
        "orange": (0.75, 0.25, 0.01),
        "pear": (0.42, 0.45, 0.06),
    }[family]
    skin = m.speckled(rng, hue, 5.0 if family == "apple" else 40.0, 0.25, 0.05 if family == "apple" else 0.3, 0.3)
    if family == "apple":
        lathe(
            [(0.001, 0.05), (0.16, 0.0), (0.36, 0.18), (0.41, 0.45), (0.3, 0.68), (0.1, 0.68), (0.001, 0.58)],
            skin,
            bevel=0.2,
        )
    elif family == "orange":
        ball(0.4, (0, 0, 0), skin, 0.95)
    else:
        lathe(
            [(0.001, 0.02), (0.2, 0.0), (0.38, 0.25), (0.3, 0.5), (0.15, 0.72), (0.13, 0.86), (0.001, 0.9)],
            skin,
            bevel=0.2,
        )
    top = {"apple": 0.58, "orange": 0.74, "pear": 0.88}[family]
    tube([(0, 0, top), (0.02, 0, top + 0.08), (0.05, 0, top + 0.17)], 0.014, m.plain((0.1, 0.05, 0.02)))
    if rng.random() < 0.6:
        green = leaf(0.3, 0.14, m.plain((0.06, 0.22, 0.04), 0.4))
        green.location, green.rotation_euler = (0.01, 0, top + 0.05), (0.2, -0.4, rng.uniform(-0.8, 0.8))


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


def soap(rng: random.Random, family: str) -> None:
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
    lathe([(0.001, h), (0.1, h), (0.1, h + 0.08), (0.03, h + 0.09), (0.03, h + 0.2), (0.001, h + 0.2)], pump)
    side = rng.choice((-1, 1))
    tube([(-0.06 * side, 0, h + 0.21), (0.14 * side, 0, h + 0.22), (0.2 * side, 0, h + 0.16)], 0.03, pump)
    ball(0.045, (-0.03 * side, 0, h + 0.18), pump)


BUILDERS: dict[str, Builder] = {
    "mug": mug, "sauce": sauce, "perfume": perfume, "juice": juice, "yoghurt": yoghurt, "cream": cream,
    "speaker": speaker, "candle": candle, "tea": tea, "fruit": fruit, "toy": toy, "soap": soap,
}  # fmt: skip
