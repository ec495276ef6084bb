"""Bodies of revolution, boxes and small meshes. A product is about one unit high; z is up."""

from collections.abc import Sequence
from math import cos, pi, sin

import bpy

Profile = Sequence[tuple[float, float]]  # (radius, height), from the bottom up


def mesh(
    name: str, vertices: list, faces: list, material: bpy.types.Material, uv: list | None = None, smooth: bool = True
):
    data = bpy.data.meshes.new(name)
    data.from_pydata(vertices, [], faces)
    if uv is not None:
        layer = data.uv_layers.new()
        for loop in data.loops:
            layer.data[loop.index].uv = uv[loop.vertex_index]
    data.materials.append(material)
    if smooth:
        data.shade_smooth()
        data.set_sharp_from_angle(angle=0.7)
    body = bpy.data.objects.new(name, data)
    bpy.context.scene.collection.objects.link(body)
    return body


def rounded(profile: Profile, radius: float = 0.02, steps: int = 3) -> list[tuple[float, float]]:
    """The profile with its inner corners rounded by quadratic curves."""
    points = [profile[0]]
    for before, corner, after in zip(profile, profile[1:], profile[2:], strict=False):

        def toward(end, corner=corner):
            dr, dz = end[0] - corner[0], end[1] - corner[1]
            length = max((dr * dr + dz * dz) ** 0.5, 1e-9)
            share = min(radius / length, 0.45)
            return corner[0] + dr * share, corner[1] + dz * share

        a, b = toward(before), toward(after)
        for i in range(steps + 1):
            t = i / steps
            points.append(
                tuple((1 - t) ** 2 * p + 2 * t * (1 - t) * q + t * t * r for p, q, r in zip(a, corner, b, strict=True))
            )
    points.append(profile[-1])
    return points


def lathe(profile: Profile, material, segments: int = 48, bevel: float = 0.02, arc: float = 2 * pi):
    """Turns a profile about z. An `arc` below the full circle is centred on the camera's side (labels)."""
    points = rounded(profile, bevel) if bevel else list(profile)
    closed = arc >= 2 * pi - 1e-6
    columns = segments if closed else segments + 1
    start = -pi / 2 - arc / 2
    vertices, uv, faces = [], [], []
    low, high = points[0][1], points[-1][1]
    for column in range(columns):
        angle = start + arc * column / segments
        for radius, z in points:
            vertices.append((radius * cos(angle), radius * sin(angle), z))
            uv.append((column / segments, (z - low) / max(high - low, 1e-9)))
    rows = len(points)
    for column in range(segments):
        left, right = column * rows, ((column + 1) % columns) * rows
        for row in range(rows - 1):
            faces.append((left + row, right + row, right + row + 1, left + row + 1))
    return mesh("lathe", vertices, faces, material, uv)


def prism(sides: int, radius: float, z0: float, z1: float, material, bevel: float = 0.02):
    ring = [(cos(2 * pi * (i + 0.5) / sides) * radius, sin(2 * pi * (i + 0.5) / sides) * radius) for i in range(sides)]
    vertices = [(x, y, z0) for x, y in ring] + [(x, y, z1) for x, y in ring]
    faces = [tuple(range(sides))[::-1], tuple(range(sides, 2 * sides))]
    faces += [(i, (i + 1) % sides, sides + (i + 1) % sides, sides + i) for i in range(sides)]
    return bevelled(mesh("prism", vertices, faces, material), bevel)


def box(size: Sequence[float], centre: Sequence[float], material, bevel: float = 0.02):
    """A box whose `centre` is the middle of its bottom face."""
    x, y, z = size[0] / 2, size[1] / 2, size[2]
    cx, cy, cz = centre
    vertices = [(cx + i * x, cy + j * y, cz + k * z) for k in (0, 1) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    faces = [(3, 2, 1, 0), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)]
    return bevelled(mesh("box", vertices, faces, material), bevel)


def bevelled(body, width: float):
    if width > 0:
        modifier = body.modifiers.new("bevel", "BEVEL")
        modifier.width = width
        modifier.segments = 3
    return body


def panel(width: float, height: float, centre: Sequence[float], material):
    """A printed rectangle facing the camera (-y); `centre` is the middle of the rectangle."""
    cx, cy, cz = centre
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    vertices = [(cx + i * width / 2, cy, cz + k * height / 2) for i, k in corners]
    return mesh(
        "panel", vertices, [(0, 1, 2, 3)], material, [((i + 1) / 2, (k + 1) / 2) for i, k in corners], smooth=False
    )


def ball(radius: float, centre: Sequence[float], material, squash: float = 1.0, segments: int = 32):
    profile = [
        (max(radius * sin(pi * i / 16), 1e-4), centre[2] + radius * squash * (1 - cos(pi * i / 16))) for i in range(17)
    ]
    body = lathe(profile, material, segments, bevel=0)
    body.location = (centre[0], centre[1], 0)
    return body


def tube(path: Sequence[Sequence[float]], radius: float, material, sides: int = 10, flat: float = 1.0):
    """A round tube along a path in the xz plane (handles, stems); `flat` widens it along y."""
    vertices, faces = [], []
    for i, point in enumerate(path):
        before, after = path[max(i - 1, 0)], path[min(i + 1, len(path) - 1)]
        tx, tz = after[0] - before[0], after[2] - before[2]
        length = max((tx * tx + tz * tz) ** 0.5, 1e-9)
        for side in range(sides):
            a = 2 * pi * side / sides
            outward, sideways = cos(a) * radius, sin(a) * radius * flat
            vertices.append((point[0] - tz / length * outward, point[1] + sideways, point[2] + tx / length * outward))
    for i in range(len(path) - 1):
        for side in range(sides):
            j, n = (side + 1) % sides, sides
            faces.append((i * n + side, i * n + j, (i + 1) * n + j, (i + 1) * n + side))
    return mesh("tube", vertices, faces, material)


def leaf(length: float, width: float, material, bend: float = 0.25):
    """A leaf lying along +x from the origin, tip bent down."""
    outline = [(0.0, 0.02), (0.2, 0.7), (0.45, 1.0), (0.75, 0.65), (1.0, 0.0)]
    vertices, faces = [], []
    for t, w in outline:
        z = -bend * length * t * t
        vertices += [
            (t * length, -w * width / 2, z + 0.1 * w * width),
            (t * length, 0, z),
            (t * length, w * width / 2, z + 0.1 * w * width),
        ]
    for i in range(len(outline) - 1):
        a, b = 3 * i, 3 * i + 3
        faces += [(a, b, b + 1, a + 1), (a + 1, b + 1, b + 2, a + 2)]
    return mesh("leaf", vertices, faces, material)
