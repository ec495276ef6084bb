"""Free forms: lofts of cross-sections, sweeps along curves in space, plates cut to an outline, and groups of bodies."""

from collections.abc import Callable, Iterator, Sequence
from math import cos, pi, sin

import bmesh
import bpy
from mathutils import Matrix, Vector

from .meshes import bevelled, mesh

Ring = Sequence[Sequence[float]]
FRONT = (pi / 2, 0.0, 0.0)  # turns a lathe's axis towards the camera
SIDE = (0.0, pi / 2, 0.0)  # turns a lathe's axis along x


def solid(vertices: list, faces: list, material, uv: list | None = None, smooth: bool = True):
    """A mesh whose faces all look outwards, which glass and bumps need."""
    body = mesh("solid", [tuple(v) for v in vertices], faces, material, uv, smooth)
    work = bmesh.new()
    work.from_mesh(body.data)
    bmesh.ops.recalc_face_normals(work, faces=work.faces)
    work.to_mesh(body.data)
    work.free()
    return body


def loft(rings: Sequence[Ring], material, caps: bool = True, closed: bool = False):
    """A skin over rings of equally many points; `closed` joins the last ring to the first."""
    n, count = len(rings[0]), len(rings)
    faces = [
        (i * n + j, i * n + (j + 1) % n, (i + 1) % count * n + (j + 1) % n, (i + 1) % count * n + j)
        for i in range(count if closed else count - 1)
        for j in range(n)
    ]
    if caps and not closed:
        faces += [tuple(range(n))[::-1], tuple(range((count - 1) * n, count * n))]
    return solid([point for ring in rings for point in ring], faces, material)


def sheet(at: Callable[[float, float], Sequence[float]], columns: int, rows: int, material):
    """A surface at(u, v) over the unit square, printed with its UV coordinates."""
    grid = [(u / columns, v / rows) for v in range(rows + 1) for u in range(columns + 1)]
    faces = [
        (v * (columns + 1) + u, v * (columns + 1) + u + 1, (v + 1) * (columns + 1) + u + 1, (v + 1) * (columns + 1) + u)
        for v in range(rows)
        for u in range(columns)
    ]
    return mesh("sheet", [tuple(at(u, v)) for u, v in grid], faces, material, grid)


def oval(rx: float, ry: float, power: float = 2.0, count: int = 40) -> list[tuple[float, float]]:
    """A superellipse: 2 is an ellipse, more is boxier. Starts at (rx, 0)."""
    bent = lambda t: (abs(t) ** (2 / power)) * (1 if t >= 0 else -1)  # noqa: E731
    return [(rx * bent(cos(2 * pi * i / count)), ry * bent(sin(2 * pi * i / count))) for i in range(count)]


def tablet(width: float, height: float, radius: float, steps: int = 5) -> list[tuple[float, float]]:
    """The outline of a rectangle with round corners (cut ones with steps = 1), centred on 0."""
    points = []
    for quarter, (i, k) in enumerate(((1, 1), (-1, 1), (-1, -1), (1, -1))):
        cx, cz = i * (width / 2 - radius), k * (height / 2 - radius)
        for step in range(steps + 1):
            angle = pi / 2 * (quarter + step / steps)
            points.append((cx + radius * cos(angle), cz + radius * sin(angle)))
    return points


def plate(outline: Sequence[tuple[float, float]], depth: float, centre: Sequence[float], material, bevel: float = 0.01):
    """An outline in the xz plane, `depth` thick along y about `centre`."""
    cx, cy, cz = centre
    n = len(outline)
    vertices = [(cx + x, cy + side * depth / 2, cz + z) for side in (-1, 1) for x, z in outline]
    faces = [tuple(range(n)), tuple(range(n, 2 * n))[::-1]]
    faces += [(i, n + i, n + (i + 1) % n, (i + 1) % n) for i in range(n)]
    return bevelled(solid(vertices, faces, material), bevel)


def decal(outline: Sequence[tuple[float, float]], centre: Sequence[float], material):
    """A print cut to an outline in the xz plane, facing the camera."""
    xs, zs = [x for x, _ in outline], [z for _, z in outline]
    left, low, width, height = min(xs), min(zs), max(xs) - min(xs), max(zs) - min(zs)
    vertices = [(centre[0] + x, centre[1], centre[2] + z) for x, z in outline]
    uv = [((x - left) / width, (z - low) / height) for x, z in outline]
    return mesh("decal", vertices, [tuple(range(len(outline)))], material, uv, smooth=False)


def sweep(
    path: Sequence[Sequence[float]],
    section: Sequence[tuple[float, float]],
    material,
    across: Sequence[float] | None = None,
    sizes: Sequence[float] | None = None,
    closed: bool = False,
):
    """A section carried along a curve in space; its second coordinate points `across` (free where that is None)."""
    points = [Vector(p) for p in path]
    count, side, rings = len(points), None, []
    for i, point in enumerate(points):
        before = points[i - 1] if closed else points[max(i - 1, 0)]
        after = points[(i + 1) % count] if closed else points[min(i + 1, count - 1)]
        tangent = (after - before).normalized()
        if across is not None:
            side = Vector(across)
        elif side is None:
            side = tangent.orthogonal()
        side = (side - tangent * side.dot(tangent)).normalized()
        normal, size = side.cross(tangent), sizes[i] if sizes else 1.0
        rings.append([point + normal * a * size + side * b * size for a, b in section])
    return loft(rings, material, closed=closed)


def pipe(path: Sequence[Sequence[float]], radius: float, material, sides: int = 8, closed: bool = False, sizes=None):
    return sweep(path, oval(radius, radius, count=sides), material, sizes=sizes, closed=closed)


def hoop(radius: float, thickness: float, centre: Sequence[float], material, axis: str = "z", segments: int = 40):
    """A torus about an axis through `centre`."""
    turns = [(radius * cos(2 * pi * i / segments), radius * sin(2 * pi * i / segments)) for i in range(segments)]
    cx, cy, cz = centre
    spread = {"z": lambda a, b: (a, b, 0), "y": lambda a, b: (a, 0, b), "x": lambda a, b: (0, a, b)}[axis]
    path = [(cx + x, cy + y, cz + z) for x, y, z in (spread(a, b) for a, b in turns)]
    return pipe(path, thickness, material, closed=True)


def smooth(values: Sequence[Sequence[float]], steps: int = 4) -> Iterator[tuple[float, ...]]:
    """A Catmull-Rom curve through points of any dimension."""
    last = len(values) - 1
    for i in range(last):
        a, b, c, d = values[max(i - 1, 0)], values[i], values[i + 1], values[min(i + 2, last)]
        for step in range(steps):
            t = step / steps
            yield tuple(
                q + 0.5 * t * (r - p + t * (2 * p - 5 * q + 4 * r - s + t * (3 * (q - r) + s - p)))
                for p, q, r, s in zip(a, b, c, d, strict=True)
            )
    yield tuple(values[last])


def place(body, at: Sequence[float], turn: Sequence[float] = (0.0, 0.0, 0.0)):
    body.location, body.rotation_euler = at, turn
    return body


class Group:
    """The bodies made since the group was."""

    def __init__(self) -> None:
        self.before = set(bpy.context.scene.objects)

    def bodies(self) -> list:
        return [body for body in bpy.context.scene.objects if body not in self.before]

    def move(self, matrix: Matrix) -> None:
        for body in self.bodies():
            body.matrix_basis = matrix @ body.matrix_basis

    def turn(self, angle: float, axis: str, pivot: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        there = Matrix.Translation(pivot)
        self.move(there @ Matrix.Rotation(angle, 4, axis) @ there.inverted())

    def settle(self) -> None:
        """Stands the group on z = 0, centred on x = y = 0."""
        points = [body.matrix_basis @ vertex.co for body in self.bodies() for vertex in body.data.vertices]
        low = [min(p[i] for p in points) for i in range(3)]
        high = [max(p[i] for p in points) for i in range(3)]
        self.move(Matrix.Translation((-(low[0] + high[0]) / 2, -(low[1] + high[1]) / 2, -low[2])))
