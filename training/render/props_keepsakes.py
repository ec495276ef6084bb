"""More props that only category-bound scenes hold: spices, yarn, glass, cups, pearls and towels."""

from math import cos, pi, sin, tau

from mathutils import Euler, Matrix

from . import materials as m
from .meshes import ball, lathe, mesh, tube
from .props_bound import at, copies, ellipsoid, put, ring
from .scatter import Scatter


def cinnamon(s: Scatter, accent: m.Colour) -> None:
    """Bundles of rolled cinnamon sticks, tied with string, and star anise beside them."""
    rng = s.rng
    bark, string = m.speckled(rng, (0.36, 0.14, 0.05), 25.0, 0.4, 0.4, 0.8), m.plain((0.75, 0.65, 0.45), 0.9)
    for _ in range(s.number(1, 2)):
        x, y = s.lie(0.28)
        bodies = []
        for level, many in enumerate((3, 2)):
            for i in range(many):
                outer = 0.048
                profile = [(outer * 0.55, -0.26), (outer, -0.26), (outer, 0.26), (outer * 0.55, 0.26)]
                stick = lathe(profile, bark, 14, bevel=0)
                stick.rotation_euler = (0, pi / 2, 0)
                stick.location = (rng.uniform(-0.03, 0.03), (i - (many - 1) / 2) * 0.1, outer + level * 0.085)
                bodies.append(stick)
        band = ring(0.1, 0.012, 0, string)
        band.scale, band.rotation_euler, band.location = (0.85, 1.6, 1.0), (0, pi / 2, 0), (0, 0, 0.088)
        put([*bodies, band], x, y, rng.uniform(-0.9, 0.9))
        x, y = s.lie(0.11)
        petal = ellipsoid(0.055, 0.02, 0.018, 6, 4)
        star = [Matrix.Translation((x, y, 0.02)) @ at(0.055 * cos(a), 0.055 * sin(a), 0, Euler((0, 0, a)))
                for a in (tau * i / 8 for i in range(8))]  # fmt: skip
        copies(petal, star, m.plain((0.16, 0.06, 0.02), 0.5))


def yarn(s: Scatter, accent: m.Colour) -> None:
    """Balls of wool: a thread wound in tilted circles."""
    rng = s.rng
    for _ in range(s.number(2, 2)):
        radius = rng.uniform(0.16, 0.22)
        x, y = s.stand(radius)
        wool = m.plain(rng.choice((accent, (0.7, 0.6, 0.45), (0.6, 0.15, 0.12), (0.2, 0.3, 0.4))), 0.95)
        bodies = [ball(radius * 0.95, (0, 0, radius * 0.05), wool)]
        for _ in range(14):
            hoop = ring(radius * rng.uniform(0.9, 0.97), 0.018, 0, wool)
            hoop.rotation_euler = (rng.uniform(0, pi), rng.uniform(0, pi), 0)
            hoop.location = (0, 0, radius)
            bodies.append(hoop)
        put(bodies, x, y)
        end = [(0.35 * t + 0.03 * sin(9 * t), 0.0, 0.02 + 0.02 * (1 - t)) for t in (i / 10 for i in range(11))]
        thread = tube(end, 0.016, wool, 6)
        put([thread], x, y, rng.uniform(-0.8, 0.8) if x > 0 else pi + rng.uniform(-0.8, 0.8))


def hourglass(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    x, y = s.stand(0.2)
    timber, h = m.wood(rng, (0.4, 0.2, 0.08), (0.2, 0.09, 0.03)), rng.uniform(0.5, 0.65)
    plate = [(0.001, 0), (0.18, 0), (0.18, 0.045), (0.001, 0.045)]
    bodies = [lathe(plate, timber), lathe([(r, z + h) for r, z in plate], timber)]
    glass = [(0.001, 0.05), (0.12, 0.06), (0.13, h * 0.28), (0.022, h * 0.5 + 0.02), (0.13, h * 0.78), (0.12, h - 0.01),
             (0.001, h)]  # fmt: skip
    bodies.append(lathe(glass, m.glass((0.97, 0.98, 0.98)), 32, 0.05))
    sand = m.plain((0.75, 0.5, 0.22), 0.9)
    bodies.append(lathe([(0.001, 0.06), (0.115, 0.065), (0.115, h * 0.16), (0.001, h * 0.3)], sand, 24, 0))
    bodies.append(lathe([(0.001, h * 0.53), (0.1, h * 0.68), (0.001, h * 0.68)], sand, 24, 0))
    for i in range(3):
        a = tau * i / 3 + 0.5
        post = lathe([(0.016, 0.04), (0.022, h / 2), (0.016, h)], timber, 10, 0)
        post.location = (0.15 * cos(a), 0.15 * sin(a), 0)
        bodies.append(post)
    put(bodies, x, y, rng.uniform(0, tau))


def trophy(s: Scatter, accent: m.Colour) -> None:
    """A golden cup with two handles on a dark base."""
    rng = s.rng
    x, y = s.stand(0.24)
    gold, base = m.metal((0.85, 0.58, 0.2), 0.18), m.plain((0.02, 0.015, 0.012), 0.2)
    cup = [(0.001, 0.12), (0.1, 0.12), (0.03, 0.2), (0.03, 0.28), (0.12, 0.36), (0.18, 0.5), (0.19, 0.68), (0.17, 0.68),
           (0.15, 0.5), (0.001, 0.38)]  # fmt: skip
    bodies = [
        lathe([(0.001, 0), (0.14, 0), (0.12, 0.12), (0.001, 0.12)], base),
        lathe(cup, gold, 40, 0.03),
    ]
    for side in (-1, 1):
        path = [(side * (0.16 + 0.11 * sin(pi * t)), 0, 0.64 - 0.22 * t) for t in (i / 10 for i in range(11))]
        bodies.append(tube(path, 0.016, gold, 8))
    put(bodies, x, y, rng.uniform(-0.5, 0.5))


def pearls(s: Scatter, accent: m.Colour) -> None:
    """A string of pearls, laid in loose loops."""
    rng = s.rng
    lustre = m.plain((0.86, 0.80, 0.74), 0.12, coat_weight=0.8)
    pearl = ellipsoid(0.034, 0.034, 0.034, 12, 8)
    for _ in range(s.number(1, 2)):
        x, y = s.lie(0.26)
        a, b, wave = rng.uniform(0.2, 0.25), rng.uniform(0.12, 0.18), rng.uniform(0, tau)
        places, last, t = [], None, 0.0
        while t < tau:
            r = 1 + 0.22 * sin(3 * t + wave)
            p = (a * r * cos(t), b * r * sin(t))
            if last is None or (p[0] - last[0]) ** 2 + (p[1] - last[1]) ** 2 > 0.066**2:
                places.append(at(x + p[0], y + p[1], 0.034, Euler((0, 0, 0))))
                last = p
            t += 0.01
        copies(pearl, places, lustre)


def towels(s: Scatter, accent: m.Colour) -> None:
    """Rolled towels, stacked, their spirals towards the camera."""
    rng = s.rng
    x, y = s.stand(0.3)
    tone = rng.choice(((0.82, 0.80, 0.76), m.mixed(accent, (0.8, 0.8, 0.8), 0.6)))
    cotton, radius, length = m.speckled(rng, tone, 60.0, 0.12, 0.5, 0.95), 0.13, 0.45
    bodies = []
    for cx, cz in ((-0.135, radius), (0.135, radius), (0.0, radius * 2.75)):
        vertices, faces, steps = [], [], 90
        for i in range(steps):
            a, r = tau * 3.4 * i / steps, 0.02 + (radius - 0.02) * i / (steps - 1)
            for depth in (0.0, length):
                for thick in (0.0, 0.024):
                    vertices.append((cx + (r - thick) * cos(a), depth - length / 2, cz + (r - thick) * sin(a)))
        for i in range(steps - 1):
            p, q = 4 * i, 4 * i + 4
            faces += [
                (p, q, q + 2, p + 2),
                (p + 1, p + 3, q + 3, q + 1),
                (p, p + 1, q + 1, q),
                (p + 2, q + 2, q + 3, p + 3),
            ]
        bodies.append(mesh("towel", vertices, faces, cotton))
    put(bodies, x, y, rng.uniform(-0.4, 0.4))


PROP_BUILDERS = {
    "cinnamon": cinnamon, "yarn": yarn, "hourglass": hourglass, "trophy": trophy, "pearls": pearls, "towels": towels,
}  # fmt: skip
