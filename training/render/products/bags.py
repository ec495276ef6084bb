"""Bags and pouches, and the mesh helpers that food and drinks share."""

import random
from collections.abc import Callable, Sequence
from math import cos, pi, sin

import bpy

from .. import materials as m
from ..labels import Emblem, label_image
from ..meshes import lathe, mesh, panel


def band(rng: random.Random, r: Sequence[float], z: Sequence[float], arc: float = 2.6, ground=None,
         emblem: Emblem | None = None, roughness: float = 0.45):  # fmt: skip
    """A printed band on a round or conical body, from radius r[0] at z[0] to r[1] at z[1]."""
    image = label_image(rng, (r[0] + r[1]) / 2 * arc / (z[1] - z[0]), ground, emblem, min(1.0, 1.9 / arc))
    return lathe([(r[0], z[0]), (r[1], z[1])], m.picture(image, roughness), arc=arc, bevel=0)


def sheet(rng: random.Random, width: float, height: float, centre: Sequence[float], ground=None,
          emblem: Emblem | None = None, roughness: float = 0.45):  # fmt: skip
    """A printed rectangle on a flat front; `centre` is its middle."""
    return panel(width, height, centre, m.picture(label_image(rng, width / height, ground, emblem), roughness))


def pipe(path: Sequence[Sequence[float]], radii: Sequence[float], material, sides: int = 16):
    """A tube in the xz plane of changing radius, closed at both ends: spouts."""
    vertices, faces = [], []
    for i, (point, radius) in enumerate(zip(path, radii, strict=True)):
        before, after = path[max(i - 1, 0)], path[min(i + 1, len(path) - 1)]
        tx, tz = after[0] - before[0], after[2] - before[2]
        length = max((tx * tx + tz * tz) ** 0.5, 1e-9)
        for k in range(sides):
            a = 2 * pi * k / sides
            out = cos(a) * radius
            vertices.append((point[0] - tz / length * out, point[1] + sin(a) * radius, point[2] + tx / length * out))
    for i in range(len(path) - 1):
        for k in range(sides):
            j = (k + 1) % sides
            faces.append((i * sides + k, i * sides + j, (i + 1) * sides + j, (i + 1) * sides + k))
    faces += [tuple(range(sides)), tuple(range(len(vertices) - sides, len(vertices)))]
    return mesh("pipe", vertices, faces, material)


def curve(*points: Sequence[float], steps: int = 8) -> list[tuple[float, float, float]]:
    """A smooth path through points (x, z) of the xz plane (Catmull-Rom)."""
    ends = [points[0], *points, points[-1]]
    path = []
    for a, b, c, d in zip(ends, ends[1:], ends[2:], ends[3:], strict=False):
        for i in range(steps):
            t = i / steps
            x, z = (
                0.5 * (2 * q + (r - p) * t + (2 * p - 5 * q + 4 * r - s) * t * t + (3 * q - p - 3 * r + s) * t**3)
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
            path.append((x, 0.0, z))
    return [*path, (points[-1][0], 0.0, points[-1][1])]


def ring(radius: float, thickness: float, centre: Sequence[float], material):
    """A ring lying flat."""
    profile = [(radius + thickness * cos(2 * pi * i / 8), thickness * sin(2 * pi * i / 8)) for i in range(9)]
    body = lathe(profile, material, 24, bevel=0)
    body.location = centre
    return body


def pouch(rng: random.Random, size: Sequence[float], material, ground=None, emblem: Emblem | None = None,
          full: float = 0.3, seal: float = 0.06, cover: tuple[float, float, float] = (0.9, 0.06, 0.9)):  # fmt: skip
    """A bag of film standing on its base, flattening into a seal at the top, its front printed.

    `full` is the height share where it is fullest, `cover` the printed share of the width and its lower and upper end.
    """
    width, depth, height = size
    phase, creases = rng.uniform(0, 6), rng.uniform(0.02, 0.05)

    def outline(t: float) -> tuple[float, float]:
        """Half width and half depth at the height share t."""
        body = max(0.0, 1 - seal - t) / (1 - seal)
        swell = min(1.0, 0.82 + 0.6 * min(t, full) / full * 0.3) if t < full else 1.0
        deep = swell * (min(1.0, body / (1 - full)) ** 0.75) if t > full else swell
        narrow = 1 - 0.05 * sin(pi * min(1.0, t / (1 - seal)))
        return width / 2 * narrow, max(depth / 2 * deep, 0.008)

    def front(x: float, t: float, half: float, deep: float) -> float:
        crease = creases * depth * min(1.0, t * 4) * (sin(9 * x / width + 5 * t + phase) * sin(11 * t + phase))
        flat = min(1.0, deep / 0.03)
        return deep * max(0.0, 1 - abs(x / half) ** 3.2) ** (1 / 2.2) + crease * flat * (1 - abs(x / half) ** 2)

    rows, columns = 24, 20
    shares = [i / rows * (1 - seal) for i in range(rows + 1)] + [1.0]
    vertices, faces = [], []
    for t in shares:
        half, deep = outline(t)
        xs = [-cos(pi * i / columns) * half for i in range(columns + 1)]
        loop = [(x, -front(x, t, half, deep), t * height) for x in xs]
        vertices += loop + [(x, -y, z) for x, y, z in loop[::-1]]
    count = 2 * (columns + 1)
    for i in range(len(shares) - 1):
        for k in range(count):
            j = (k + 1) % count
            faces.append((i * count + k, i * count + j, (i + 1) * count + j, (i + 1) * count + k))
    faces += [tuple(range(count))[::-1], tuple(range(len(vertices) - count, len(vertices)))]
    body = mesh("pouch", vertices, faces, material)

    wide, low, high = cover
    image = label_image(rng, width * wide / (height * (high - low)), ground, emblem)
    spots, uv, faces = [], [], []
    for i in range(rows + 1):
        t = low + (high - low) * i / rows
        half, deep = outline(t)
        for k in range(columns + 1):
            u = k / columns
            x = (2 * u - 1) * wide * half
            spots.append((x, -front(x, t, half, deep) - 0.006, t * height))
            uv.append((u, i / rows))
    for i in range(rows):
        for k in range(columns):
            a = i * (columns + 1) + k
            faces.append((a, a + 1, a + columns + 2, a + columns + 1))
    mesh("print", spots, faces, m.picture(image, rng.choice((0.25, 0.45))), uv)
    return body


def each(bodies: Sequence[bpy.types.Object], change: Callable[[bpy.types.Object], None]) -> None:
    """Does one thing to several bodies, as turning all parts of a product together."""
    bpy.context.view_layer.update()
    for body in bodies:
        change(body)
    bpy.context.view_layer.update()
