"""Cameras and watches."""

import random
from math import cos, pi, sin

from mathutils import Vector
from PIL import Image, ImageDraw, ImageFont

from .. import materials as m
from ..labels import brand, label_image, upload
from ..lofts import FRONT, SIDE, Group, decal, hoop, loft, oval, place, plate, smooth, sweep, tablet
from ..meshes import ball, box, lathe, panel
from .electronics import lit, wallpaper
from .parts import BLACK, GOLD, STEEL, Builder, finish, gadget, leather, paint


def lens(rng: random.Random, r: float, length: float, at: tuple, ring=None) -> list:
    """A barrel of stacked rings with a coated front element."""
    dark = m.plain(BLACK, 0.35)
    barrel = [
        (r, -0.03),
        (r, length * 0.3),
        (r * 0.93, length * 0.32),
        (r * 0.93, length * 0.42),
        (r * 1.02, length * 0.45),
        (r * 1.02, length * 0.8),
        (r * 0.9, length),
        (r * 0.72, length),
        (r * 0.6, length - 0.04),
        (0.001, length - 0.045),
    ]
    tinted = m.plain(rng.choice(((0.02, 0.01, 0.05), (0.0, 0.02, 0.03), (0.03, 0.0, 0.02))), 0.02, coat_weight=1.0)
    bodies = [lathe(barrel, dark, bevel=0.006), hoop(r * 0.98, 0.012, (0, 0, length * 0.37), ring or m.metal(STEEL))]
    bodies += [
        hoop(r * 0.81, 0.012, (0, 0, length), m.metal(STEEL, 0.3)),
        ball(r * 0.58, (0, 0, length - 0.075), tinted, 0.14),
    ]
    return [place(body, at, FRONT) for body in bodies]


def camera(rng: random.Random, family: str) -> list | None:
    group, dark, chrome = Group(), m.speckled(rng, (0.02, 0.02, 0.022), 60, 0.3, 0.3, 0.6), m.metal(STEEL, 0.25)
    name = lambda w, h, at: panel(w, h, at, m.picture(label_image(rng, w / h, (22, 22, 24))))  # noqa: E731
    window = m.plain((0.6, 0.65, 0.7), 0.05, coat_weight=1.0)
    if family == "compact":
        w, d, h = rng.uniform(0.88, 1.0), rng.uniform(0.24, 0.3), rng.uniform(0.52, 0.6)
        plated = rng.choice((lambda: gadget(rng), lambda: chrome))()
        plate(tablet(w, h, rng.uniform(0.05, 0.14)), d, (0, 0, h / 2), plated, 0.03)
        plate(tablet(w * 1.004, h * 0.5, 0.01), d + 0.006, (0, 0, h * 0.42), rng.choice((dark, leather(rng))), 0.01)
        place(lathe([(0.001, 0), (0.07, 0), (0.07, 0.05), (0.001, 0.05)], chrome), (w * 0.3, 0, h))
        place(lathe([(0.001, 0), (0.05, 0), (0.05, 0.03), (0.001, 0.03)], chrome), (w * 0.12, 0, h))
        box((0.14, 0.02, 0.07), (w * 0.1, -d / 2 - 0.002, h * 0.83), window, 0.01)
        box((0.2, 0.02, 0.08), (-w * 0.3, -d / 2 - 0.002, h * 0.82), window, 0.01)
        glass = lens(
            rng, rng.uniform(0.17, 0.21), rng.uniform(0.16, 0.3), (w * rng.uniform(-0.05, 0.1), -d / 2, h * 0.44)
        )
        strap = [
            (-w / 2 - 0.01, 0, h * 0.8),
            (-w / 2 - 0.14, -0.1, h * 0.35),
            (-w / 2 - 0.06, -0.25, 0.02),
            (-w / 2 + 0.04, -0.34, 0.02),
            (-w / 2 - 0.02, -0.22, 0.03),
            (-w / 2 - 0.08, -0.06, h * 0.4),
            (-w / 2 - 0.01, 0, h * 0.78),
        ]
        glass.append(sweep(list(smooth(strap)), tablet(0.012, 0.035, 0.004), leather(rng)))
    elif family == "reflex":
        w, d, h = rng.uniform(0.82, 0.92), 0.3, rng.uniform(0.54, 0.6)
        body = m.plain(rng.choice((BLACK, (0.03, 0.03, 0.033))), 0.5)
        plate(tablet(w, h, 0.07), d, (0, 0, h / 2), body, 0.03)
        loft([[(x - w * 0.39, y - d * 0.45, z) for x, y in oval(0.12, 0.15)] for z in (0.01, h * 0.5, h + 0.01)], dark)
        hump = [(-0.2, 0), (-0.12, 0.17), (0.12, 0.17), (0.2, 0)]
        plate(hump, d * 0.95, (0, -0.02, h - 0.03), body, 0.03)
        name(0.2, 0.08, (0, -d / 2 - 0.012, h + 0.05))
        for x, r, tall in ((-w * 0.39, 0.035, 0.05), (w * 0.34, 0.09, 0.06)):
            place(lathe([(0.001, 0), (r, 0), (r, tall), (0.001, tall)], body), (x, -0.02 if x > 0 else -d * 0.5, h))
        glass = lens(
            rng,
            rng.uniform(0.2, 0.25),
            rng.uniform(0.36, 0.55),
            (0.02, -d / 2, h * 0.45),
            m.metal(rng.choice(((0.6, 0.02, 0.02), GOLD, STEEL))),
        )
        if rng.random() < 0.5:
            loop = [
                (-w / 2, 0, h * 0.85),
                (-w / 2 - 0.12, 0.05, h * 0.5),
                (-w / 2 - 0.1, 0.2, 0.03),
                (0, 0.36, 0.02),
                (w / 2 + 0.1, 0.2, 0.03),
                (w / 2 + 0.12, 0.05, h * 0.5),
                (w / 2, 0, h * 0.85),
            ]
            glass.append(sweep(list(smooth(loop)), tablet(0.012, 0.07, 0.004), leather(rng)))
    else:
        w, d, h = rng.uniform(0.8, 0.9), 0.5, rng.uniform(0.76, 0.86)
        shell, face = (
            finish(rng, rng.choice((paint(rng, saturation=(0.15, 0.7), value=(0.6, 1.0)), (0.8, 0.8, 0.77)))),
            m.plain(BLACK, 0.3),
        )
        # a wide foot with the film slot below, a narrower head above
        profile = [
            (-d / 2, 0),
            (-d / 2, h * 0.3),
            (-d * 0.26, h * 0.4),
            (-d * 0.24, h * 0.96),
            (-d * 0.18, h),
            (d * 0.2, h),
            (d / 2, h * 0.5),
            (d / 2, 0),
        ]
        block = plate(profile, w, (0, 0, 0), shell, 0.035)
        place(block, (0, 0, 0), (0, 0, pi / 2))  # drawn as a side view
        box((w * 0.78, 0.02, 0.035), (0, -d / 2, h * 0.14), face, 0.006)
        y = -d * 0.25
        plate(tablet(0.24, 0.17, 0.03), 0.05, (w * 0.3, y, h * 0.83), face, 0.01)
        plate(tablet(0.2, 0.13, 0.02), 0.02, (w * 0.3, y - 0.02, h * 0.83), window, 0.004)
        plate(tablet(0.2, 0.17, 0.03), 0.05, (-w * 0.3, y, h * 0.83), face, 0.01)
        glass = lens(rng, rng.uniform(0.19, 0.23), 0.16, (0, y, h * 0.62), shell)
        place(
            lathe([(0.001, 0), (0.05, 0), (0.05, 0.03), (0.001, 0.03)], m.plain((0.6, 0.03, 0.02), 0.3)),
            (w * 0.34, y, h * 0.55),
            FRONT,
        )
        for i in range(rng.choice((0, 4, 5))):
            stripe = m.plain(paint(rng, saturation=(0.8, 1.0), value=(0.7, 1.0)), 0.4)
            box((0.03, 0.008, h * 0.13), ((i - 2) * 0.032, -d / 2 - 0.002, h * 0.17), stripe, 0)
    group.settle()
    return glass


def dial(rng: random.Random, square: bool) -> Image.Image:
    """Ground, markers and hands."""
    dark = rng.random() < 0.5
    ground = (
        rng.choice(((18, 18, 22), (16, 30, 62), (20, 58, 44)))
        if dark
        else rng.choice(((245, 244, 238), (225, 222, 212)))
    )
    ink = (240, 240, 236) if dark else (25, 25, 30)
    image = Image.new("RGB", (256, 256), ground)
    draw = ImageDraw.Draw(image)
    for hour in range(12):
        a = pi / 6 * hour
        far = 118 / max(abs(cos(a)), abs(sin(a))) if square else 120
        draw.line(
            (
                128 + far * sin(a) * 0.78,
                128 - far * cos(a) * 0.78,
                128 + far * sin(a) * 0.95,
                128 - far * cos(a) * 0.95,
            ),
            fill=ink,
            width=9,
        )
    draw.text((128, 82), brand(rng), fill=ink, font=ImageFont.load_default(26), anchor="mm")
    for turn, length, width in ((rng.uniform(0, 6.28), 62, 13), (rng.uniform(0, 6.28), 94, 9)):
        draw.line((128, 128, 128 + length * sin(turn), 128 - length * cos(turn)), fill=ink, width=width)
    a = rng.uniform(0, 6.28)
    draw.line((128, 128, 128 + 100 * sin(a), 128 - 100 * cos(a)), fill=(200, 40, 30), width=4)
    draw.ellipse((119, 119, 137, 137), fill=ink)
    return image


def watch(rng: random.Random, family: str) -> list:
    group, case = Group(), m.metal(rng.choice((STEEL, GOLD, (0.75, 0.45, 0.35), (0.06, 0.06, 0.065))), 0.22)
    high, deep, width = 0.46, 0.36, rng.uniform(0.24, 0.3)  # the loop of the strap, in the yz plane
    rubber = lambda: m.plain(paint(rng, saturation=(0.1, 0.9), value=(0.1, 0.9)), 0.6)  # noqa: E731
    band = rubber() if family == "smart" else leather(rng)
    steel = family != "smart" and rng.random() < 0.4
    strap = []
    for side in (-1, 1):
        path, sizes = [], []
        for i in range(21):
            a = 0.33 + (pi - 0.33) * i / 20
            path.append((0, -deep * cos(a), high + side * high * 0.97 * sin(a)))
            sizes.append(width * (1 - 0.35 * i / 20))
        if steel:  # a bracelet of links
            for i in range(0, 20, 1):
                strap.append(
                    sweep(
                        [Vector(path[i]).lerp(Vector(path[i + 1]), t) for t in (0.06, 0.94)],
                        tablet(0.05, sizes[i], 0.015, 2),
                        case,
                        across=(1, 0, 0),
                    )
                )
        else:
            rings = [tablet(0.035, size, 0.012, 2) for size in sizes]
            strap.append(ribbon(path, rings, band))
    y = -deep - 0.03
    if family == "round":
        r = rng.uniform(0.24, 0.3)
        place(
            lathe(
                [
                    (0.001, 0),
                    (r * 0.92, 0),
                    (r, 0.03),
                    (r, 0.09),
                    (r * 0.92, 0.12),
                    (r * 0.84, 0.12),
                    (r * 0.83, 0.1),
                    (0.001, 0.1),
                ],
                case,
                bevel=0.01,
            ),
            (0, y + 0.05, high),
            FRONT,
        )
        decal(oval(r * 0.84, r * 0.84), (0, y - 0.052, high), m.picture(upload(dial(rng, False)), 0.15))
    elif family == "square":
        r, tall = rng.uniform(0.21, 0.25), rng.uniform(1.0, 1.3)
        plate(tablet(2 * r, 2 * r * tall, 0.03), 0.1, (0, y, high), case, 0.02)
        decal(
            tablet(1.66 * r, (2 * tall - 0.34) * r, 0.01),
            (0, y - 0.052, high),
            m.picture(upload(dial(rng, True)), 0.15),
        )
    else:
        r = rng.uniform(0.27, 0.3)
        plate(tablet(1.8 * r, 2.2 * r, 0.13, 8), 0.14, (0, y, high), case, 0.04)
        plate(tablet(1.66 * r, 2.06 * r, 0.12, 8), 0.02, (0, y - 0.068, high), m.plain(BLACK, 0.05), 0.006)
        face = lit(upload(wallpaper(rng, 200, 240, 1)))
        decal(tablet(1.45 * r, 1.85 * r, 0.1, 8), (0, y - 0.0795, high), face)
    r = r * (0.9 if family == "smart" else 1.0)
    place(
        lathe([(0.001, 0), (0.035, 0), (0.035, 0.05), (0.001, 0.05)], case),
        (r, y, high + (0.09 if family == "smart" else 0)),
        SIDE,
    )
    cushion = m.plain(rng.choice(((0.75, 0.72, 0.66), (0.05, 0.05, 0.055), (0.5, 0.42, 0.34))), 0.8)
    group.turn(-rng.uniform(0.1, 0.3), "X", (0, 0, high))
    # the cuff that sellers put in the strap, on a foot
    ring = [(0, 0.85 * deep * cos(2 * pi * i / 32), high + 0.85 * high * sin(2 * pi * i / 32)) for i in range(32)]
    sweep(ring, tablet(0.04, width * 0.8, 0.015), cushion, across=(1, 0, 0), closed=True)
    box((width * 1.3, deep * 1.5, 0.05), (0, 0, -0.03), cushion, 0.015)
    group.settle()
    return strap


def ribbon(path: list, sections: list, material):
    """A band along a path in the yz plane whose width changes."""
    rings = []
    for i, section in enumerate(sections):
        tangent = (Vector(path[min(i + 1, len(path) - 1)]) - Vector(path[max(i - 1, 0)])).normalized()
        normal = tangent.cross(Vector((1, 0, 0)))
        rings.append([Vector(path[i]) + normal * a + Vector((b, 0, 0)) for a, b in section])
    return loft(rings, material)


BUILDERS: dict[str, Builder] = {
    "camera": camera, "watch": watch,
}  # fmt: skip
