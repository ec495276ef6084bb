"""To wear: bags and hats."""

import random
from math import cos, pi, sin

from mathutils import Vector

from .. import materials as m
from ..labels import label_image, vivid
from ..lofts import FRONT, Group, decal, hoop, loft, oval, pipe, place, plate, sheet, smooth, sweep, tablet
from ..meshes import ball, box, lathe, panel
from .parts import GOLD, STEEL, Builder, leather, paint


def bag(rng: random.Random, family: str) -> list:
    group, hide, gold = Group(), leather(rng), m.metal(rng.choice((GOLD, STEEL)), 0.2)
    canvas = m.speckled(rng, paint(rng, saturation=(0.05, 0.6), value=(0.4, 0.95)), 90, 0.12, 0.3, 0.95)
    skin = rng.choice((hide, canvas)) if family == "tote" else rng.choice((hide, leather(rng)))
    if family == "tote":
        w, d, h = rng.uniform(0.32, 0.38), rng.uniform(0.13, 0.17), rng.uniform(0.52, 0.64)
        flare = rng.uniform(1.05, 1.35)
        rows = [
            (0.95, 1.0, 0.0),
            (1.0, 1.05, 0.03),
            (1 + (flare - 1) * 0.5, 0.95, h * 0.5),
            (flare, 0.75, h),
            (flare * 0.97, 0.7, h),
            (flare * 0.9, 0.65, h * 0.6),
        ]
        loft([[(x, y, z) for x, y in oval(w * f, d * g, 5)] for f, g, z in rows], skin)
        parts = []
        reach, span = rng.uniform(0.3, 0.42), w * rng.uniform(0.42, 0.55)
        for y in (-1, 1):
            lean = y * 0.77 * d
            loop = [
                (-span, lean * 1.12, h * 0.82),
                (-span * 0.96, lean * 1.02, h * 1.02),
                (-span * 0.8, lean * 0.9, h + reach * 0.6),
                (0, lean * 0.6, h + reach),
                (span * 0.8, lean * 0.9, h + reach * 0.6),
                (span * 0.96, lean * 1.02, h * 1.02),
                (span, lean * 1.12, h * 0.82),
            ]
            parts.append(pipe(list(smooth(loop, 6)), 0.018, hide))
            for x in (-span, span):
                box((0.05, 0.02, 0.1), (x, lean * 1.15, h * 0.78), hide, 0.006)
                ball(0.014, (x, lean * 1.15 - 0.012, h * 0.81), gold)
        if skin is canvas or rng.random() < 0.3:
            size = w * 1.1
            print_ = decal(tablet(size, size * 0.8, 0.01), (0, 0, 0), m.picture(label_image(rng, 1.25), 0.8))
            place(print_, (0, -d * 1.0 - 0.012, h * 0.42), (0.0, 0, 0))
        else:
            panel(0.14, 0.05, (0, -d * 0.9 - 0.012, h * 0.8), gold)
    elif family == "bucket":
        r, h = rng.uniform(0.26, 0.31), rng.uniform(0.54, 0.62)
        body = []
        for f, z, fold in smooth(
            [
                (0.88, 0, 0),
                (0.92, 0.02, 0),
                (0.97, h * 0.5, 0),
                (0.98, h * 0.8, 0.01),
                (0.8, h * 0.93, 0.06),
                (0.86, h, 0.1),
                (0.8, h + 0.02, 0.1),
                (0.7, h * 0.9, 0.05),
            ],
            3,
        ):
            body.append(
                [
                    (r * (f + fold * cos(11 * a)) * cos(a), r * (f + fold * cos(11 * a)) * sin(a), z)
                    for a in (2 * pi * i / 88 for i in range(88))
                ]
            )
        loft(body, skin)
        trim = leather(rng)
        lathe([(r * 0.9, 0.0), (r * 0.945, 0.02), (r * 0.965, 0.12), (r * 0.94, 0.12)], trim, bevel=0)
        hoop(r * 0.85, 0.016, (0, 0, h * 0.92), trim)
        parts = []
        for x in (-1, 1):
            end = [(x * 0.02, -r * 0.86, h * 0.92), (x * 0.05, -r * 1.02, h * 0.8), (x * 0.07, -r * 1.06, h * 0.5)]
            parts.append(pipe(list(smooth(end)), 0.012, trim))
            ball(0.022, (x * 0.07, -r * 1.06, h * 0.46), gold)
            hoop(0.035, 0.01, (x * r * 0.93, 0, h * 0.98), gold, "y", 16)
        loop = [(r * 0.93 * cos(pi * i / 16), 0, h + 0.4 * sin(pi * i / 16)) for i in range(17)]
        parts.append(sweep(loop, tablet(0.014, 0.06, 0.004), trim, across=(0, 1, 0)))
    else:
        w, d, h = 0.96, rng.uniform(0.12, 0.18), rng.uniform(0.5, 0.62)
        rows = [(0.96, 0.8, 0), (1, 1, 0.04), (1.0, 1.1, h * 0.4), (0.98, 0.5, h * 0.95), (0.97, 0.3, h)]
        loft([[(x, y, z) for x, y in oval(w / 2 * f, d / 2 * g, 6)] for f, g, z in smooth(rows)], skin)
        point = rng.uniform(0.35, 0.5) * h
        shape = rng.choice(
            (
                [(-0.49, 0), (0.49, 0), (0.49, -0.08), (0.03, -point), (-0.03, -point), (-0.49, -0.08)],
                [(-0.49, 0), (0.49, 0), (0.48, -point * 0.9), (0.42, -point), (-0.42, -point), (-0.48, -point * 0.9)],
            )
        )
        flap = plate([(x * w, z) for x, z in shape], 0.022, (0, 0, 0), skin, 0.008)
        lean = 0.5 * d * 0.75 / (h * 0.55)
        place(flap, (0, -d * 0.14, h + 0.012), (-lean, 0, 0))
        drop = point * 0.86
        parts = [
            flap,
            place(
                ball(0.045, (0, 0, 0), gold, 0.5), (0, -d * 0.14 - drop * sin(lean) - 0.01, h - drop * cos(lean)), FRONT
            ),
        ]
        hang = [
            (-w / 2 + 0.01, 0, h * 0.9),
            (-w / 2 - 0.06, -0.06, h * 0.6),
            (-w / 2 - 0.07, -0.1, 0.1),
            (-w / 2 - 0.02, -0.18, 0.02),
            (-w / 2 + 0.05, -0.16, 0.03),
            (-w / 2 - 0.02, -0.08, 0.2),
            (-w / 2 + 0.01, 0, h * 0.86),
        ]
        if rng.random() < 0.5:
            parts.append(sweep(list(smooth(hang)), tablet(0.012, 0.035, 0.004), skin, across=(0.3, 1, 0)))
        else:  # a chain from corner to corner
            chain = [(w * 0.47 * cos(pi * i / 30), 0.02, h - 0.02 + 0.42 * sin(pi * i / 30)) for i in range(31)]
            for i in range(30):
                a, b = Vector(chain[i]), Vector(chain[i + 1])
                parts.append(
                    sweep(
                        [a - (b - a) * 0.15, b + (b - a) * 0.15],
                        tablet(0.02, 0.03 if i % 2 else 0.012, 0.005),
                        gold,
                        across=(0, 1, 0),
                    )
                )
    group.settle()
    return parts


def hat(rng: random.Random, family: str) -> list:
    group = Group()
    tone = paint(rng, saturation=(0.1, 0.8), value=(0.12, 0.9))
    if family == "fedora":
        felt = m.speckled(
            rng, rng.choice((tone, (0.25, 0.15, 0.08), (0.6, 0.48, 0.3), (0.05, 0.05, 0.055))), 80, 0.12, 0.25, 0.95
        )
        wide, curl, tall = rng.uniform(0.46, 0.52), rng.uniform(0.04, 0.1), rng.uniform(0.34, 0.4)
        turns = [2 * pi * i / 64 for i in range(64)]

        def brim(f: float, lift: float) -> list:
            rx, ry = 0.27 + (wide - 0.27) * f, 0.31 + (wide * 1.02 - 0.31) * f
            return [(rx * cos(a), ry * sin(a), lift + 0.05 + curl * f * f * cos(2 * a) + 0.02 * f) for a in turns]

        edge = [brim(f, 0.0) for f in (0, 0.3, 0.6, 0.85, 1)] + [brim(f, -0.014) for f in (1, 0.85, 0.6, 0.3, 0)]
        parts = [loft(edge, felt, closed=True)]
        crown = []
        for f, z in smooth(
            [
                (1, 0.04),
                (0.97, 0.14),
                (0.92, 0.26),
                (0.85, tall + 0.02),
                (0.72, tall + 0.06),
                (0.45, tall + 0.05),
                (0.02, tall + 0.04),
            ],
            4,
        ):
            ring = []
            for a in turns:
                pinch = 1 - 0.3 * max(-sin(a), 0) ** 2 * min(z / tall, 1) ** 3
                x, y = 0.27 * f * cos(a) * pinch, 0.31 * f * sin(a)
                crease = 0.11 * max(0, 1 - (x / 0.13) ** 2) * max(0, (z - tall * 0.9) / tall) * 7 * (1 - f * 0.75)
                ring.append((x, y, z - crease + 0.02 * sin(-a) * (z > tall)))
            crown.append(ring)
        loft(crown, felt)
        band = m.plain(rng.choice(((0.02, 0.02, 0.02), (0.1, 0.04, 0.02), paint(rng))), 0.5)
        loft(
            [
                [(0.275 * f * cos(a), 0.315 * f * sin(a), z) for a in turns]
                for f, z in ((1.0, 0.05), (1.005, 0.06), (0.99, 0.13), (0.97, 0.13))
            ],
            band,
            caps=False,
        )
        box((0.02, 0.1, 0.085), (0.272, 0, 0.05), band, 0.008)
    elif family == "cap":
        cloth, other = m.linen(rng, tone), m.linen(rng, paint(rng, saturation=(0.1, 0.8), value=(0.12, 0.9)))
        peak = rng.choice((cloth, other))
        tall = rng.uniform(0.36, 0.42)
        dome = lambda a, t, grow=0.0: (  # noqa: E731
            (0.33 + grow) * cos(a) * cos(t) ** 0.75,
            (0.37 + grow) * sin(a) * cos(t) ** 0.75,
            (tall + grow) * sin(t) ** 0.9,
        )
        turns = [2 * pi * i / 48 for i in range(48)]
        loft([[dome(a, min(pi / 2 * k / 14, 1.55)) for a in turns] for k in range(15)], cloth)
        for i in range(6):
            pipe([dome(pi / 6 + i * pi / 3, pi / 2 * k / 12 * 0.99, 0.001) for k in range(13)], 0.006, peak)
        ball(0.03, (0, 0, tall - 0.015), peak, 0.6)
        reach = rng.uniform(0.3, 0.38)

        def visor(thick: float):
            def at(u: float, v: float) -> tuple[float, float, float]:
                s = 2 * u - 1
                x, y = 0.33 * sin(s * 1.3), -0.37 * cos(s * 1.3)
                forward = v * reach * (1 - abs(s) ** 2.6)
                return (
                    x * (1 + 0.02 * v),
                    y - forward,
                    0.075 * (1 - s * s) - 0.06 * v * v - 0.05 * (x / 0.33) ** 2 * v + thick,
                )

            return at

        parts = [sheet(visor(0.02), 24, 8, peak), sheet(visor(0.005), 24, 8, peak)]
        rim = [visor(0.0125)(i / 32, 1.0) for i in range(33)]
        parts.append(pipe(rim, 0.009, peak))
        badge = m.picture(label_image(rng, 1.5, rng.choice((None, vivid(rng)))), 0.8)
        sheet(lambda u, v: dome(-pi / 2 + (u - 0.5) * 0.75, 0.28 + 0.5 * v, 0.006), 10, 6, badge)
    else:
        wool, cuff_wool = (
            m.speckled(rng, tone, 50, 0.25, 0.6, 0.95),
            m.speckled(rng, rng.choice((tone, paint(rng))), 50, 0.25, 0.6, 0.95),
        )
        ribs, tall, count = rng.choice((22, 28, 34)), rng.uniform(0.55, 0.68), 272

        def knit(r: float, z: float, depth: float) -> list:
            turns = [2 * pi * i / count for i in range(count)]
            return [
                (r * (1 + depth * cos(ribs * a)) * cos(a), r * (1 + depth * cos(ribs * a)) * sin(a) * 1.05, z)
                for a in turns
            ]

        fold = rng.uniform(0.16, 0.22)
        loft(
            [
                knit(r, z, 0.025)
                for r, z in smooth(
                    [
                        (0.37, 0.02),
                        (0.4, 0.1),
                        (0.41, tall * 0.45),
                        (0.36, tall * 0.7),
                        (0.24, tall * 0.9),
                        (0.1, tall * 0.98),
                        (0.02, tall),
                    ],
                    3,
                )
            ],
            wool,
        )
        rolled = [(0.39, 0.0), (0.425, 0.015), (0.44, fold * 0.5), (0.43, fold - 0.015), (0.4, fold)]
        parts = [loft([knit(r, z, 0.03) for r, z in smooth(rolled, 3)], cuff_wool)]
        if rng.random() < 0.65:
            rows, columns, r = 16, 28, rng.uniform(0.11, 0.15)
            tufts = [
                [
                    (
                        q * sin(pi * i / rows) * cos(2 * pi * j / columns),
                        q * sin(pi * i / rows) * sin(2 * pi * j / columns),
                        tall + r * 0.7 + q * cos(pi * i / rows),
                    )
                    for j in range(columns)
                    for q in (r * rng.uniform(0.82, 1.12),)
                ]
                for i in range(1, rows)
            ]
            parts.append(loft(tufts, cuff_wool))
        else:
            panel(0.12, 0.08, (0, -0.44 * 1.05 * 1.03 - 0.008, fold * 0.5), m.picture(label_image(rng, 1.5), 0.6))
    group.settle()
    return parts


BUILDERS: dict[str, Builder] = {
    "bag": bag, "hat": hat,
}  # fmt: skip
