"""Props that captions name: what stands and lies beside and behind the product."""

from math import atan2, cos, pi, sin

from . import materials as m
from .catalog import PALETTE
from .meshes import ball, box, lathe, leaf, mesh, tube
from .scatter import Scatter


def leaves(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    tone = rng.uniform(0.6, 1.6)
    green = m.plain((0.05 * tone, 0.17 * tone, 0.035 * tone), 0.4)
    x, y = s.stand(0.15)
    for _ in range(s.number(5, 9)):
        blade = leaf(rng.uniform(0.35, 0.75), rng.uniform(0.14, 0.26), green, rng.uniform(0.1, 0.5))
        blade.location = (x, y, rng.uniform(0.02, 0.25))
        away = atan2(y, x) + rng.uniform(-0.9, 0.9)
        blade.rotation_euler = (rng.uniform(-0.4, 0.4), -rng.uniform(0.1, 1.2), away)


def pebbles(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    for _ in range(s.number(4, 8)):
        r = rng.uniform(0.06, 0.17)
        x, y = s.lie(r)
        grey = rng.uniform(0.08, 0.5)
        ball(r, (x, y, 0), m.speckled(rng, (grey, grey, grey * 0.95), 8, 0.2, 0.1, 0.7), 0.55, 20)


def petals(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    pink = m.plain((0.8, rng.uniform(0.2, 0.4), rng.uniform(0.3, 0.45)), 0.6)
    for _ in range(s.number(10, 22)):
        petal = leaf(rng.uniform(0.1, 0.17), rng.uniform(0.08, 0.13), pink, -0.3)
        x, y = s.lie(0.1)
        petal.location, petal.rotation_euler = (x, y, 0.012), (0, rng.uniform(-0.2, 0.1), rng.uniform(0, 6.3))


def citrus(s: Scatter, colour: m.Colour, radius: float, stretch: float) -> None:
    rng = s.rng
    skin = m.speckled(rng, colour, 30, 0.12, 0.25, 0.4)
    for _ in range(s.number(2, 3)):
        x, y = s.stand(radius)
        whole = ball(radius * rng.uniform(0.9, 1.1), (x, y, 0), skin)
        whole.scale = (stretch, 1, 1)
    x, y = s.lie(radius)
    half = lathe(
        [(0.001, 0), (radius * 0.9, 0), (radius * 0.88, 0.05), (0.001, 0.055)],
        m.plain(m.mixed(colour, (1, 1, 0.8), 0.35), 0.3),
        24,
    )
    half.location = (x, y, 0)


def lemons(s: Scatter, accent: m.Colour) -> None:
    citrus(s, (0.85, 0.58, 0.03), 0.15, 1.25)


def oranges(s: Scatter, accent: m.Colour) -> None:
    citrus(s, (0.85, 0.26, 0.01), 0.2, 1.0)


def books(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    x, y = s.stand(0.36)
    z = 0.0
    for _ in range(s.number(2, 4)):
        h = rng.uniform(0.06, 0.13)
        size = (rng.uniform(0.55, 0.7), rng.uniform(0.38, 0.5), h)
        turn = rng.uniform(-0.25, 0.25)
        cover = box(size, (0, 0, 0), m.plain(PALETTE[rng.choice(tuple(PALETTE))], 0.6), 0.008)
        pages = box((size[0] - 0.01, size[1] + 0.004, h * 0.7), (0.02, 0, h * 0.15), m.plain((0.8, 0.77, 0.68), 0.9), 0)
        for part in (cover, pages):
            part.location, part.rotation_euler = (x, y, z), (0, 0, turn)
        z += h


def vase(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    x, y = s.stand(0.2)
    clay = m.plain(m.mixed(accent, (0.8, 0.75, 0.68), 0.4), 0.5)
    body = lathe(
        [(0.001, 0), (0.12, 0), (0.2, 0.25), (0.08, 0.5), (0.1, 0.56), (0.07, 0.54), (0.001, 0.3)], clay, 32, 0.1
    )
    body.location = (x, y, 0)
    bark = m.plain((0.14, 0.08, 0.04), 0.8)
    for _ in range(s.number(3, 6)):
        lean, reach = rng.uniform(-0.5, 0.5), rng.uniform(0.4, 0.9)
        twig = tube([(0, 0, 0.45), (lean * 0.4, 0, 0.45 + reach * 0.5), (lean, 0, 0.45 + reach)], 0.012, bark, 6)
        bud = ball(0.05, (lean, 0, 0.42 + reach), m.plain(m.mixed(accent, (1, 1, 1), 0.3), 0.7), segments=10)
        for part in (twig, bud):
            part.rotation_euler = (0, 0, rng.uniform(0, 6.3)) if part is twig else twig.rotation_euler
            part.location = (x, y, 0)
        bud.location = (x + lean * cos(twig.rotation_euler.z), y + lean * sin(twig.rotation_euler.z), 0)


def spheres(s: Scatter, accent: m.Colour) -> None:
    for _ in range(s.number(2, 4)):
        r = s.rng.uniform(0.08, 0.24)
        x, y = s.stand(r)
        ball(r, (x, y, 0), m.plain(accent, s.rng.choice((0.1, 0.5))))


def arch(s: Scatter, accent: m.Colour) -> None:
    inner, thick, rise = s.footprint + s.rng.uniform(0.25, 0.4), s.rng.uniform(0.1, 0.18), s.rng.uniform(0.6, 0.9)
    y0, y1 = min(0.45, s.wall_at - 0.35), min(0.75, s.wall_at - 0.05)
    s.claim([(side * (inner + thick / 2), (y0 + y1) / 2, 0.2) for side in (-1, 1)])
    outline = [(-1.0, 0.0)] + [(-cos(pi * i / 24), sin(pi * i / 24)) for i in range(25)] + [(1.0, 0.0)]
    vertices = []
    for i, (cx, cz) in enumerate(outline):
        z = 0.0 if i in (0, len(outline) - 1) else rise
        for radius in (inner, inner + thick):
            for y in (y0, y1):
                vertices.append((cx * radius, y, z + cz * radius))
    faces = []
    for i in range(len(outline) - 1):
        a, b = 4 * i, 4 * i + 4
        faces += [
            (a, b, b + 2, a + 2),
            (a + 1, a + 3, b + 3, b + 1),
            (a, a + 1, b + 1, b),
            (a + 2, b + 2, b + 3, a + 3),
        ]
    mesh("arch", vertices, faces, m.plain(accent, 0.6))


def gifts(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    for _ in range(s.number(2, 2)):
        size = rng.uniform(0.24, 0.42)
        x, y = s.stand(size * 0.6)
        paper, ribbon = m.plain(PALETTE[rng.choice(tuple(PALETTE))], 0.4), m.plain(accent, 0.25)
        turn = rng.uniform(-0.5, 0.5)
        at, wide, thin = (0, 0, 0), size * 1.01, size * 0.16
        parts = [
            box((size, size, size * 0.8), at, paper, 0.01),
            box((thin, wide, size * 0.81), at, ribbon, 0),
            box((wide, thin, size * 0.81), at, ribbon, 0),
            ball(size * 0.12, (0, 0, size * 0.8), ribbon),
        ]
        for part in parts:
            part.location, part.rotation_euler = (x, y, 0), (0, 0, turn)


def candles(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    wax = m.plain((0.82, 0.76, 0.62), 0.5, subsurface_weight=0.1)
    for _ in range(s.number(2, 3)):
        r, h = rng.uniform(0.07, 0.12), rng.uniform(0.2, 0.6)
        x, y = s.stand(r)
        for part in (
            lathe([(0.001, 0), (r, 0), (r, h), (0.001, h)], wax, 24),
            lathe([(0.001, h + 0.02), (0.025, h + 0.06), (0.001, h + 0.17)], m.glowing((1.0, 0.55, 0.15), 15), 10),
        ):
            part.location = (x, y, 0)


def ice(s: Scatter, accent: m.Colour) -> None:
    clear = m.glass((0.93, 0.97, 1.0), 0.08)
    for _ in range(s.number(4, 8)):
        size = s.rng.uniform(0.12, 0.2)
        x, y = s.lie(size)
        cube = box((size, size, size), (0, 0, 0), clear, 0.025)
        cube.location, cube.rotation_euler = (x, y, 0.01), (s.rng.uniform(-0.2, 0.2), 0, s.rng.uniform(0, 1.5))


def blocks(s: Scatter, accent: m.Colour) -> None:
    timber = m.wood(s.rng, (0.62, 0.42, 0.22), (0.42, 0.25, 0.11))
    for _ in range(s.number(3, 5)):
        size = s.rng.uniform(0.14, 0.26)
        x, y = s.stand(size * 0.7)
        cube = box((size, size, size), (0, 0, 0), timber, 0.01)
        cube.location, cube.rotation_euler = (x, y, 0), (0, 0, s.rng.uniform(0, 1.5))


def cloth(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    x0, y0 = s.stand(0.3)
    n, size, phase = 24, rng.uniform(0.6, 0.8), rng.uniform(0, 6)
    vertices = []
    for i in range(n):
        for j in range(n):
            u, v = i / (n - 1) - 0.5, j / (n - 1) - 0.5
            z = 0.02 + 0.05 * (1 + sin(9 * u + phase + 3 * v)) * (0.6 + 0.4 * cos(6 * v))
            vertices.append((u * size, v * size * 0.8, z))
    faces = [
        (i * n + j, (i + 1) * n + j, (i + 1) * n + j + 1, i * n + j + 1) for i in range(n - 1) for j in range(n - 1)
    ]
    napkin = mesh("cloth", vertices, faces, m.plain(accent, 0.9))
    napkin.location, napkin.rotation_euler = (x0, y0, 0), (0, 0, rng.uniform(-0.6, 0.6))


PROP_BUILDERS = {
    "leaves": leaves, "pebbles": pebbles, "petals": petals, "lemons": lemons, "oranges": oranges, "books": books,
    "vase": vase, "spheres": spheres, "arch": arch, "gifts": gifts, "candles": candles, "ice": ice, "blocks": blocks,
    "cloth": cloth,
}  # fmt: skip
