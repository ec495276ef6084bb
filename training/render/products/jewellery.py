"""Sunglasses and rings."""

import random
from math import cos, pi, sin

from .. import materials as m
from ..labels import linear, vivid
from ..lofts import FRONT, Group, loft, oval, pipe, place, plate, smooth, solid, sweep, tablet
from ..meshes import box, lathe
from .parts import GOLD, STEEL, Builder, finish, paint

# A lens whose outer upper corner is swept up and out, in radii
CATEYE = [
    (-0.75, -0.6),
    (-1, 0.1),
    (-0.85, 0.65),
    (-0.1, 0.75),
    (0.7, 0.95),
    (1.4, 1.4),
    (1.15, 0.5),
    (0.9, -0.2),
    (0.45, -0.8),
    (-0.2, -0.95),
]


def sunglasses(rng: random.Random, family: str) -> list:
    group = Group()
    wire = family == "round" and rng.random() < 0.6
    shell = rng.choice(
        (
            finish(rng, (0.012, 0.012, 0.013)),
            m.speckled(rng, (0.2, 0.07, 0.02), 12, 0.8, 0, 0.15),
            finish(rng, paint(rng)),
        )
    )
    frame = m.metal(rng.choice((GOLD, STEEL, (0.1, 0.1, 0.1))), 0.2) if wire else shell
    tint = rng.choice(
        ((0.02, 0.02, 0.022), (0.1, 0.04, 0.015), (0.02, 0.06, 0.03), (0.02, 0.03, 0.12), (0.2, 0.05, 0.08))
    )
    pane = rng.choice(
        (m.plain(tint, 0.04, coat_weight=1.0), m.metal(m.mixed(tint, (1, 0.7, 0.4), 0.12), 0.06), m.plain(tint, 0.04))
    )
    rx, ry = {"round": (0.2, 0.2), "square": (0.215, 0.15), "cateye": (0.2, 0.15)}[family]
    rx, ry, thick = (
        rx * rng.uniform(0.94, 1.04),
        ry * rng.uniform(0.95, 1.1),
        0.014 if wire else rng.uniform(0.018, 0.028),
    )
    middle = rx + thick + rng.uniform(0.025, 0.04)
    z0 = ry + thick
    temples = []
    for side in (-1, 1):
        outline = oval(rx, ry, {"round": 2, "square": 5, "cateye": 2.6}[family], 48)
        if family == "cateye":
            outline = [(x * rx, z * ry) for x, z in smooth([*CATEYE, CATEYE[0]], 5)][:-1]
        elif family == "square":
            outline = [(x * (1 + 0.08 * z / ry), z) for x, z in outline]
        outline = [(side * (x + middle), z) for x, z in outline]
        bow = lambda x: 0.12 * x * x  # noqa: E731 - the front curves round the face
        ring = [(x, bow(x), z + z0) for x, z in outline]
        sweep(ring, oval(thick * 0.8, thick, 3, 10), frame, closed=True)
        n = len(ring)
        solid([*ring, (side * middle, bow(middle) - 0.02, z0)], [(i, (i + 1) % n, n) for i in range(n)], pane)
        far = max(ring, key=lambda p: p[0] * side + (p[2] * 0.8 if family != "round" else 0))
        x, y, z = far[0] + side * thick * 0.6, far[1], far[2] - 0.01
        ear = max(z - 0.02, 0.1)
        path = [
            (x, y, z),
            (x + side * 0.015, y + 0.08, z),
            (x, y + 0.45, z - 0.02),
            (x - side * 0.04, y + 0.62, z - 0.05),
            (x - side * 0.07, y + 0.82, z - ear),
        ]
        section = oval(0.01, 0.01, count=8) if wire else tablet(0.02, 0.05, 0.008, 2)
        path = list(smooth(path))
        temples.append(sweep(path, [(b, a) for a, b in section], shell if not wire else frame, across=(1, 0, 0)))
        box((0.045, 0.05, 0.045), (x - side * 0.015, y + 0.01, z - 0.025), frame, 0.01)
    high = ry * (0.2 if family == "round" else 0.45)
    bridge = [(x, -0.008 * (x == 0), z0 + high + 0.03 * (x == 0)) for x in (rx * 0.97 - middle, 0, middle - rx * 0.97)]
    pipe(list(smooth(bridge)), thick if not wire else 0.012, frame)
    group.settle()
    return temples


def gem(radius: float, material, sides: int = 8):
    """A brilliant cut, girdle at z = 0."""

    def spun(r: float, z: float, n: int, half: float = 0.0) -> list:
        return [(r * cos(2 * pi * (i + half) / n), r * sin(2 * pi * (i + half) / n), z) for i in range(n)]

    table, crown, girdle = (
        spun(radius * 0.55, radius * 0.34, sides),
        spun(radius * 0.82, radius * 0.22, sides, 0.5),
        spun(radius, 0, 2 * sides),
    )
    n, faces = sides, [tuple(range(sides))]
    for i in range(n):
        j = (i + 1) % n
        a, b, c0, c1 = i, n + i, 2 * n + 2 * i, 2 * n + (2 * i + 1)
        c2 = 2 * n + (2 * i + 2) % (2 * n)
        faces += [(a, b, j), (a, c0, b), (b, c0, c1), (b, c1, c2), (b, c2, j), (c0, 4 * n, c1), (c1, 4 * n, c2)]
    return solid([*table, *crown, *girdle, (0, 0, -radius * 0.86)], faces, material, smooth=False)


def ring(rng: random.Random, family: str) -> list | None:
    group = Group()
    gold = m.metal(rng.choice((GOLD, (0.82, 0.82, 0.84), (0.8, 0.48, 0.36))), rng.uniform(0.08, 0.25))
    stone = (
        m.Shader("gem")
        .set(
            base_color=rng.choice(((1.0, 1.0, 1.0), (0.1, 0.3, 0.9), (0.1, 0.7, 0.3), (0.85, 0.05, 0.12))),
            roughness=0.0,
            transmission_weight=0.85,
            ior=2.0,
        )
        .material
    )
    if family == "solitaire":
        r, big = 0.36, rng.uniform(0.14, 0.2)
        loops = [(r * sin(2 * pi * i / 64), 0, r - r * cos(2 * pi * i / 64)) for i in range(64)]
        sweep(loops, oval(0.035, 0.05, 2.5, 12), gold, across=(0, 1, 0), closed=True)
        z = 2 * r + 0.13
        parts = [place(gem(big, stone), (0, 0, z + 0.03))]
        for k in range(6):
            a = pi / 3 * (k + 0.5)
            claw = [
                (0.02 * cos(a), 0.02 * sin(a), 2 * r),
                (big * 0.7 * cos(a), big * 0.7 * sin(a), z - 0.04),
                (big * 1.02 * cos(a), big * 1.02 * sin(a), z + 0.03),
                (big * 0.9 * cos(a), big * 0.9 * sin(a), z + 0.07),
            ]
            parts.append(pipe(claw, 0.016, gold, sides=6))
        if rng.random() < 0.5:
            for k in (-3, -2, -1, 1, 2, 3):
                a = k * 0.17 + (0.28 if k > 0 else -0.28)
                place(gem(0.035, stone), ((r + 0.035) * sin(a), 0, r + (r + 0.035) * cos(a)), (0, a, 0))
        group.turn(rng.choice((-1, 1)) * rng.uniform(0.2, 0.6), "Z")
        if rng.random() < 0.5:  # in the slot of a box
            group.settle()
            case(rng, group)
        else:
            group.turn(-0.1, "X")
    elif family == "band":
        parts = []
        for index, (r, wide) in enumerate(((0.36, rng.uniform(0.09, 0.14)), (0.3, rng.uniform(0.06, 0.1)))):
            one = Group()
            loops = [(r * cos(2 * pi * i / 64), 0, r * sin(2 * pi * i / 64)) for i in range(64)]
            sweep(
                loops,
                oval(0.035, wide, 3, 16),
                gold if index == 0 else rng.choice((gold, m.metal((0.82, 0.82, 0.84), 0.15))),
                across=(0, 1, 0),
                closed=True,
            )
            if index == 1 and rng.random() < 0.6:
                for k in range(-5, 6):
                    place(
                        gem(0.035, stone), ((r + 0.03) * sin(k * 0.25), 0, (r + 0.03) * cos(k * 0.25)), (0, k * 0.25, 0)
                    )
            if index == 0:
                one.turn(rng.uniform(0.3, 0.6), "Z")
                one.settle()
            else:  # lies flat in front, or leans on the first
                one.turn(pi / 2 if rng.random() < 0.5 else 0.9, "X")
                one.turn(rng.uniform(-0.5, 0.5), "Z")
                one.settle()
                for body in one.bodies():
                    body.location.x += 0.26
                    body.location.y -= 0.36
                parts = one.bodies()
    else:
        rows, r = [], 0.3
        for i in range(64):
            a = 2 * pi * i / 64
            broad = max(0.0, cos(a)) ** 3
            rows.append(
                [
                    ((r + b + 0.05 * broad) * sin(a), c * (0.07 + 0.12 * broad) / 0.07, (r + b + 0.05 * broad) * cos(a))
                    for b, c in oval(0.04, 0.07, 3, 14)
                ]
            )
        loft(rows, gold, closed=True)
        face = oval(0.2, 0.23, rng.choice((2, 2, 5)))
        shield = loft(
            [
                [(x * f, y * f, z) for x, y in face]
                for f, z in ((0.9, r + 0.03), (1.0, r + 0.07), (1.0, r + 0.11), (0.94, r + 0.125))
            ],
            gold,
        )
        inlay = rng.choice((m.plain((0.01, 0.01, 0.012), 0.05, coat_weight=1.0), stone, gold))
        loft(
            [[(x * f, y * f, z) for x, y in face] for f, z in ((0.78, r + 0.12), (0.78, r + 0.135), (0.7, r + 0.14))],
            inlay,
        )
        parts = [shield]
        group.turn(rng.uniform(0.75, 1.15), "X")
        if rng.random() < 0.5:
            cone = rng.choice((m.wood(rng, (0.5, 0.3, 0.14), (0.24, 0.11, 0.04)), m.plain((0.75, 0.72, 0.68), 0.6)))
            group.turn(pi / 2 - 0.2 - 0.95, "X")
            group.settle()
            for body in group.bodies():
                body.location.z += 0.3
                body.location.y -= 0.1
            parts = [*parts, lathe([(0.001, 0), (0.4, 0), (0.4, 0.04), (0.36, 0.06), (0.03, 1.0), (0.001, 1.01)], cone)]
        else:
            group.turn(rng.uniform(-0.4, 0.4), "Z")
    group.settle()
    return parts


def case(rng: random.Random, group: Group) -> None:
    """A small open box round the ring's foot."""
    velvet = m.speckled(rng, linear(vivid(rng, (0.3, 0.9), (0.1, 0.6))), 80, 0.2, 0.3, 0.95)
    for body in group.bodies():
        body.location.z += 0.1
    plate(tablet(0.9, 0.9, 0.06), 0.3, (0, 0, 0), velvet, 0.02).rotation_euler = FRONT
    lid = plate(tablet(0.9, 0.9, 0.06), 0.16, (0, 0, 0.45), velvet, 0.02)
    place(lid, (0, 0.52, 0.1), (-0.25, 0, 0))


BUILDERS: dict[str, Builder] = {
    "sunglasses": sunglasses, "ring": ring,
}  # fmt: skip
