"""For leisure: balls, dumbbells and notebooks."""

import random
from math import cos, pi, sin

from mathutils import Euler, Vector

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..lofts import SIDE, Group, loft, oval, pipe, place, solid, sweep, tablet
from ..meshes import ball as sphere
from ..meshes import box, lathe, panel, prism
from .parts import GOLD, STEEL, Builder, finish, leather, paint

GOLDEN = (1 + 5**0.5) / 2


def patch(corners: list, radius: float, material, spin, gap: float = 0.035, steps: int = 6) -> None:
    """A stitched panel: a polygon blown up onto the sphere, sunk along its edge."""
    n, middle = len(corners), sum(corners, Vector()) / len(corners)
    points, faces = [], []
    for k in range(1, steps + 1):
        share = k / steps
        for i in range(n):
            for step in range(steps):
                edge = corners[i].lerp(corners[(i + 1) % n], step / steps)
                inset = share * (1 - gap / (edge - middle).length * radius)
                sunk = radius * (1 - 0.025 * max(0.0, share - 0.6) ** 2 / 0.16)
                points.append(spin @ (middle.lerp(edge, inset).normalized() * sunk))
    around = n * steps
    for k in range(steps - 1):
        for i in range(around):
            j = (i + 1) % around
            faces.append((k * around + i, k * around + j, (k + 1) * around + j, (k + 1) * around + i))
    faces.append(tuple(range(around)))
    solid(points, faces, material)


def football(rng: random.Random, spin) -> None:
    """The truncated icosahedron: a pentagon at each vertex, a hexagon on each face."""
    corners = [Vector(p) for a in (-1, 1) for b in (-GOLDEN, GOLDEN) for p in ((0, a, b), (a, b, 0), (b, 0, a))]
    near = lambda p: [q for q in corners if 0.1 < (p - q).length < 2.1]  # noqa: E731
    light = m.plain((0.82, 0.82, 0.8), 0.35, coat_weight=0.3)
    dark = m.plain(
        rng.choice(((0.012, 0.012, 0.014), (0.012, 0.012, 0.014), paint(rng, saturation=(0.7, 1.0), value=(0.3, 0.9)))),
        0.35,
    )
    for p in corners:
        axis = p.normalized()
        base = axis.orthogonal()
        side = axis.cross(base)
        around = sorted(
            (p.lerp(q, 1 / 3) for q in near(p)),
            key=lambda v: Vector((base.dot(v), side.dot(v))).angle_signed(Vector((1, 0))),
        )
        patch(around, 0.45, dark, spin)
    for i, a in enumerate(corners):
        for j in range(i + 1, 12):
            for k in range(j + 1, 12):
                b, c = corners[j], corners[k]
                if max((a - b).length, (b - c).length, (a - c).length) < 2.1:
                    six = [u.lerp(v, t) for u, v in ((a, b), (b, c), (c, a)) for t in (1 / 3, 2 / 3)]
                    patch(six, 0.45, light, spin)


def volleyball(rng: random.Random, spin) -> None:
    """Six faces of a cube, three strips each, turned from face to face."""
    white = (0.82, 0.82, 0.8)
    first, second = (
        paint(rng, saturation=(0.6, 1.0), value=(0.4, 1.0)),
        paint(rng, saturation=(0.6, 1.0), value=(0.3, 0.9)),
    )
    strips = rng.choice(((first, white, second), (first, second, first), (white, first, white)))
    skins = [m.plain(colour, 0.45) for colour in strips]
    for axis in range(3):
        for sign in (-1, 1):
            for index in range(3):
                low, high = -1 + 2 * index / 3, -1 + 2 * (index + 1) / 3
                around = []
                for u, v in ((low, -1), (high, -1), (high, 0), (high, 1), (low, 1), (low, 0)):
                    point = Vector((0, 0, 0))
                    point[axis], point[(axis + 1) % 3], point[(axis + 2) % 3] = sign, u, v
                    around.append(point)
                patch(around, 0.45, skins[index], spin, 0.02, 8)


def ball(rng: random.Random, family: str) -> None:
    spin = Euler([rng.uniform(0, 6.28) for _ in range(3)]).to_matrix()
    group = Group()
    if family == "basketball":
        rubber = m.speckled(
            rng, rng.choice(((0.55, 0.16, 0.03), (0.62, 0.22, 0.05), (0.4, 0.1, 0.03))), 75, 0.15, 0.8, 0.55
        )
        sphere(0.45, (0, 0, 0), rubber, segments=64)
        seam = m.plain((0.012, 0.01, 0.01), 0.5)
        centre, turns = Vector((0, 0, 0.45)), [2 * pi * i / 64 for i in range(64)]
        lines = [[(cos(a), sin(a), 0) for a in turns], [(cos(a), 0, sin(a)) for a in turns]]
        # the two ovals on either side bulge towards the middle seam
        lines += [[(0.62 * sin(a), s * (0.62 + 0.15 * cos(2 * a)), 0.62 * cos(a)) for a in turns] for s in (-1, 1)]
        for line in lines:
            pipe([centre + spin @ (Vector(p).normalized() * 0.449) for p in line], 0.008, seam, sides=6, closed=True)
    else:
        sphere(0.438, (0, 0, 0), m.plain((0.1, 0.1, 0.1), 0.8))
        before = Group()
        football(rng, spin) if family == "football" else volleyball(rng, spin)
        for body in before.bodies():
            body.location.z = 0.438
    group.settle()


def dumbbell(rng: random.Random, family: str) -> list:
    group = Group()
    chrome, iron = m.metal((0.7, 0.7, 0.72), 0.15), m.speckled(rng, (0.03, 0.03, 0.032), 60, 0.2, 0.3, 0.5)
    vinyl = m.plain(paint(rng, saturation=(0.4, 1.0), value=(0.3, 0.95)), 0.5)
    if family == "kettlebell":
        r, coat = rng.uniform(0.32, 0.37), rng.choice((iron, iron, vinyl))
        profile = [
            (0.001, 0),
            (r * 0.62, 0),
            (r * 0.93, r * 0.35),
            (r, r * 0.85),
            (r * 0.85, r * 1.4),
            (r * 0.45, r * 1.75),
            (0.001, r * 1.8),
        ]
        lathe(profile, coat, bevel=0.1)
        grip = rng.choice((coat, coat, chrome))
        base, span, top = r * 1.45, r * rng.uniform(0.7, 0.8), r * 1.8 + rng.uniform(0.26, 0.34)
        loop = []
        for i in range(25):
            a = pi * (i / 24 * 1.2 - 0.1)
            bent = lambda t: abs(t) ** 0.6 * (1 if t > 0 else -1)  # noqa: E731
            loop.append((span * bent(cos(a)), 0, base + 0.1 + (top - base - 0.1) * bent(sin(a))))
        parts = [pipe(loop, rng.uniform(0.045, 0.058), grip, sides=14)]
        if coat is iron and rng.random() < 0.6:
            band = m.plain(paint(rng, saturation=(0.6, 1.0), value=(0.5, 1.0)), 0.5)
            parts += [pipe([loop[i], loop[i + 1]], 0.064, band, sides=14) for i in (3, 20)]
        mark = lathe([(0.001, 0), (r * 0.4, 0), (r * 0.38, 0.012), (0.001, 0.012)], m.plain((0.6, 0.6, 0.6), 0.5))
        place(mark, (0, -r + 0.005, r * 0.85), (pi / 2, 0, 0))
        name = panel(r * 0.5, r * 0.25, (0, -r - 0.009, r * 0.85), m.picture(label_image(rng, 2.0, (150, 150, 150))))
        name.location = (0, 0, 0)
    elif family == "hex":
        r, wide, reach = rng.uniform(0.22, 0.26), rng.uniform(0.26, 0.32), rng.uniform(0.42, 0.48)
        rubber = rng.choice((iron, vinyl))
        for x in (-1, 1):
            head = prism(6, r, -wide / 2, wide / 2, rubber, 0.035)
            place(head, (x * (reach - wide / 2 + 0.06), 0, 0), SIDE)
            plug = lathe([(0.001, 0), (r * 0.5, 0), (r * 0.48, 0.012), (0.001, 0.012)], m.metal((0.5, 0.5, 0.5), 0.4))
            place(plug, (x * (reach + 0.06), 0, 0), (0, x * pi / 2, 0))
        grip = [(0.04, -0.3), (0.045, -0.15), (0.058, 0), (0.045, 0.15), (0.04, 0.3)]
        parts = [place(lathe(grip, rng.choice((chrome, iron)), bevel=0.1), (0, 0, 0), SIDE)]
    else:
        r, steel = rng.uniform(0.22, 0.27), m.metal(STEEL, 0.2)
        skin = rng.choice((iron, vinyl, m.metal((0.6, 0.6, 0.62), 0.2)))
        if rng.random() < 0.6:  # plates on a bar
            for x in (-1, 1):
                at = 0.17
                for size in (1.0, rng.uniform(0.7, 0.95), rng.uniform(0.5, 0.7))[: rng.choice((2, 3))]:
                    disc = [
                        (0.04, 0),
                        (r * size * 0.9, 0),
                        (r * size, 0.015),
                        (r * size, 0.065),
                        (r * size * 0.9, 0.08),
                        (r * size * 0.7, 0.06),
                        (0.04, 0.06),
                    ]
                    place(lathe(disc, skin, bevel=0.008), (x * at, 0, 0), (0, x * pi / 2, 0))
                    at += 0.085
                place(
                    lathe([(0.03, 0), (0.075, 0), (0.075, 0.04), (0.03, 0.045)], steel),
                    (x * at, 0, 0),
                    (0, x * pi / 2, 0),
                )
            parts = [place(lathe([(0.001, -0.5), (0.032, -0.5), (0.032, 0.5), (0.001, 0.5)], steel), (0, 0, 0), SIDE)]
            parts.append(place(lathe([(0.042, -0.165), (0.046, 0), (0.042, 0.165)], iron, bevel=0), (0, 0, 0), SIDE))
        else:  # round solid heads
            for x in (-1, 1):
                head = [
                    (0.001, 0.0),
                    (r * 0.8, 0.0),
                    (r, 0.06),
                    (r, 0.2),
                    (r * 0.8, 0.27),
                    (r * 0.5, 0.26),
                    (0.001, 0.26),
                ]
                place(lathe(head, skin, bevel=0.03), (x * 0.2, 0, 0), (0, x * pi / 2, 0))
            parts = [
                place(
                    lathe([(0.045, -0.22), (0.055, 0), (0.045, 0.22)], rng.choice((skin, chrome)), bevel=0.1),
                    (0, 0, 0),
                    SIDE,
                )
            ]
    if family != "kettlebell":
        group.turn(rng.choice((-1, 1)) * rng.uniform(0.2, 0.6), "Z")
    group.settle()
    return parts


def cover(rng: random.Random):
    """Coloured cloth, leather or card, with the ground colour of a label that suits it."""
    colour = vivid(rng, (0.2, 0.9), (0.12, 0.95))
    hide = rng.random() < 0.5
    return (m.speckled(rng, linear(colour), 70, 0.1, 0.25, 0.6) if hide else m.plain(linear(colour), 0.5)), colour


def book(rng: random.Random, w: float, h: float, thick: float, elastic: bool, ribbon: bool) -> list:
    """A hardback standing upright, its spine on the left; returns elastic and ribbon."""
    hide, colour = cover(rng)
    paper = m.linen(rng, (0.8, 0.77, 0.68))
    for y in (-thick / 2, thick / 2):
        box((w, 0.022, h), (0, y, 0), hide, 0.008)
    box((w - 0.03, thick, h - 0.04), (-0.005, 0, 0.02), paper, 0)
    spine = [(x - w / 2 + 0.01, y) for x, y in oval(0.04, thick / 2 + 0.011, 2.5, 24) if x <= 0.001]
    loft([[(x, y, z) for x, y in spine] for z in (0.0, h)], hide)
    parts, y = [], -thick / 2 - 0.014
    if rng.random() < 0.6:
        size = w * rng.uniform(0.45, 0.7)
        panel(
            size,
            size * 0.6,
            (0, y, h * 0.66),
            m.picture(label_image(rng, 1 / 0.6, rng.choice((None, colour, (235, 230, 215)))), 0.6),
        )
    else:
        panel(w * 0.3, 0.035, (0, y, h * 0.5), m.metal(GOLD, 0.3))
    if elastic:
        strap = m.plain(rng.choice(((0.015, 0.015, 0.015), paint(rng, saturation=(0.6, 1.0)))), 0.7)
        x, z, t = w * 0.36, 0.006, thick / 2 + 0.016
        path = [(x, -t, -z), (x, -t, h + z), (x, t, h + z), (x, t, -z)]
        parts.append(sweep(path, tablet(0.01, 0.03, 0.002, 2), strap, across=(1, 0, 0), closed=True))
    if ribbon:
        marker = m.plain(paint(rng, saturation=(0.6, 1.0), value=(0.4, 0.9)), 0.6)
        parts.append(box((0.02, 0.006, 0.1), (-w * 0.2, 0, -0.09), marker, 0))
    return parts


def notebook(rng: random.Random, family: str) -> list:
    group = Group()
    w, h = rng.uniform(0.62, 0.72), rng.uniform(0.9, 1.0)
    if family == "hardback":
        parts = book(rng, w, h, rng.uniform(0.07, 0.11), True, False)
        group.turn(-rng.uniform(0.08, 0.25), "X")
        if rng.random() < 0.5:  # on a ledge
            ledge = m.wood(rng, (0.5, 0.3, 0.14), (0.24, 0.11, 0.04))
            parts.append(box((w * 0.7, 0.3, 0.03), (0, 0.0, -0.03), ledge, 0.008))
    elif family == "spiral":
        hide, colour = cover(rng)
        thick, wire = rng.uniform(0.05, 0.09), m.metal(rng.choice((STEEL, (0.03, 0.03, 0.03), GOLD)), 0.25)
        box((w, 0.014, h), (0, -thick / 2, 0), hide, 0.003)
        box((w, 0.018, h), (0, thick / 2, 0), m.plain(linear(vivid(rng, (0.0, 0.3), (0.2, 0.7))), 0.6), 0.003)
        box((w - 0.03, thick - 0.016, h - 0.03), (0, 0, 0.015), m.linen(rng, (0.82, 0.8, 0.74)), 0)
        size = w * rng.uniform(0.5, 0.85)
        ratio = rng.uniform(0.5, 1.1)
        panel(
            size,
            size * ratio,
            (0, -thick / 2 - 0.01, h * 0.55),
            m.picture(label_image(rng, 1 / ratio, rng.choice((None, colour))), 0.6),
        )
        top, pitch, parts, r = rng.random() < 0.4, 0.045, [], thick / 2 + 0.035
        length = (w if top else h) - 0.08
        for i in range(round(length / pitch)):
            at = -length / 2 + (i + 0.5) * pitch
            turns = [2 * pi * k / 16 for k in range(16)]
            if top:
                coil = [(at + 0.004 * sin(a), r * cos(a), h - 0.01 + r * 0.9 * sin(a)) for a in turns]
            else:
                coil = [(-w / 2 + 0.01 + r * 0.9 * sin(a), r * cos(a), h / 2 + at) for a in turns]
            parts.append(pipe(coil, 0.009, wire, sides=6, closed=True))
        if rng.random() < 0.4:
            x = w / 2 + 0.03
            pen = lathe(
                [(0.002, 0), (0.02, 0.06), (0.022, 0.1), (0.022, 0.62), (0.016, 0.64), (0.001, 0.64)],
                finish(rng, paint(rng)),
            )
            parts.append(place(pen, (x, -0.02, h * 0.12)))
        group.turn(-rng.uniform(0.08, 0.25), "X")
    else:
        parts, z = [], 0.0
        for index in range(rng.choice((2, 3))):
            one, thick = Group(), rng.uniform(0.09, 0.16)
            grow = 1 - 0.07 * index
            extra = book(rng, 0.6 * grow, 0.88 * grow, thick, rng.random() < 0.7, rng.random() < 0.6)
            one.turn(-pi / 2, "X")
            one.turn(pi / 2, "Z")  # the spine to the camera
            one.settle()
            one.turn(rng.uniform(-0.22, 0.22), "Z")
            for body in one.bodies():
                body.location.z += z
            z += thick + 0.03
            parts += extra
        if rng.random() < 0.5:
            pen = lathe(
                [(0.002, 0), (0.018, 0.06), (0.022, 0.1), (0.022, 0.6), (0.016, 0.62), (0.001, 0.62)],
                leather(rng) if rng.random() < 0.2 else finish(rng, paint(rng)),
            )
            parts.append(place(pen, (-0.3, -0.05, z + 0.022), (0, pi / 2, rng.uniform(-0.3, 0.3))))
    group.settle()
    return parts


BUILDERS: dict[str, Builder] = {
    "ball": ball, "dumbbell": dumbbell, "notebook": notebook,
}  # fmt: skip
