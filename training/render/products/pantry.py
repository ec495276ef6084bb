"""Food on the table: mugs, sauces, cartons, yoghurt, tea and fruit."""

import random
from math import cos, pi, sin

import bpy

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..meshes import ball, box, lathe, leaf, mesh, panel, prism, tube
from .parts import Builder, cap_material, finish, paint, wrap


def mug(rng: random.Random, family: str) -> list[bpy.types.Object]:
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
    handle = tube(path, 0.04, outside, flat=1.4)
    if rng.random() < 0.5 and family == "straight":
        wrap(rng, 0.363, height * 0.25, height * 0.72, 1.6)
    return [handle]


def sauce(rng: random.Random, family: str) -> list[bpy.types.Object]:
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
    lid = lathe(cap, cap_material(rng))
    if family != "flask":
        wrap(rng, r + 0.004, shoulder * 0.18, shoulder * 0.8)
    return [lid]


def juice(rng: random.Random, family: str) -> list[bpy.types.Object]:
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
    return [cap]


def yoghurt(rng: random.Random, family: str) -> list[bpy.types.Object]:
    body = finish(rng, paint(rng, saturation=(0.0, 0.6), value=(0.6, 1.0)))
    top, base, h = {"cup": (0.32, 0.23, 0.72), "tub": (0.44, 0.36, 0.52), "pot": (0.33, 0.36, 0.6)}[family]
    lathe([(0.001, 0), (base, 0), (top, h), (0.001, h)], body)
    lid = lathe(
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
    return [lid]


def tea(rng: random.Random, family: str) -> list[bpy.types.Object]:
    colour = vivid(rng)
    tin = rng.choice((m.metal, lambda c: finish(rng, c)))(linear(colour))
    w, h = rng.uniform(0.42, 0.56), rng.uniform(0.6, 0.8)
    if family == "box":
        box((w, w * 0.8, h), (0, 0, 0), tin, 0.03)
        lid = box((w * 1.03, w * 0.83, 0.14), (0, 0, h - 0.02), cap_material(rng), 0.03)
        panel(w * 0.8, h * 0.72, (0, -w * 0.4 - 0.003, h * 0.46), m.picture(label_image(rng, w * 0.8 / (h * 0.72))))
    elif family == "drum":
        r = w * 0.56
        lathe([(0.001, 0), (r, 0), (r, h), (0.001, h)], tin)
        rim = r + 0.012
        lid = lathe([(rim, h * 0.84), (rim, h + 0.02), (r * 0.8, h + 0.05), (0.001, h + 0.05)], cap_material(rng))
        wrap(rng, r + 0.004, h * 0.12, h * 0.78)
    else:
        prism(6, w * 0.6, 0, h, tin, 0.02)
        lid = prism(6, w * 0.62, h, h + 0.1, cap_material(rng), 0.02)
    return [lid]


def fruit(rng: random.Random, family: str) -> list[bpy.types.Object]:
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
    stem = tube([(0, 0, top), (0.02, 0, top + 0.08), (0.05, 0, top + 0.17)], 0.014, m.plain((0.1, 0.05, 0.02)))
    if rng.random() < 0.6:
        green = leaf(0.3, 0.14, m.plain((0.06, 0.22, 0.04), 0.4))
        green.location, green.rotation_euler = (0.01, 0, top + 0.05), (0.2, -0.4, rng.uniform(-0.8, 0.8))
        return [stem, green]
    return [stem]


BUILDERS: dict[str, Builder] = {
    "mug": mug, "sauce": sauce, "juice": juice, "yoghurt": yoghurt, "tea": tea, "fruit": fruit,
}  # fmt: skip
