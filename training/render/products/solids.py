"""Solids beyond turning and boxes: lofts, bent pipes, rings; shared by the cosmetics and household shapes."""

from collections.abc import Iterable, Sequence
from math import copysign, cos, pi, sin

import bpy
from mathutils import Euler, Matrix, Vector

from ..meshes import Profile, lathe, mesh, rounded

Points = Sequence[Sequence[float]]


def loft(sections: Sequence[Points], material):
    """A skin over cross-sections of equally many points, closed at both ends; a print covers it as seen from -y."""
    count = len(sections[0])
    points = [tuple(point) for section in sections for point in section]
    faces = [
        (i * count + k, i * count + (k + 1) % count, (i + 1) * count + (k + 1) % count, (i + 1) * count + k)
        for i in range(len(sections) - 1)
        for k in range(count)
    ]
    faces += [tuple(range(count))[::-1], tuple(range(len(points) - count, len(points)))]
    xs, zs = [p[0] for p in points], [p[2] for p in points]
    wide, high = max(max(xs) - min(xs), 1e-9), max(max(zs) - min(zs), 1e-9)
    uv = [((x - min(xs)) / wide, (z - min(zs)) / high) for x, _, z in points]
    return mesh("loft", points, faces, material, uv)


def oval(z: float, rx: float, ry: float, power: float = 2.0, count: int = 40) -> list[tuple[float, float, float]]:
    """A horizontal ellipse, squarer as `power` grows."""
    angles = [2 * pi * (i + 0.5) / count for i in range(count)]
    bent = [
        (copysign(abs(cos(a)) ** (2 / power), cos(a)), copysign(abs(sin(a)) ** (2 / power), sin(a))) for a in angles
    ]
    return [(rx * x, ry * y, z) for x, y in bent]


def pressed(profile: Profile, material, ratio: float = 1.0, power: float = 2.0, bevel: float = 0.03):
    """Like lathe, with oval or rounded-square cross-sections, `ratio` times as deep as wide."""
    return loft([oval(z, r, r * ratio, power) for r, z in rounded(profile, bevel)], material)


def ribbed(radius: float, z0: float, z1: float, material, ribs: int = 32, depth: float = 0.03, bevel: float = 0.02):
    """A screw cap's or handle's cylinder with grooves along its height; `depth` is a share of the radius."""
    count = 4 * ribs
    sections = []
    for r, z in rounded([(radius * 0.6, z0), (radius, z0), (radius, z1), (radius * 0.6, z1)], bevel):
        waves = [r * (1 - depth * (k % 4 in (0, 1))) for k in range(count)]
        sections.append([(w * cos(2 * pi * k / count), w * sin(2 * pi * k / count), z) for k, w in enumerate(waves)])
    return loft(sections, material)


def ring(radius: float, thick: float, z: float, material):
    """A torus about z, its middle at height `z`."""
    profile = [(radius + thick * cos(pi * i / 6), z + thick * sin(pi * i / 6)) for i in range(-6, 7)]
    return lathe(profile, material, bevel=0)


def pipe(path: Points, radius: float | Sequence[float], material, sides: int = 12):
    """A round rod along a path in space; `radius` may be given for each point."""
    points = [Vector(p) for p in path]
    radii = [radius] * len(points) if isinstance(radius, int | float) else radius
    sections = []
    across = None
    for i, (point, r) in enumerate(zip(points, radii, strict=True)):
        along = (points[min(i + 1, len(points) - 1)] - points[max(i - 1, 0)]).normalized()
        start = along.orthogonal() if across is None else across
        across = (start - along * start.dot(along)).normalized()  # carried along, so that the rod doesn't twist
        other = along.cross(across)
        turns = [2 * pi * k / sides for k in range(sides)]
        sections.append([tuple(point + (across * cos(a) + other * sin(a)) * r) for a in turns])
    return loft(sections, material)


def curve(points: Points, steps: int = 6) -> list[Vector]:
    """A smooth path (Catmull-Rom) through points."""
    p = [Vector(q) for q in points]
    p = [2 * p[0] - p[1], *p, 2 * p[-1] - p[-2]]
    path = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        for i in range(steps):
            t = i / steps
            path.append(
                0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
            )
    return [*path, p[-2]]


def moved(bodies: Iterable[bpy.types.Object], to: Sequence[float], turn: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
    """Turns bodies about the origin (Euler angles), then shifts them."""
    matrix = Matrix.Translation(to) @ Euler(turn).to_matrix().to_4x4()
    for body in bodies:
        body.matrix_basis = matrix @ body.matrix_basis
