"""Props that no caption names and only category-bound scenes hold: what words of the base can't ask for."""

import random
from collections.abc import Iterable
from math import cos, pi, sin, tau

import bpy
from mathutils import Euler, Matrix, Vector

from . import materials as m
from .meshes import ball, box, lathe, mesh, tube
from .scatter import Scatter


def put(bodies: Iterable[bpy.types.Object], x: float, y: float, turn: float = 0.0) -> None:
    """Turns bodies built at the origin about the vertical and moves them to their place."""
    bpy.context.view_layer.update()
    place = Matrix.Translation((x, y, 0)) @ Matrix.Rotation(turn, 4, "Z")
    for body in bodies:
        body.matrix_world = place @ body.matrix_world


def copies(shape: tuple[list, list], places: Iterable[Matrix], material: bpy.types.Material) -> bpy.types.Object:
    """One mesh of many copies of `shape` (vertices, faces)."""
    vertices, faces = [], []
    for place in places:
        start = len(vertices)
        vertices += [tuple(place @ Vector(v)) for v in shape[0]]
        faces += [tuple(start + i for i in face) for face in shape[1]]
    return mesh("copies", vertices, faces, material)


def at(x: float, y: float, z: float, turn: Euler, scale: float = 1.0) -> Matrix:
    return Matrix.Translation((x, y, z)) @ turn.to_matrix().to_4x4() @ Matrix.Scale(scale, 4)


def tumbled(rng: random.Random) -> Euler:
    return Euler((rng.uniform(0, tau), rng.uniform(0, tau), rng.uniform(0, tau)))


def ellipsoid(rx: float, ry: float, rz: float, columns: int = 8, rows: int = 6, groove: float = 0.0):
    """Vertices and faces; a `groove` cuts the upper side along x, as coffee beans have it."""
    vertices = []
    for row in range(rows + 1):
        a = pi * row / rows
        for column in range(columns):
            b = tau * column / columns
            x, y, z = sin(a) * cos(b), sin(a) * sin(b), cos(a)
            dent = groove * max(0.0, z) if abs(y) < 0.3 else 0.0
            vertices.append((rx * x, ry * y, rz * (z - dent)))
    faces = [
        (row * columns + c, row * columns + (c + 1) % columns, (row + 1) * columns + (c + 1) % columns,
         (row + 1) * columns + c)
        for row in range(rows) for c in range(columns)
    ]  # fmt: skip
    return vertices, faces


def ring(radius: float, thick: float, z: float, material, flat: float = 1.0):
    """A torus lying at height `z`."""
    profile = [(radius + thick * cos(tau * i / 10), z + thick * flat * sin(tau * i / 10)) for i in range(11)]
    return lathe(profile, material, 32, bevel=0)


def beans(s: Scatter, accent: m.Colour) -> None:
    """Heaps of roasted coffee beans, with a few rolled away."""
    rng, roast = s.rng, m.plain((0.055, 0.022, 0.009), 0.28)
    bean = ellipsoid(0.045, 0.032, 0.025, 10, 8, groove=0.9)
    for _ in range(s.number(2, 3)):
        x, y = s.lie(0.24)
        places = []
        for _ in range(110):
            away, a = abs(rng.gauss(0, 0.11)), rng.uniform(0, tau)
            height = max(0.0, 0.13 - 0.75 * away) * rng.random()
            turn = Euler((rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 0.5), rng.uniform(0, tau)))
            places.append(at(x + away * cos(a), y + away * sin(a), 0.022 + height, turn, rng.uniform(0.85, 1.1)))
        copies(bean, places, roast)


def wheat(s: Scatter, accent: m.Colour) -> None:
    """A sheaf of ripe ears lying on the table."""
    rng, straw = s.rng, m.plain((0.62, 0.40, 0.12), 0.6)
    grain = ellipsoid(0.035, 0.014, 0.014, 6, 4)
    for _ in range(s.number(1, 2)):
        x, y = s.lie(0.32)
        bodies, grains = [], []
        for _ in range(rng.randint(7, 11)):
            spread, rise = rng.uniform(-0.35, 0.35), rng.uniform(0.02, 0.1)
            path = [(-0.42, 0.0, 0.03), (0.0, 0.0, 0.03 + rise * 0.5), (0.3, 0.0, 0.03 + rise)]
            stalk = tube(path, 0.007, straw, 5)
            stalk.rotation_euler = (0, 0, spread)
            bodies.append(stalk)
            for i in range(22):
                along, side = 0.18 + 0.011 * i, (1 if i % 2 else -1)
                ear = Matrix.Rotation(spread, 4, "Z") @ at(
                    along, 0.014 * side, 0.03 + rise * (0.6 + 0.018 * i), Euler((0, -0.2, 0.45 * side))
                )
                grains.append(ear)
        bodies.append(copies(grain, grains, straw))
        tie = ring(0.05, 0.012, 0.0, m.plain((0.3, 0.05, 0.03), 0.7))
        tie.location, tie.rotation_euler = (-0.12, 0, 0.05), (0, pi / 2, 0)
        put([*bodies, tie], x, y, rng.uniform(0.2, 1.2) * rng.choice((-1, 1)) + (0 if x < 0 else pi))


def shells(s: Scatter, accent: m.Colour) -> None:
    """Scallops, ribbed fans that lean on their rim."""
    rng = s.rng
    for _ in range(s.number(3, 5)):
        size = rng.uniform(0.17, 0.26)
        x, y = s.lie(size)
        tone = rng.choice(((0.85, 0.55, 0.42), (0.85, 0.78, 0.68), (0.75, 0.42, 0.36)))
        columns, rows, vertices = 44, 8, []
        for r in range(rows + 1):
            t = r / rows
            for c in range(columns + 1):
                a = pi * (0.1 + 0.8 * c / columns)
                ripple = 0.1 * cos(c * tau / 4) * t
                reach = size * t * (1.0 + 0.03 * cos(c * tau / 4)) * (0.75 + 0.25 * sin(a))
                vertices.append(
                    (reach * cos(a) * 1.2, reach * sin(a) * 1.3, size * (0.42 * sin(pi * t * 0.9) + ripple))
                )
        w = columns + 1
        faces = [(r * w + c, r * w + c + 1, (r + 1) * w + c + 1, (r + 1) * w + c)
                 for r in range(rows) for c in range(columns)]  # fmt: skip
        fan = mesh("shell", vertices, faces, m.plain(tone, 0.35))
        fan.rotation_euler = (rng.uniform(0.1, 0.45), 0, 0)
        put([fan], x, y, rng.uniform(-0.9, 0.9))


def feathers(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    white = m.plain(rng.choice(((0.86, 0.85, 0.82), (0.8, 0.7, 0.62), (0.35, 0.36, 0.4))), 0.8)
    for _ in range(s.number(3, 5)):
        length = rng.uniform(0.5, 0.8)
        x, y = s.lie(0.2)
        barbs, faces, curl = [], [], rng.uniform(0.1, 0.35)
        for i in range(40):
            t = 0.22 + 0.78 * i / 39
            width = length * 0.2 * sin(pi * min(1.0, 0.12 + 0.88 * (1 - t))) ** 0.7 * rng.uniform(0.8, 1.0)
            x0, z0 = length * t, curl * length * (t - 0.3) ** 2
            for side in (-1, 1):
                n = len(barbs)
                barbs += [(x0, 0, z0), (x0 + 0.022, 0, z0), (x0 + 0.75 * width, side * width, z0 + 0.25 * width)]
                faces.append((n, n + 1, n + 2))
        vane = mesh("feather", barbs, faces, white, smooth=False)
        quill = tube([(length * t / 8, 0, curl * length * (t / 8 - 0.3) ** 2) for t in range(9)], 0.006, white, 5)
        for part in (vane, quill):
            part.location = (-length / 2, 0, 0.015)
        put([vane, quill], x, y, rng.uniform(0, tau))


def crate(s: Scatter, accent: m.Colour) -> None:
    """A slatted crate, now and then on its side, open to the camera."""
    rng = s.rng
    timber = m.wood(rng, (0.55, 0.36, 0.18), (0.36, 0.21, 0.09))
    w, d, h, t = 0.62, 0.42, 0.36, 0.022
    x, y = s.stand(0.36)
    bodies = [box((w, d, t), (0, 0, 0), timber, 0.004)]
    for level in range(3):
        z = 0.02 + level * 0.118
        bodies += [box((w, t, 0.095), (0, side * d / 2, z), timber, 0.004) for side in (-1, 1)]
        bodies += [box((t, d, 0.095), (side * w / 2, 0, z), timber, 0.004) for side in (-1, 1)]
    bodies += [
        box((0.045, 0.045, h), (i * (w / 2 - 0.03), j * (d / 2 - 0.03), 0), timber, 0.004)
        for i in (-1, 1) for j in (-1, 1)
    ]  # fmt: skip
    put(bodies, x, y, rng.uniform(-0.5, 0.5))


def rope(s: Scatter, accent: m.Colour) -> None:
    """A coil of thick twisted rope."""
    rng = s.rng
    hemp = m.speckled(rng, (0.52, 0.36, 0.18), 40.0, 0.4, 0.6, 0.9)
    strand, outer = 0.045, rng.uniform(0.2, 0.27)
    x, y = s.lie(outer + strand)
    turns, steps = s.number(3, 4), 60
    bodies = []
    for lay in range(3):  # three strands wound around one another
        vertices, faces, sides = [], [], 7
        total = turns * steps
        for i in range(total):
            a = tau * i / steps
            r, z = outer - 0.012 * (i / steps), strand + 0.08 * (i / steps)
            w = a * 7 + tau * lay / 3
            r, z = r + 0.022 * cos(w), z + 0.022 * sin(w)
            for k in range(sides):
                b = tau * k / sides
                q = r + 0.026 * cos(b)
                vertices.append((q * cos(a), q * sin(a), z + 0.026 * sin(b)))
        for i in range(total - 1):
            for k in range(sides):
                j = (k + 1) % sides
                faces.append((i * sides + k, (i + 1) * sides + k, (i + 1) * sides + j, i * sides + j))
        bodies.append(mesh("rope", vertices, faces, hemp))
    put(bodies, x, y, rng.uniform(0, tau))


def gears(s: Scatter, accent: m.Colour) -> None:
    rng = s.rng
    for _ in range(s.number(2, 3)):
        radius, thick = rng.uniform(0.14, 0.24), rng.uniform(0.05, 0.08)
        x, y = s.stand(radius)
        steel = m.metal(rng.choice(((0.6, 0.61, 0.64), (0.62, 0.42, 0.18))), 0.3)
        teeth, outline = round(radius * 75), []
        for i in range(teeth):
            for share, reach in ((0.0, 0.84), (0.22, 1.0), (0.5, 1.0), (0.72, 0.84)):
                a = tau * (i + share) / teeth
                outline.append((radius * reach * cos(a), radius * reach * sin(a)))
        n, hole = len(outline), 0.36
        vertices = [(p * k, q * k, z) for z in (0.0, thick) for k in (1.0, hole) for p, q in outline]
        faces = []
        for i in range(n):
            j = (i + 1) % n
            faces += [(i, j, 2 * n + j, 2 * n + i), (n + j, n + i, 3 * n + i, 3 * n + j),
                      (2 * n + i, 2 * n + j, 3 * n + j, 3 * n + i), (j, i, n + i, n + j)]  # fmt: skip
        wheel = mesh("gear", vertices, faces, steel, smooth=False)
        if rng.random() < 0.6:  # leaning back, its face to the camera
            wheel.rotation_euler, wheel.location = (1.25, 0, 0), (0, 0, radius * sin(1.25))
        put([wheel], x, y, rng.uniform(-0.4, 0.4))


def cones(s: Scatter, accent: m.Colour) -> None:
    """Pine cones: overlapping scales in spirals."""
    rng = s.rng
    wood = m.plain((0.17, 0.085, 0.035), 0.7)
    scale = ([(0, -0.5, 0), (0, 0.5, 0), (1.0, 0.4, 0.35), (1.15, 0, 0.5), (1.0, -0.4, 0.35), (0.5, 0, 0.3)],
             [(0, 1, 5), (1, 2, 5), (2, 3, 5), (3, 4, 5), (4, 0, 5)])  # fmt: skip
    for _ in range(s.number(2, 4)):
        size = rng.uniform(0.11, 0.16)
        x, y = s.lie(size * 1.3)
        places = []
        for i in range(70):
            t = i / 70
            swell = sin(pi * (0.12 + 0.83 * t)) ** 0.8
            turn = Matrix.Rotation(2.39996 * i, 4, "Z") @ Matrix.Rotation(-0.9 * t, 4, "Y")
            places.append(
                Matrix.Translation((0, 0, size * 2.1 * t)) @ turn @ Matrix.Scale(size * (0.25 + 0.7 * swell), 4)
            )
        core = ball(size * 0.5, (0, 0, 0), wood, 2.0, 12)
        bodies = [copies(scale, places, wood), core]
        for body in bodies:
            body.rotation_euler, body.location = (pi / 2, 0, 0), (0, size, size * 0.85)
        put(bodies, x, y, rng.uniform(0, tau))


def lantern(s: Scatter, accent: m.Colour) -> None:
    """A metal lantern with a burning candle."""
    rng = s.rng
    x, y = s.stand(0.2)
    iron, half, high = m.plain((0.02, 0.02, 0.022), 0.4, metallic=0.6), 0.16, rng.uniform(0.42, 0.55)
    bodies = [box((0.38, 0.38, 0.04), (0, 0, 0), iron, 0.006), box((0.38, 0.38, 0.03), (0, 0, high), iron, 0.006)]
    bodies += [box((0.028, 0.028, high), (i * half, j * half, 0), iron, 0) for i in (-1, 1) for j in (-1, 1)]
    roof = lathe([(0.25, high + 0.03), (0.09, high + 0.17), (0.06, high + 0.2), (0.001, high + 0.2)], iron, 4, 0)
    roof.rotation_euler = (0, 0, pi / 4)
    hoop = ring(0.07, 0.01, 0, iron)
    hoop.rotation_euler, hoop.location = (pi / 2, 0, 0), (0, 0, high + 0.25)
    wax = lathe([(0.001, 0.04), (0.085, 0.04), (0.085, 0.26), (0.001, 0.25)], m.plain((0.85, 0.78, 0.6), 0.5), 20)
    flame = lathe([(0.001, 0.27), (0.03, 0.31), (0.001, 0.4)], m.glowing((1.0, 0.55, 0.15), 18), 10)
    put([*bodies, roof, hoop, wax, flame], x, y, rng.uniform(-0.6, 0.6))


def reel(s: Scatter, accent: m.Colour) -> None:
    """A film or tape reel on its edge: two spoked flanges with dark tape between them."""
    rng = s.rng
    metal, tape = m.metal((0.7, 0.7, 0.72), 0.25), m.plain((0.03, 0.018, 0.012), 0.3)
    for _ in range(s.number(1, 2)):
        radius = rng.uniform(0.26, 0.34)
        x, y = s.stand(radius)
        bodies = [lathe([(0.001, 0.012), (radius * 0.78, 0.012), (radius * 0.78, 0.075), (0.001, 0.075)], tape, 40, 0)]
        for z in (0.0, 0.085):
            rim = [(radius * 0.86, z - 0.008), (radius, z - 0.008), (radius, z + 0.008), (radius * 0.86, z + 0.008),
                   (radius * 0.86, z - 0.008)]  # fmt: skip
            hub = [(0.001, z - 0.01), (radius * 0.3, z - 0.01), (radius * 0.3, z + 0.01), (0.001, z + 0.01)]
            bodies += [lathe(rim, metal, 48, 0), lathe(hub, metal, 24, 0)]
            for i in range(5):
                a = tau * i / 5
                spoke = box((radius * 0.66, radius * 0.17, 0.014), (radius * 0.57, 0, z - 0.007), metal, 0)
                spoke.matrix_world = Matrix.Rotation(a, 4, "Z") @ spoke.matrix_world
                bodies.append(spoke)
        lean = Matrix.Translation((0, 0, radius)) @ Matrix.Rotation(pi / 2 - 0.1, 4, "X")
        for body in bodies:
            body.matrix_world = lean @ body.matrix_world
        put(bodies, x, y, rng.uniform(-0.6, 0.6))


PROP_BUILDERS = {
    "beans": beans, "wheat": wheat, "shells": shells, "feathers": feathers, "crate": crate, "rope": rope,
    "gears": gears, "cones": cones, "lantern": lantern, "reel": reel,
}  # fmt: skip
