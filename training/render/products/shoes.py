"""Shoes, lofted from the sole up."""

import random
from math import cos, pi, sin

from mathutils import Vector

from .. import materials as m
from ..lofts import Group, loft, pipe, place, sheet, smooth, sweep, tablet
from ..meshes import lathe
from .parts import Builder, leather, paint

# Per family: (heel x, heel z, toe x, toe z, half width, dip of the collar's sides), from the sole up
UPPERS = {
    "low": [
        (-0.47, 0.07, 0.48, 0.07, 0.165, 0),
        (-0.485, 0.15, 0.49, 0.12, 0.175, 0),
        (-0.475, 0.22, 0.44, 0.2, 0.165, 0),
        (-0.46, 0.28, 0.31, 0.26, 0.145, 0),
        (-0.455, 0.33, 0.19, 0.33, 0.13, 0.01),
        (-0.46, 0.38, 0.09, 0.4, 0.115, 0.03),
        (-0.462, 0.44, 0.01, 0.45, 0.1, 0.08),
    ],
    "high": [
        (-0.47, 0.06, 0.48, 0.06, 0.165, 0),
        (-0.48, 0.13, 0.49, 0.11, 0.17, 0),
        (-0.475, 0.2, 0.44, 0.18, 0.16, 0),
        (-0.465, 0.28, 0.3, 0.25, 0.145, 0),
        (-0.455, 0.38, 0.14, 0.34, 0.13, 0),
        (-0.45, 0.5, 0.0, 0.46, 0.118, 0),
        (-0.455, 0.62, -0.07, 0.6, 0.115, 0),
        (-0.465, 0.72, -0.1, 0.74, 0.115, 0.02),
    ],
    "boot": [
        (-0.46, 0.1, 0.48, 0.07, 0.16, 0),
        (-0.475, 0.17, 0.49, 0.14, 0.17, 0),
        (-0.47, 0.24, 0.43, 0.22, 0.16, 0),
        (-0.46, 0.32, 0.27, 0.28, 0.145, 0),
        (-0.45, 0.44, 0.08, 0.38, 0.13, 0),
        (-0.45, 0.58, -0.05, 0.52, 0.12, 0),
        (-0.46, 0.78, -0.07, 0.74, 0.135, 0),
        (-0.465, 0.96, -0.06, 0.97, 0.14, 0.02),
    ],
}


def footprint(heel: tuple, toe: tuple, width: float, dip: float, side: int, ankle: float, count: int = 40) -> list:
    """A section of a shoe: a ring from the toe round the heel and back, narrow at the heel near the sole."""
    ring = []
    for i in range(count):
        a = 2 * pi * i / count
        s = (1 + cos(a)) / 2
        y = abs(sin(a)) ** 0.8 * width * (ankle + (1 - ankle) * (0.8 + 0.2 * min(s / 0.65, 1)))
        x, z = heel[0] + (toe[0] - heel[0]) * s, heel[1] + (toe[1] - heel[1]) * s
        ring.append(Vector((x * side, y if i < count / 2 else -y, z - dip * sin(pi * s))))
    return ring


def shoe(rng: random.Random, family: str) -> list | None:
    group, side = Group(), rng.choice((-1, 1))

    def cloth():
        return m.speckled(rng, paint(rng, saturation=(0.1, 0.9), value=(0.1, 0.95)), 70, 0.12, 0.3, 0.8)

    if family == "boot":
        upper, sole = leather(rng), m.plain(rng.choice(((0.02, 0.018, 0.016), (0.12, 0.06, 0.03))), 0.6)
    else:
        white = m.plain((0.8, 0.8, 0.78), 0.5)
        upper = rng.choice((cloth(), leather(rng), m.speckled(rng, (0.75, 0.74, 0.72), 45, 0.05, 0.2, 0.5)))
        sole = rng.choice((white, white, m.plain((0.55, 0.4, 0.25), 0.6), m.plain((0.03, 0.03, 0.03), 0.6)))
    second = leather(rng) if family == "boot" else rng.choice((cloth(), leather(rng)))
    stations = list(smooth(UPPERS[family], 4))
    stretch = rng.uniform(0.95, 1.1)
    rings = [
        footprint((hx, hz * stretch), (tx, tz * stretch), w, dip, side, i / len(stations))
        for i, (hx, hz, tx, tz, w, dip) in enumerate(stations)
    ]
    out = lambda ring, by: [p + (p - sum(ring, Vector()) / len(ring)).normalized() * by for p in ring]  # noqa: E731
    loft(rings, upper, caps=False)
    lining = m.plain(rng.choice(((0.03, 0.03, 0.03), (0.3, 0.22, 0.15), (0.5, 0.5, 0.5))), 0.9)
    top = rings[-1]
    inner = [[p.lerp(sum(top, Vector()) / 40, 0.12) - Vector((0, 0, drop)) for p in top] for drop in (0.0, 0.12)]
    loft([top, *inner], lining)
    pipe(top, 0.016 if family == "low" else 0.012, rng.choice((upper, second)), closed=True)
    # the sole, with a little spring under the toe
    thick = rng.uniform(0.07, 0.1) if family == "low" else 0.075
    base = 0.07 if family == "boot" else 0.0
    shape = footprint((-0.495, 0), (0.505, 0), 0.18, 0, side, 0)
    spring = lambda p: max(p.x * side - 0.2, 0) ** 2 * 0.4  # noqa: E731
    layers = [(base, 0.97), (base + 0.015, 1.0), (base + thick - 0.01, 1.0), (base + thick, 0.985)]
    if family == "boot":
        layers = [(0.035, 0.97), (0.045, 1.0), (0.1, 1.0), (0.11, 0.98)]
    loft([[(p.x * f, p.y * f, z + spring(p) * 0.6) for p in shape] for z, f in layers], sole)
    if family == "boot":
        block = footprint((-0.49, 0), (-0.15, 0), 0.15, 0, side, 1)
        loft([[(p.x, p.y, z) for p in block] for z in (0, 0.09)], sole)
        tread = footprint((-0.02, 0), (0.42, 0), 0.16, 0, side, 1)
        loft([[(p.x, p.y, z) for p in tread] for z in (0, 0.05)], sole)
    patch = lambda lows, js: sheet(  # noqa: E731
        lambda u, v: out(rings[lows[round(v * (len(lows) - 1))]], 0.006)[js[round(u * (len(js) - 1))] % 40],
        len(js) - 1,
        len(lows) - 1,
        rng.choice((second, sole, upper)),
    )
    if family != "boot" and (rng.random() < 0.7 or family == "high"):
        patch(range(0, 9 if family == "low" else 8), range(-7, 8))  # toe cap
    if rng.random() < 0.7:
        patch(range(0, len(rings) - 4 if family == "low" else 14), range(15, 26))  # heel counter
    if family == "low" and rng.random() < 0.7:  # a swoosh of stripes on either side
        for j in rng.choice(((11, 13, 15), (13,), (11, 14))):
            for flank in (1, -1):
                line = []
                for k in range(3, len(rings) - 5):
                    t = j - (k - 3) * 0.3
                    ring, low = out(rings[k], 0.004), int(t)
                    line.append(ring[flank * low % 40].lerp(ring[flank * (low + 1) % 40], t - low))
                pipe(line, 0.014, second)
    if family == "high" and rng.random() < 0.6:
        for y in (-1, 1):
            badge = lathe([(0.001, 0), (0.07, 0), (0.065, 0.01), (0.001, 0.012)], sole)
            place(badge, (-0.27 * side, y * 0.112, 0.5), (-y * pi / 2, 0, 0))
    chelsea = family == "boot" and rng.random() < 0.5
    parts = []
    if chelsea:
        elastic = m.plain((0.015, 0.015, 0.015), 0.9)
        for flank in (1, -1):
            js = [flank * j for j in range(8, 14)]
            sheet(
                lambda u, v, js=js: out(rings[16 + round(v * (len(rings) - 18))], 0.005)[js[round(u * 5)] % 40],
                5,
                len(rings) - 18,
                elastic,
            )
        x, z = top[20].x, top[20].z
        loop = [(x, 0, z - 0.1), (x - 0.05 * side, 0, z), (x - 0.03 * side, 0, z + 0.06), (x, 0, z - 0.02)]
        parts.append(sweep(list(smooth(loop)), tablet(0.01, 0.04, 0.003), elastic, across=(0, 1, 0)))
    else:
        lace = m.plain(rng.choice(((0.85, 0.85, 0.83), (0.02, 0.02, 0.02), paint(rng))), 0.8)
        first, last, step = (10, len(rings) - 3, 3) if family == "low" else (12, len(rings) - 2, 3)
        crossed = rng.random() < 0.6
        for k in range(first, last, step):
            ring, ahead = rings[k], rings[min(k + step * crossed, len(rings) - 1)]
            for flank in (1, -1) if crossed else (1,):
                ends = [
                    ring[4 * flank],
                    ring[2 * flank].lerp(ahead[2 * flank], 0.3),
                    ring[0].lerp(ahead[0], 0.5),
                    ring[-2 * flank].lerp(ahead[-2 * flank], 0.7),
                    ahead[-4 * flank],
                ]
                parts.append(pipe([p + Vector((side * 0.012, 0, 0.014)) for p in ends], 0.012, lace))
        # tongue, above the last laces
        root = rings[-2][0] - Vector((side * 0.01, 0, 0.02))
        rise = (rings[-1][0] - rings[-5][0]).normalized()
        path = [root + rise * t for t in (0, 0.04, 0.08, 0.11)]
        tongue = tablet(0.028, 0.16, 0.012)
        parts.append(sweep(path, tongue, rng.choice((second, upper)), across=(0, 1, 0)))
        for flank in (1, -1):  # loose bow
            knot = rings[last][0] + Vector((side * 0.03, 0, 0.02))
            drop = ((0.03, 0.05, 0.0), (0.05, 0.08, -0.07), (0.04, 0.05, -0.09))
            bow = [knot, *(knot + Vector((x * side, y * flank, z)) for x, y, z in drop)]
            parts.append(pipe(list(smooth(bow)), 0.01, lace))
    group.turn(rng.uniform(-0.3, 0.3), "Z")
    group.settle()
    return parts


BUILDERS: dict[str, Builder] = {
    "shoe": shoe,
}  # fmt: skip
