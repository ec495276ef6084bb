"""Drinks: wine, beer, soda, water, coffee, and the kettle."""

import random
from math import cos, pi, sin

from .. import materials as m
from ..labels import linear, vivid
from ..meshes import ball, box, lathe, mesh, tube
from . import emblems
from .bags import band, curve, pipe, pouch, ring, sheet
from .parts import Builder, cap_material, finish, paint

STEEL = (0.75, 0.75, 0.76)


def wine(rng: random.Random, family: str):
    dark, pale = (
        ((0.012, 0.05, 0.014), (0.03, 0.012, 0.005), (0.01, 0.025, 0.008)),
        ((0.85, 0.8, 0.35), (0.9, 0.35, 0.3)),
    )
    body = m.glass(rng.choice(dark if family == "flute" or rng.random() < 0.65 else pale))
    r = {"bordeaux": 0.14, "burgundy": 0.158, "flute": 0.165}[family] * rng.uniform(0.95, 1.08)
    h, neck = rng.uniform(1.02, 1.1), 0.05
    shoulder = {
        "bordeaux": [(r, 0.64 * h), (r * 0.86, 0.7 * h), (neck, 0.76 * h)],
        "burgundy": [(r, 0.48 * h), (r * 0.72, 0.62 * h), (neck + 0.008, 0.78 * h)],
        "flute": [(r, 0.44 * h), (r * 0.8, 0.56 * h), (neck + 0.012, 0.76 * h)],
    }[family]
    lathe([(0.001, 0.02), (r * 0.8, 0), (r, 0.02), *shoulder, (neck, 0.98 * h), (0.001, 0.98 * h)], body, bevel=0.06)
    foil = rng.choice((lambda: m.metal(paint(rng, saturation=(0.5, 0.9), value=(0.3, 0.8)), 0.35), lambda: m.metal(
        (0.83, 0.6, 0.28), 0.3), lambda: m.plain(paint(rng, value=(0.1, 0.5)), 0.3)))()  # fmt: skip
    if family == "flute":  # the foil of sparkling wine runs down to the shoulder, over a mushroom of cork and wire
        sleeve = [(neck + 0.03, 0.72 * h), (neck + 0.008, 0.78 * h), (neck + 0.006, 0.9 * h), (neck + 0.02, 0.93 * h),
                  (neck + 0.004, 0.945 * h), (neck + 0.02, 0.97 * h), (neck + 0.016, h + 0.02),
                  (0.001, h + 0.035)]  # fmt: skip
        cap = lathe(sleeve, foil, bevel=0.015)
    else:
        rim = [(neck + 0.006, 0.82 * h), (neck + 0.005, 0.95 * h), (neck + 0.012, 0.955 * h), (neck + 0.012, 0.985 * h),
               (neck + 0.004, 0.99 * h), (neck + 0.004, h), (0.001, h)]  # fmt: skip
        cap = lathe(rim, foil, bevel=0.006)
    paper = rng.choice(((246, 243, 234), (238, 228, 205), (30, 28, 30), vivid(rng, (0.2, 0.6), (0.5, 0.95))))
    low = rng.uniform(0.1, 0.16)
    top = {"bordeaux": 0.56, "burgundy": 0.46, "flute": 0.42}[family] * h
    band(rng, (r + 0.004,) * 2, (low, top - rng.uniform(0, 0.06)), rng.uniform(2.0, 2.6), paper, emblems.chateau, 0.6)
    return [cap]


def crown(rng: random.Random, radius: float, z: float):
    """A crown cork; its 21 teeth are what tells it from a lid."""
    ring_ = [(cos(2 * pi * i / 42), sin(2 * pi * i / 42), 1.2 if i % 2 else 1.08) for i in range(42)]
    tint = m.metal(rng.choice(((0.83, 0.6, 0.28), STEEL, paint(rng, saturation=(0.6, 1.0)))), 0.3)
    vertices = [(c * radius * k, s * radius * k, z) for c, s, k in ring_]
    vertices += [(c * radius * 1.04, s * radius * 1.04, z + 0.03) for c, s, _ in ring_]
    vertices += [(c * radius * 0.8, s * radius * 0.8, z + 0.042) for c, s, _ in ring_]
    faces = [(row * 42 + i, row * 42 + (i + 1) % 42, row * 42 + 42 + (i + 1) % 42, row * 42 + 42 + i)
             for row in (0, 1) for i in range(42)]  # fmt: skip
    return mesh("crown", vertices, [*faces, tuple(range(84, 126))], tint)


def drink_can(rng: random.Random, r: float, h: float, ground, emblem):
    """A printed can of aluminium; its bare top and tab come off the print."""
    alu = m.metal(STEEL, 0.28)
    lathe([(0.001, 0.015), (r * 0.74, 0), (r * 0.8, 0.012), (r, 0.06)], alu, bevel=0.012)
    band(rng, (r, r), (0.055, h * 0.9), 2 * pi, ground, emblem, rng.choice((0.18, 0.35)))
    lathe([(r, h * 0.9), (r, h * 0.91)], m.plain(linear(ground), 0.3), bevel=0)
    lid = lathe([(r, h * 0.905), (r * 0.83, h * 0.975), (r * 0.85, h), (r * 0.8, h), (r * 0.78, h * 0.985),
                 (0.001, h * 0.985)], alu, bevel=0.012)  # fmt: skip
    tab = ring(r * 0.2, 0.014, (0, -r * 0.2, h * 0.985 + 0.018), rng.choice((alu, m.metal(paint(rng), 0.3))))
    return [lid, tab]


def beer(rng: random.Random, family: str):
    if family == "can":
        ground = rng.choice(((215, 175, 70), (20, 70, 40), (240, 238, 230), (25, 25, 30), (160, 25, 25),
                             (190, 190, 195), (20, 45, 110)))  # fmt: skip
        return drink_can(rng, rng.uniform(0.19, 0.21), rng.uniform(0.98, 1.05), ground, emblems.crest)
    body = m.glass(rng.choice(((0.28, 0.09, 0.015), (0.2, 0.06, 0.01), (0.04, 0.25, 0.06), (0.85, 0.45, 0.05))))
    if family == "longneck":
        r, h, neck = rng.uniform(0.148, 0.16), 1.0, 0.056
        shoulder, label = [(r, 0.52), (r * 0.9, 0.6), (neck * 1.25, 0.74)], (0.14, 0.48)
    else:
        r, h, neck = rng.uniform(0.18, 0.195), 0.78, 0.062
        shoulder, label = [(r, 0.44), (r * 0.92, 0.53), (neck * 1.15, 0.66)], (0.1, 0.4)
    lip = [(neck, h - 0.05), (neck * 1.2, h - 0.045), (neck * 1.2, h - 0.02), (neck, h), (0.001, h)]
    lathe([(0.001, 0.015), (r * 0.85, 0), (r, 0.03), *shoulder, *lip], body, bevel=0.03)
    cap = crown(rng, neck * 1.1, h - 0.012)
    paper = rng.choice(((245, 240, 225), (215, 175, 70), (20, 70, 40), (160, 25, 25), (25, 25, 30), (20, 45, 110)))
    band(rng, (r + 0.003,) * 2, label, rng.uniform(2.4, 3.2), paper, emblems.crest)
    if family == "longneck":
        band(rng, (neck * 1.25 + 0.006, neck * 1.1 + 0.005), (0.75, 0.86), 3.0, paper)
    return [cap]


def soda(rng: random.Random, family: str):
    ground = vivid(rng, (0.65, 1.0), (0.45, 1.0))
    if family != "bottle":
        r, h = (rng.uniform(0.24, 0.26), 0.86) if family == "can" else (rng.uniform(0.155, 0.17), 1.0)
        return drink_can(rng, r, h, ground, emblems.bubbles)
    fizz = rng.choice(((0.12, 0.03, 0.01), (0.95, 0.4, 0.04), (0.7, 0.85, 0.2), (0.9, 0.95, 0.95), (0.8, 0.12, 0.15)))
    r = rng.uniform(0.165, 0.19)
    lathe([(0.001, 0.03), (r * 0.7, 0), (r * 0.98, 0.08), (r * 0.9, 0.24), (r, 0.36), (r * 0.985, 0.37),
           (r * 0.985, 0.6), (r, 0.61), (r * 0.86, 0.74), (0.065, 0.88), (0.06, 0.91), (0.08, 0.915), (0.08, 0.925),
           (0.058, 0.93), (0.058, 0.96), (0.001, 0.96)], m.glass(fizz), bevel=0.04)  # fmt: skip
    cap = lathe([(0.001, 0.93), (0.07, 0.93), (0.07, 1.0), (0.001, 1.0)], finish(rng, linear(ground)), bevel=0.01)
    band(rng, (r + 0.003,) * 2, (0.375, 0.6), 2 * pi, ground, emblems.bubbles, 0.3)
    return [cap]


def water(rng: random.Random, family: str):
    clear = m.glass(m.mixed((1, 1, 1), rng.choice(((0.6, 0.85, 1.0), (0.75, 0.95, 0.9), (0.95, 0.97, 1.0))), 0.6))
    blue = rng.choice(((30, 90, 190), (60, 160, 225), (240, 244, 250), (20, 120, 130), vivid(rng)))
    if family == "plastic":
        r, h = rng.uniform(0.15, 0.17), 0.9
        ribs = [(r * (1 - 0.07 * (i % 2)), 0.1 + 0.035 * i) for i in range(6)]
        upper = [(r * (1 - 0.05 * (i % 2)), 0.56 + 0.04 * i) for i in range(3)]
        neck = [(r * 0.75, 0.76), (0.06, 0.87), (0.06, h), (0.08, h + 0.005), (0.08, h + 0.015), (0.055, h + 0.02),
                (0.055, h + 0.05), (0.001, h + 0.05)]  # fmt: skip
        lathe([(0.001, 0.03), (r * 0.8, 0), (r, 0.05), *ribs, (r, 0.3), (r, 0.54), *upper, *neck], clear, bevel=0.02)
        band(rng, (r + 0.004,) * 2, (0.31, 0.53), 2 * pi, blue, emblems.drop, 0.3)
        cap = [(0.001, h + 0.02), (0.07, h + 0.02), (0.068, h + 0.09), (0.001, h + 0.09)]
        return [lathe(cap, finish(rng, linear(blue)), bevel=0.01)]
    if family == "sport":
        shade = paint(rng, saturation=(0.4, 1.0), value=(0.4, 1.0))
        body = m.glass(m.mixed(shade, (1, 1, 1), 0.35), 0.2) if rng.random() < 0.5 else finish(rng, shade)
        r = rng.uniform(0.175, 0.2)
        lathe([(0.001, 0), (r * 0.92, 0), (r, 0.06), (r, 0.42), (r * 0.8, 0.5), (r * 0.8, 0.56), (r, 0.66),
               (r * 0.94, 0.74), (0.001, 0.74)], body, bevel=0.04)  # fmt: skip
        band(rng, (r + 0.004,) * 2, (0.09, 0.38), 2.4, blue, emblems.drop)
        dark = rng.choice((m.plain((0.02, 0.02, 0.022), 0.35), finish(rng, paint(rng))))
        lid = lathe([(0.001, 0.735), (r * 0.98, 0.735), (r * 0.98, 0.8), (r * 0.8, 0.85), (0.075, 0.88), (0.06, 0.93),
                     (0.001, 0.93)], dark, bevel=0.02)  # fmt: skip
        nipple = [(0.045, 0.92), (0.045, 0.95), (0.06, 0.96), (0.055, 1.0), (0.03, 1.01), (0.001, 1.01)]
        return [lid, lathe(nipple, m.plain((0.85, 0.85, 0.83), 0.35), bevel=0.008)]
    r = rng.uniform(0.26, 0.31)
    lathe([(0.001, 0.01), (r * 0.85, 0), (r, 0.08), (r * 0.92, 0.36), (0.11, 0.62), (0.095, 0.72), (0.135, 0.86),
           (0.128, 0.86), (0.001, 0.8)], clear, bevel=0.1)  # fmt: skip
    if rng.random() < 0.6:
        cork = m.speckled(rng, (0.5, 0.3, 0.14), 40, 0.3, 0.2, 0.8) if rng.random() < 0.6 else m.metal(STEEL)
        plug = lathe([(0.001, 0.78), (0.1, 0.78), (0.12, 0.875), (0.001, 0.875)], cork, bevel=0.01)
        return [plug, ball(0.08, (0, 0, 0.86), cork)]
    side = rng.choice((-1, 1))
    path = curve((0.12, 0.8), (0.33, 0.78), (0.42, 0.6), (0.36, 0.4), (r * 0.9, 0.3))
    return [tube([(side * x, y, z) for x, y, z in path], 0.028, clear)]


def kettle(rng: random.Random, family: str):
    side = rng.choice((-1, 1))

    def mirrored(path):
        return [(side * x, y, z) for x, y, z in path]

    hue = paint(rng, saturation=(0.2, 0.9), value=(0.2, 0.95))
    steel = m.metal(rng.choice((STEEL, (0.7, 0.35, 0.2), (0.05, 0.05, 0.055))), rng.uniform(0.12, 0.3))
    shell = steel if rng.random() < 0.45 else finish(rng, hue)
    grip = rng.choice((m.plain((0.02, 0.02, 0.02), 0.4), m.wood(rng, (0.55, 0.33, 0.15), (0.25, 0.12, 0.05))))
    knob_at = {"stovetop": 0.52, "electric": 0.8, "gooseneck": 0.52}[family]
    if family == "stovetop":
        r = rng.uniform(0.38, 0.42)
        lathe(
            [(0.001, 0), (r * 0.92, 0), (r, 0.06), (r * 0.93, 0.26), (r * 0.55, 0.45), (0.001, 0.47)], shell, bevel=0.08
        )
        lid = lathe([(r * 0.5, 0.455), (r * 0.46, 0.485), (0.001, 0.515)], shell)
        spout = pipe(mirrored(curve((r * 0.75, 0.2), (r + 0.1, 0.32), (r + 0.2, 0.44))),
                     [0.1 - 0.055 * i / 16 for i in range(17)], shell)  # fmt: skip
        bow = [(0.3 * cos(pi * i / 20), 0, 0.42 + 0.42 * sin(pi * i / 20)) for i in range(21)]
        parts = [lid, spout, tube(bow, 0.016, steel), tube(bow[5:16], 0.034, grip)]
    elif family == "electric":
        r = rng.uniform(0.27, 0.31)
        lathe([(0.001, 0), (r * 1.12, 0), (r * 1.12, 0.05), (0.001, 0.06)], m.plain((0.02, 0.02, 0.02), 0.4))
        lathe([(r * 0.98, 0.06), (r, 0.1), (r * 0.72, 0.74), (0.001, 0.74)], shell, bevel=0.02)
        lathe([(r * 1.005, 0.07), (r * 1.005, 0.12)], steel, bevel=0)
        lid = lathe([(r * 0.72, 0.735), (r * 0.7, 0.77), (r * 0.4, 0.8), (0.001, 0.805)], grip)
        spout = pipe(mirrored(curve((r * 0.5, 0.5), (r * 0.78, 0.66), (r * 0.98, 0.755))), [0.12 - 0.075 * i / 16
                     for i in range(17)], shell)  # fmt: skip
        loop = mirrored(
            curve((-r * 0.6, 0.72), (-r - 0.16, 0.72), (-r - 0.22, 0.6), (-r - 0.16, 0.2), (-r * 0.98, 0.15))
        )
        parts = [lid, spout, tube(loop, 0.038, grip, flat=1.3)]
    else:
        r = rng.uniform(0.3, 0.34)
        lathe([(0.001, 0), (r, 0), (r, 0.04), (r * 0.64, 0.46), (0.001, 0.46)], shell, bevel=0.03)
        lid = lathe([(r * 0.66, 0.455), (r * 0.64, 0.49), (0.001, 0.515)], shell)
        neck = curve((r * 0.85, 0.08), (r + 0.14, 0.1), (r + 0.17, 0.3), (r + 0.2, 0.5), (r + 0.32, 0.53))
        spout = pipe(mirrored(neck), [0.042 - 0.022 * i / (len(neck) - 1) for i in range(len(neck))], shell)
        loop = mirrored(curve((-r * 0.6, 0.46), (-r - 0.14, 0.52), (-r - 0.24, 0.46), (-r - 0.22, 0.14)))
        parts = [lid, spout, tube(loop, 0.034, grip, flat=1.2)]
    return [*parts, ball(0.045, (0, 0, knob_at - 0.015), grip)]


def coffee(rng: random.Random, family: str):
    hue = rng.choice(((30, 28, 28), (70, 42, 26), (175, 135, 90), (240, 236, 228), vivid(rng), vivid(rng)))
    if family == "pouch":
        film = m.plain(linear(hue), rng.choice((0.25, 0.5)))
        size = (rng.uniform(0.54, 0.62), rng.uniform(0.28, 0.34), rng.uniform(0.88, 0.98))
        pouch(rng, size, film, hue, emblems.bean, cover=(0.84, 0.08, 0.84))
        if rng.random() < 0.5:
            return None
        tie = box((size[0] * 0.96, 0.05, 0.09), (0, 0, size[2] * 0.93), film, 0.015)  # the top rolled down, tin tie
        return [tie, box((size[0] * 1.1, 0.06, 0.03), (0, 0, size[2] * 0.955), m.metal((0.83, 0.6, 0.28), 0.3), 0.01)]
    if family == "tin":
        r, h = rng.uniform(0.27, 0.32), rng.uniform(0.62, 0.8)
        lathe([(0.001, 0), (r, 0), (r, h), (0.001, h)], m.metal(STEEL, 0.3), bevel=0.01)
        band(rng, (r + 0.003,) * 2, (0.03, h - 0.03), 2 * pi, hue, emblems.bean, 0.35)
        lid = [
            (r + 0.012, h - 0.06),
            (r + 0.012, h + 0.02),
            (r * 0.92, h + 0.025),
            (r * 0.9, h + 0.01),
            (0.001, h + 0.01),
        ]
        return [lathe(lid, cap_material(rng), bevel=0.01)]
    w, d, h = rng.uniform(0.78, 0.9), rng.uniform(0.28, 0.34), rng.uniform(0.46, 0.56)
    box((w, d, h), (0, 0.08, 0), m.plain(linear(hue), 0.4), 0.01)
    sheet(rng, w * 0.98, h * 0.97, (0, 0.08 - d / 2 - 0.003, h / 2), hue, emblems.capsule)
    start = rng.uniform(-0.3, -0.1)
    for i in range(rng.choice((2, 3))):
        foil = m.metal(paint(rng, saturation=(0.5, 1.0), value=(0.4, 0.9)), 0.3)
        pod = lathe([(0.001, 0), (0.095, 0), (0.095, 0.012), (0.078, 0.014), (0.055, 0.11), (0.03, 0.13),
                     (0.001, 0.13)], foil, 32, bevel=0.012)  # fmt: skip
        pod.location = (start + i * 0.24, -d / 2 - rng.uniform(0.06, 0.12), 0)
    return None


BUILDERS: dict[str, Builder] = {
    "wine": wine, "beer": beer, "soda": soda, "water": water, "kettle": kettle, "coffee": coffee,
}  # fmt: skip
