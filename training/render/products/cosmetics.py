"""From the bathroom: lipstick, nail polish, toothpaste, deodorant, vitamins and baby bottles."""

import random
from math import cos, pi

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..meshes import ball, box, lathe, panel, rounded
from .parts import Builder, cap_material, finish, paint, wrap
from .solids import curve, loft, moved, oval, pipe, pressed, ribbed, ring

WHITE = (0.86, 0.86, 0.84)
GOLD, STEEL = (0.83, 0.6, 0.28), (0.75, 0.75, 0.76)


def case_material(rng: random.Random):
    """Lacquer or metal, dark or bright: what make-up is packed in."""
    dark = rng.choice(((0.012, 0.012, 0.014), paint(rng, saturation=(0.3, 0.9), value=(0.1, 0.35))))
    return rng.choice((lambda: m.plain(dark, 0.15, coat_weight=0.8), lambda: m.metal(GOLD, 0.2),
                       lambda: m.plain(WHITE, 0.2, coat_weight=0.6), lambda: finish(rng, paint(rng))))()  # fmt: skip


def lipstick(rng: random.Random, family: str):
    case, collar = case_material(rng), m.metal(rng.choice((GOLD, STEEL, (0.8, 0.45, 0.35))), 0.15)
    power = 12.0 if family == "square" else 2.0
    r, h = (0.16 if power > 2 else 0.175) * rng.uniform(0.9, 1.05), rng.uniform(0.36, 0.44)
    body = pressed([(0.001, 0), (r, 0), (r, h), (0.001, h)], case, 1, power, 0.015)
    band = pressed([(r * 0.5, h), (r * 0.88, h), (r * 0.88, h + 0.16), (r * 0.5, h + 0.16)], collar, 1, power, 0.01)
    if family == "closed":
        top = h + rng.uniform(0.5, 0.58)
        cap = [(0.001, h + 0.035), (r, h + 0.035), (r * rng.uniform(0.86, 1), top), (0.001, top)]
        return [lathe(cap, case if rng.random() < 0.6 else case_material(rng), bevel=rng.choice((0.015, 0.08)))]
    hue = rng.choice(((0.6, 0.01, 0.02), (0.45, 0.02, 0.1), (0.62, 0.12, 0.12), (0.25, 0.01, 0.03), (0.75, 0.07, 0.02)))
    wax, q, slope = m.plain(hue, 0.3, coat_weight=0.3), r * 0.72, rng.choice((-1, 1)) * rng.uniform(0.7, 1.1)
    out = h + rng.uniform(0.36, 0.42)
    rings = [(1, h + 0.1, 0), (1, out, 1), (0.93, out + 0.025, 1), (0.8, out + 0.035, 1), (0.02, out + 0.04, 1)]
    cut = [[(x, y, z + tilt * slope * x) for x, y, z in oval(z, q * k, q * k)] for k, z, tilt in rings]
    bullet = loft(cut, wax)
    parts = [bullet]
    if rng.random() < 0.5:
        side, tall = rng.choice((-1, 1)), rng.uniform(0.5, 0.56)
        cap = pressed([(0.001, 0), (r, 0), (r, tall), (0.001, tall)], case, 1, power, 0.015)
        moved([cap], (side * r * 1.35, -0.05, 0))
        moved([body, band, bullet], (-side * r * 1.35, 0, 0))
        parts.append(cap)
    return parts


def polish(rng: random.Random, family: str):
    colour = paint(rng, saturation=(0.3, 1.0), value=(0.2, 0.95))
    # no glass around it: seen through thick walls in few samples, every colour would be black
    lacquer = m.plain(colour, 0.06, coat_weight=1.0, metallic=rng.choice((0.0, 0.0, 0.4)))
    black = rng.choice((m.plain((0.012, 0.012, 0.014), 0.2), m.plain((0.012, 0.012, 0.014), 0.2), cap_material(rng)))
    if family == "round":
        r, h = rng.uniform(0.26, 0.31), 0.42
        outer = [(0.001, 0), (r * 0.8, 0), (r * 1.15, h * 0.45), (r * 0.6, h * 0.95), (0.09, h), (0.001, h)]
        power, ratio, bevel = 2.0, rng.uniform(0.7, 1.0), 0.16
    elif family == "square":
        r, h = rng.uniform(0.22, 0.26), rng.uniform(0.4, 0.48)
        outer = [(0.001, 0), (r, 0), (r, h * 0.92), (0.1, h), (0.001, h)]
        power, ratio, bevel = 9.0, rng.uniform(0.75, 1.0), 0.03
    else:
        r, h = rng.uniform(0.15, 0.175), rng.uniform(0.5, 0.58)
        outer = [(0.001, 0), (r * 1.15, 0), (r * 0.95, h * 0.88), (0.09, h), (0.001, h)]
        power, ratio, bevel = 2.0, 1.0, 0.03
    pressed(outer, lacquer, ratio, power, bevel)
    if family == "square":
        panel(r * 1.1, h * 0.34, (0, -r * ratio - 0.004, h * 0.45), m.picture(label_image(rng, 1.5 * r / h * 2)))
    elif family == "tall":
        wrap(rng, r * 1.06, h * 0.3, h * 0.6, 1.5)
    lathe([(0.085, h - 0.01), (0.085, h + 0.03)], m.metal(STEEL))
    tall = rng.uniform(0.44, 0.54) * (0.9 if family == "round" else 1.0)
    tip = {"round": 0.075, "square": 0.1, "tall": 0.06}[family]
    top = h + 0.02 + tall
    return [lathe([(0.001, h + 0.02), (0.11, h + 0.02), (tip, top), (0.001, top)], black, bevel=0.025)]


def paste_tube(rng: random.Random, high: float, across: float, lying: int = 0):
    """A toothpaste tube on its cap; its print covers it, to be read once the tube lies to the side `lying`."""
    shade = vivid(rng, (0.5, 1.0), (0.35, 0.9))
    aspect = high * 0.85 / across if lying else across / high
    print_ = m.picture(label_image(rng, aspect, rng.choice(((245, 245, 242), shade))), 0.3)
    low, w = 0.2, across / 2
    rings = [(0.0, 0.1, 0.1), (0.02, w * 0.78, w * 0.78), (0.06, w * 0.84, w * 0.8), (0.5, w * 0.93, w * 0.5),
             (0.94, w, 0.02), (1.0, w, 0.012)]  # fmt: skip
    body = loft([oval(low + t * (high - low), x, y) for t, x, y in rings], print_)
    if lying:
        for corner in body.data.uv_layers[0].data:
            u, v = corner.uv
            corner.uv = (v, 1 - u) if lying > 0 else (1 - v, u)
    crimp = box((across, 0.03, 0.05), (0, 0, high - 0.01), m.plain(linear(shade), 0.4), 0.004)
    colour = rng.choice((m.plain(WHITE, 0.3), finish(rng, linear(shade))))
    cap = ribbed(w * 0.62, 0, low + 0.02, colour, 24, 0.04)
    return body, crimp, cap


def toothpaste(rng: random.Random, family: str):
    if family == "standing":
        return [paste_tube(rng, rng.uniform(0.95, 1.05), rng.uniform(0.36, 0.44))[2]]
    if family == "tube":  # it leans on its carton, as sold
        long, wide = 1.08, rng.uniform(0.26, 0.31)
        side = rng.choice((-1, 1))
        parts = paste_tube(rng, long - 0.05, wide, side)
        moved(parts, (0, 0, 0), (0, side * pi / 2, 0))
        lean = rng.uniform(0.5, 0.75)
        moved(parts, (-side * long / 2, -0.2, wide / 2 * cos(lean) + 0.02), (-lean, 0, 0))
        colour = vivid(rng, (0.4, 1.0))
        box((1.04, 0.24, 0.31), (0, 0.11, 0), m.plain(linear(colour), 0.4), 0.008)
        panel(1.03, 0.3, (0, -0.013, 0.155), m.picture(label_image(rng, 3.4, colour)))
        return [parts[2]]
    r, h = rng.uniform(0.155, 0.18), rng.uniform(0.68, 0.76)
    white, accent = m.plain(WHITE, 0.3), finish(rng, paint(rng, saturation=(0.6, 1.0)))
    lathe([(0.001, 0), (r * 1.06, 0), (r * 1.06, 0.06), (r, 0.07), (r, h), (0.001, h)], white)
    wrap(rng, r + 0.004, 0.14, h - 0.08, 2.8)
    head = pressed([(0.001, h), (r * 1.04, h), (r * 1.0, h + 0.1), (r * 0.5, h + 0.2), (0.001, h + 0.2)], accent)
    spout = pipe(curve([(0, 0, h + 0.14), (0, -0.12, h + 0.24), (0, -0.25, h + 0.24)]), 0.055, white)
    lever = box((0.16, 0.2, 0.05), (0, 0.12, h + 0.2), white, 0.02)
    side = rng.choice((-1, 1)) * rng.uniform(0.6, 1.2)  # from the front alone, the spout would be a dot
    moved([head, spout, lever], (0, 0, 0), (0, 0, side))
    return [head, spout, lever]


def deodorant(rng: random.Random, family: str):
    body, cap = finish(rng, paint(rng, saturation=(0.0, 0.8), value=(0.2, 1.0))), finish(rng, paint(rng))
    if rng.random() < 0.4:
        cap = rng.choice((m.plain(WHITE, 0.3), m.plain((0.02, 0.02, 0.022), 0.3)))
    if family == "stick":
        w, h, ratio = rng.uniform(0.24, 0.28), rng.uniform(0.52, 0.6), rng.uniform(0.5, 0.6)
        dial = ribbed(w * ratio * 0.75, 0, 0.06, cap, 20, 0.06, 0.01)
        pressed([(0.001, 0.045), (w, 0.045), (w, h), (0.001, h)], body, ratio, 3.2, 0.02)
        print_ = m.picture(label_image(rng, w * 1.2 / (h * 0.72)))
        panel(w * 1.2, h * 0.72, (0, -w * ratio - 0.003, h * 0.52), print_)
        top = h + rng.uniform(0.3, 0.36)
        lid = [(0.001, h + 0.015), (w, h + 0.015), (w * 0.97, top - 0.07), (w * 0.72, top), (0.001, top)]
        return [pressed(lid, cap, ratio, 3.2, 0.1), dial]
    if family == "spray":
        r, h = rng.uniform(0.16, 0.185), rng.uniform(0.7, 0.78)
        can = m.metal(paint(rng, saturation=(0.0, 0.7), value=(0.4, 0.95)), 0.3) if rng.random() < 0.5 else body
        lathe([(0.001, 0), (r * 0.95, 0), (r, 0.03), (r, h), (r * 0.8, h + 0.06), (0.001, h + 0.06)], can)
        wrap(rng, r + 0.004, h * 0.14, h * 0.86, 2.8)
        ring(r * 0.86, 0.02, h + 0.045, m.metal(STEEL, 0.2))
        top = h + rng.uniform(0.27, 0.32)
        return [lathe([(0.001, h + 0.05), (r * 0.84, h + 0.05), (r * 0.8, top), (0.001, top)], cap, bevel=0.07)]
    r, h = rng.uniform(0.22, 0.26), rng.uniform(0.56, 0.62)
    low = [(0.001, 0), (r * 0.95, 0), (r, 0.2), (r * 0.8, h * 0.75), (r * 0.86, h), (0.001, h)]
    bottle = pressed(low, body, 0.8, 2.0, 0.1)
    print_ = m.picture(label_image(rng, r * 1.1 / 0.26))
    label = panel(r * 1.05, 0.25, (0, -r * 0.8 - 0.006, 0.22), print_)
    rim = ring(r * 0.68, 0.025, h, cap)
    if rng.random() < 0.45:
        lid = [(0.001, h), (r * 0.88, h), (r * 0.86, h + 0.2), (r * 0.5, h + 0.36), (0.001, h + 0.38)]
        return [pressed(lid, cap, 0.85, 2.0, 0.1)]
    roll = ball(r * 0.6, (0, 0, h - r * 0.55), m.plain(WHITE, 0.12, coat_weight=0.6))
    side = rng.choice((-1, 1))
    lid = lathe([(0.001, 0), (r * 0.84, 0), (r * 0.82, 0.24), (r * 0.4, 0.36), (0.001, 0.36)], cap, bevel=0.08)
    moved([lid], (side * r * 1.05, -0.04, 0))
    moved([bottle, label, rim, roll], (-side * r * 0.95, 0, 0))
    return [roll, lid]


def vitamins(rng: random.Random, family: str):
    amber = rng.choice(((0.55, 0.16, 0.015), (0.5, 0.13, 0.01), (0.05, 0.3, 0.1), (0.05, 0.12, 0.4)))
    if family == "dropper":
        r, h = rng.uniform(0.19, 0.23), rng.uniform(0.5, 0.58)
        low = [(0.001, 0), (r, 0), (r, h * 0.86), (0.09, h), (0.09, h + 0.06), (0.001, h + 0.06)]
        lathe(low, m.glass(amber, 0.04), bevel=0.05)
        wrap(rng, r + 0.004, h * 0.12, h * 0.74, 2.6)
        collar_ = rng.choice((m.plain((0.015, 0.015, 0.015), 0.4), m.metal(GOLD), m.metal(STEEL), m.plain(WHITE, 0.4)))
        collar = ribbed(0.115, h + 0.02, h + 0.15, collar_, 24, 0.05)
        rubber = m.plain(rng.choice(((0.02, 0.02, 0.02), (0.7, 0.7, 0.68), (0.3, 0.05, 0.03))), 0.55)
        z = h + 0.15
        bulb = [(0.001, z), (0.07, z), (0.062, z + 0.04), (0.078, z + 0.15), (0.06, z + 0.27), (0.001, z + 0.29)]
        return [lathe(bulb, rubber, bevel=0.05), collar]
    if family == "tub":
        r, h = rng.uniform(0.36, 0.4), rng.uniform(0.66, 0.76)
        body = finish(rng, rng.choice(((0.015, 0.015, 0.018), (0.85, 0.85, 0.83), paint(rng))))
        low = [(0.001, 0), (r * 0.97, 0), (r, 0.05), (r, h * 0.93), (r * 0.9, h), (0.001, h)]
        lathe(low, body, bevel=0.03)
        wrap(rng, r + 0.004, 0.07, h * 0.88, 5.0)
        return [ribbed(r * 0.97, h - 0.005, h + 0.19, finish(rng, rng.choice(((0.02, 0.02, 0.02), paint(rng)))), 48)]
    r, h = rng.uniform(0.25, 0.29), rng.uniform(0.6, 0.7)
    body = rng.choice((m.glass(amber, 0.05), m.plain(WHITE, 0.35), m.plain(m.mixed(amber, (0, 0, 0), 0.4), 0.25)))
    neck = r * 0.68
    low = [(0.001, 0), (r, 0), (r, h * 0.84), (neck, h), (neck, h + 0.05), (0.001, h + 0.05)]
    lathe(low, body, bevel=0.07)
    wrap(rng, r + 0.004, h * 0.1, h * 0.76, 4.4)
    cap = ribbed(neck * 1.12, h + 0.02, h + 0.22, rng.choice((m.plain(WHITE, 0.4), finish(rng, paint(rng)))), 30, 0.05)
    if rng.random() < 0.5:
        first, second = (paint(rng, saturation=(0.5, 1.0), value=(0.4, 1.0)) for _ in range(2))
        second = rng.choice((WHITE, first, second))
        for x in rng.sample((-0.3, -0.14, 0.02, 0.18, 0.3), rng.choice((2, 3))):
            capsule(rng, (x, -r - rng.uniform(0.1, 0.16), 0.04), first, second)
    return [cap]


def capsule(rng: random.Random, at: tuple[float, float, float], first: m.Colour, second: m.Colour) -> None:
    """A two-coloured pill lying on the ground."""
    dome = [(0.001, -0.09), (0.028, -0.075), (0.04, -0.045), (0.04, 0)]
    halves = [
        lathe(dome, m.plain(first, 0.2), 20, 0),
        lathe([(r * 0.96, z) for r, z in dome], m.plain(second, 0.2), 20, 0),
    ]
    moved(halves[1:], (0, 0, 0), (pi, 0, 0))
    moved(halves, at, (0, pi / 2, rng.uniform(0, pi)))


def baby(rng: random.Random, family: str):
    colour = paint(rng, saturation=(0.25, 0.8), value=(0.6, 1.0))
    accent, teat = m.plain(colour, 0.35), m.plain((0.85, 0.72, 0.55), 0.25, subsurface_weight=0.3)
    if family == "cup":
        r, h = rng.uniform(0.25, 0.28), rng.uniform(0.48, 0.55)
        tint = m.plain(m.mixed(rng.choice((colour, (1, 1, 1), paint(rng))), (1, 1, 1), 0.4), 0.2)
        lathe([(0.001, 0), (r * 0.78, 0), (r, h), (0.001, h)], tint, bevel=0.04)
        band = [(r * (0.78 + 0.22 * t) + 0.006, h * t) for t in (0.3, 0.78)]
        lathe(
            band,
            m.picture(label_image(rng, r * 1.4 / (h * 0.48), vivid(rng, (0.1, 0.5), (0.8, 1.0)))),
            arc=1.5,
            bevel=0,
        )
        lid = lathe([(0.001, h), (r * 1.06, h), (r * 1.06, h + 0.09), (r * 0.6, h + 0.17), (0.001, h + 0.17)], accent)
        z = h + 0.16
        spout = pressed(
            [(0.001, z - 0.03), (0.12, z - 0.03), (0.075, z + 0.14), (0.001, z + 0.14)], accent, 0.5, 2, 0.05
        )
        loops = []
        for side in (-1, 1):
            path = [(side * r * 0.95, 0, h), (side * (r + 0.17), 0, h * 0.95), (side * (r + 0.21), 0, h * 0.6),
                    (side * (r + 0.12), 0, h * 0.3), (side * r * 0.8, 0, h * 0.24)]  # fmt: skip
            loops.append(pipe(curve(path), 0.04, accent))
        return [lid, spout, *loops]
    r, h = (rng.uniform(0.15, 0.17), 0.64) if family == "slim" else (rng.uniform(0.24, 0.27), 0.52)
    waist = r * (rng.uniform(0.82, 1.0) if family == "slim" else rng.uniform(0.78, 0.9))
    neck = r * (0.92 if family == "slim" else 0.96)
    outer = [(0.001, 0), (r, 0), (r, h * 0.28), (waist, h * 0.52), (r, h * 0.78), (neck, h), (0.001, h)]
    lathe(outer, m.glass((0.97, 0.98, 1.0), 0.05), bevel=0.08)
    # milk, just outside the glass: seen through it in few samples, it would be black, as an empty glass's foot is
    skin, full = [(x + 0.002, z) for x, z in rounded(outer, 0.08)], h * rng.uniform(0.45, 0.85)
    skin = [point for point in skin[:-1] if point[1] < full]
    fill = rng.choice(((0.86, 0.83, 0.76), (0.86, 0.83, 0.76), m.mixed(colour, (1, 1, 1), 0.6), (0.8, 0.5, 0.2)))
    lathe([*skin, (skin[-1][0], full), (0.001, full)], m.plain(fill, 0.15, coat_weight=0.5), bevel=0)
    for i in range(5):
        z = h * (0.2 + 0.13 * i)
        lathe([(r + 0.004, z), (r + 0.004, z + 0.011)], accent, 12, 0, 0.7 if i % 2 else 0.45)
    collar = ribbed(neck * 1.1, h - 0.02, h + 0.12, accent, 36, 0.04)
    z, wide = h + 0.11, neck * 0.85
    tip = z + (0.2 if family == "slim" else 0.24)
    nipple = [(0.001, z), (wide, z), (wide * 0.75, z + 0.08), (0.05, tip - 0.07), (0.052, tip), (0.001, tip + 0.015)]
    return [collar, lathe(nipple, teat, bevel=0.05)]


BUILDERS: dict[str, Builder] = {
    "lipstick": lipstick, "polish": polish, "toothpaste": toothpaste, "deodorant": deodorant, "vitamins": vitamins,
    "baby": baby,
}  # fmt: skip
