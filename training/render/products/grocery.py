"""From the shelf: honey, cereal, chocolate, spices, cheese and pet food."""

import random
from math import cos, pi, sin

import bmesh
import bpy
from mathutils import Matrix

from .. import materials as m
from ..labels import linear, vivid
from ..meshes import ball, box, lathe, mesh, prism
from . import emblems
from .bags import band, each, pouch, ring, sheet
from .parts import Builder, cap_material, finish, paint

STEEL = (0.75, 0.75, 0.76)


def honey(rng: random.Random, family: str):
    amber = m.glass(rng.choice(((0.95, 0.45, 0.04), (0.85, 0.3, 0.02), (0.95, 0.62, 0.15), (0.6, 0.18, 0.02))))
    paper = rng.choice(((250, 240, 205), (245, 245, 240), (250, 190, 50), (40, 30, 20)))
    if family == "jar":
        r, h = rng.uniform(0.31, 0.36), rng.uniform(0.62, 0.74)
        lathe([(0.001, 0.01), (r * 0.9, 0), (r, 0.06), (r, h - 0.12), (r * 0.8, h), (0.001, h)], amber, bevel=0.06)
        band(rng, (r + 0.004,) * 2, (0.1, h - 0.16), 2.2, paper, emblems.comb)
        lid = [(0.001, h - 0.015), (r * 0.86, h - 0.015), (r * 0.86, h + 0.12), (0.001, h + 0.13)]
        return [lathe(lid, cap_material(rng), bevel=0.015)]
    if family == "hexagon":
        r, h = rng.uniform(0.34, 0.38), rng.uniform(0.56, 0.66)
        prism(6, r, 0, h, amber, 0.03).rotation_euler = (0, 0, pi / 6)  # a side, not an edge, to the front
        lathe([(0.001, h - 0.01), (r * 0.7, h - 0.01), (r * 0.7, h + 0.06), (0.001, h + 0.06)], amber)
        sheet(rng, r * 0.92, h * 0.7, (0, -r * 0.866 - 0.004, h * 0.5), paper, emblems.comb)
        lid = lathe([(0.001, h + 0.03), (r * 0.8, h + 0.03), (r * 0.8, h + 0.16), (0.001, h + 0.17)], cap_material(rng))
        return [lid]
    r = rng.uniform(0.27, 0.31)
    cap = lathe([(0.001, 0), (r * 0.72, 0), (r * 0.72, 0.14), (r * 0.6, 0.16), (0.001, 0.16)],
                finish(rng, rng.choice(((0.8, 0.35, 0.01), (0.02, 0.02, 0.02), paint(rng)))), bevel=0.02)  # fmt: skip
    body = lathe([(0.001, 0.15), (r * 0.62, 0.15), (r * 0.95, 0.3), (r, 0.5), (r * 0.86, 0.78), (r * 0.5, 0.93),
                  (0.001, 0.95)], amber, bevel=0.1)  # fmt: skip
    label = band(rng, (r * 0.99 + 0.006, r * 0.92 + 0.006), (0.4, 0.7), 2.2, paper, emblems.comb)
    for part in (cap, body, label):
        part.scale = (1, 0.66, 1)  # a squeeze bottle is oval
    return [cap]


def cereal(rng: random.Random, family: str):
    hue = vivid(rng, (0.6, 1.0), (0.55, 1.0))
    if family == "pouch":
        size = (rng.uniform(0.62, 0.7), rng.uniform(0.24, 0.3), rng.uniform(0.9, 1.0))
        film = rng.choice((m.plain(linear(hue), 0.25), m.metal(STEEL, 0.3)))
        pouch(rng, size, film, hue, emblems.cereal_bowl, full=0.4, cover=(0.9, 0.05, 0.93))
        return None
    w, d, h = (rng.uniform(0.62, 0.7), 0.2, 0.94) if family == "box" else (rng.uniform(0.34, 0.4), 0.2, 0.98)
    box((w, d, h), (0, 0, 0), m.plain(linear(vivid(rng) if rng.random() < 0.3 else hue), 0.4), 0.008)
    sheet(rng, w * 0.985, h * 0.985, (0, -d / 2 - 0.003, h / 2), hue, emblems.cereal_bowl, 0.3)
    if rng.random() < 0.6:
        return None
    # opened: the back flap of its top stands up
    flap = box((w * 0.98, 0.008, 0.1), (0, 0, 0), m.plain((0.55, 0.42, 0.3), 0.7), 0)
    flap.location, flap.rotation_euler = (0, d / 2 - 0.005, h), (-0.35, 0, 0)
    return [flap]


def cocoa(rng: random.Random):
    return m.plain(rng.choice(((0.06, 0.02, 0.008), (0.14, 0.055, 0.022), (0.035, 0.012, 0.006))), 0.3)


def chocolate(rng: random.Random, family: str):
    hue = rng.choice((vivid(rng, (0.4, 1.0), (0.2, 0.9)), (45, 22, 14), (235, 225, 205), vivid(rng)))
    brown, gold = cocoa(rng), (0.83, 0.6, 0.28)
    if family == "bar":
        w, h, d = rng.uniform(0.46, 0.54), 1.0, 0.06
        paper_top = rng.uniform(0.62, 0.74)
        parts = [box((w, d, paper_top), (0, 0, 0), m.plain(linear(hue), 0.4), 0.012)]
        parts.append(sheet(rng, w * 0.98, paper_top * 0.98, (0, -d / 2 - 0.003, paper_top / 2), hue, emblems.squares))
        foil = m.metal(rng.choice((STEEL, gold)), 0.25)
        parts.append(box((w * 0.97, d * 0.9, 0.07), (0, 0, paper_top - 0.01), foil, 0.004))
        edge = [(-w * 0.48 + w * 0.96 * i / 12, -d * 0.5 - 0.002, paper_top + 0.05 + (0.035 if i % 2 else 0.0))
                for i in range(13)]  # fmt: skip
        base = [(x, y, paper_top) for x, y, _ in edge]
        parts.append(mesh("torn", [*edge, *base], [(13 + i, 14 + i, i + 1, i) for i in range(12)], foil, smooth=False))
        step = w * 0.94 / 3
        slab = box((w * 0.94, d * 0.5, h - paper_top), (0, 0.008, paper_top - 0.02), brown, 0.004)
        row, rows = h - 0.03, []
        while row - step > paper_top - 0.1:
            row -= step
            rows += [
                box((step * 0.88, d * 0.7, step * 0.88), ((i - 1) * step, -0.004, row), brown, 0.016) for i in range(3)
            ]
        lean = Matrix.Rotation(-rng.uniform(0.08, 0.2), 4, "X") @ Matrix.Translation((0, -d / 2, 0))  # on its back edge
        every = [*parts, slab, *rows]
        each(every, lambda body: setattr(body, "matrix_world", lean @ body.matrix_world))
        return [slab, *rows]
    if family == "box":
        w, d, h = rng.uniform(0.82, 0.92), 0.5, 0.11
        shell = m.plain(linear(hue), 0.35)
        box((w, d, h), (0, -0.2, 0), shell, 0.01)
        box((w * 0.94, d * 0.9, 0.012), (0, -0.2, h - 0.006), m.plain((0.85, 0.8, 0.7), 0.6), 0)
        kinds = [brown, cocoa(rng), m.plain((0.8, 0.68, 0.5), 0.35), m.metal(gold, 0.3)]
        for i in range(5):
            for k in range(3):
                x, y, what = (i - 2) * w * 0.185, -0.2 + (k - 1) * d * 0.29, rng.choice(kinds)
                if rng.random() < 0.5:
                    ball(0.065, (x, y, h - 0.02), what, 0.85, 20)
                else:
                    box((0.12, 0.11, 0.08), (x, y, h), what, 0.03)
        lid = box((w * 1.02, 0.07, d * 1.05), (0, 0, 0), shell, 0.01)
        face = sheet(rng, w * 0.98, d, (0, -0.038, d * 0.525), hue, None)
        ribbon = m.plain(paint(rng, saturation=(0.5, 1.0), value=(0.3, 0.9)), 0.25)
        bands = [box((0.05, 0.084, d * 1.06), (-w * 0.3, 0, 0), ribbon, 0)]
        bands += [ball(0.07, (-w * 0.3 + s * 0.06, -0.05, d * 0.78), ribbon, 0.7, 16) for s in (-1, 1)]
        lean = Matrix.Translation((0, 0.14, 0)) @ Matrix.Rotation(-rng.uniform(0.15, 0.35), 4, "X")
        lean = lean @ Matrix.Translation((0, -0.035, 0))  # it stands on its back edge
        each([lid, face, *bands], lambda body: setattr(body, "matrix_world", lean @ body.matrix_world))
        return [lid, face, *bands]
    r, h = rng.uniform(0.13, 0.16), rng.uniform(0.88, 0.98)
    lathe([(0.001, 0), (r, 0), (r, h), (0.001, h)], m.plain(linear(hue), 0.4), bevel=0.006)
    band(rng, (r + 0.003,) * 2, (0.05, h - 0.1), 2 * pi, hue, emblems.squares, 0.35)
    metal = cap_material(rng)
    lathe([(r + 0.008, 0), (r + 0.008, 0.045), (r, 0.046)], metal, bevel=0.004)
    lid = [(r + 0.008, h - 0.09), (r + 0.008, h), (r * 0.93, h + 0.012), (0.001, h + 0.012)]
    for i in range(rng.choice((4, 5, 6))):
        a = -pi / 2 + (i - 2) * 0.42
        sweet = m.plain(paint(rng, saturation=(0.6, 1.0), value=(0.4, 1.0)), 0.2) if rng.random() < 0.5 else brown
        ball(0.055, (cos(a) * (r + 0.13), sin(a) * (r + rng.uniform(0.08, 0.15)), 0), sweet, 0.6, 20)
    return [lathe(lid, metal, bevel=0.006)]


def spice(rng: random.Random, family: str):
    hue = rng.choice(((0.45, 0.05, 0.01), (0.75, 0.4, 0.02), (0.03, 0.025, 0.02), (0.16, 0.2, 0.04), (0.3, 0.13, 0.04),
                      (0.85, 0.82, 0.78)))  # fmt: skip
    if family == "grinder":
        wood = rng.choice((m.wood(rng, (0.55, 0.33, 0.15), (0.3, 0.14, 0.06)), m.plain((0.02, 0.015, 0.012), 0.15),
                           m.wood(rng, (0.3, 0.14, 0.06), (0.1, 0.04, 0.02)), finish(rng, paint(rng))))  # fmt: skip
        r, waist = rng.uniform(0.16, 0.19), rng.uniform(0.08, 0.11)
        lathe([(0.001, 0), (r, 0), (r, 0.07), (r * 0.86, 0.11), (waist, 0.3), (r * 0.72, 0.5), (r * 0.8, 0.6),
               (r * 0.66, 0.64), (0.001, 0.64)], wood, bevel=0.04)  # fmt: skip
        steel = m.metal(STEEL, 0.2)
        lathe([(0.001, 0.635), (r * 0.66, 0.635), (r * 0.66, 0.66), (0.001, 0.66)], steel, bevel=0.004)
        head = lathe(
            [(r * 0.66, 0.655), (r * 0.8, 0.7), (r * 0.84, 0.8), (r * 0.55, 0.9), (0.001, 0.91)], wood, bevel=0.06
        )
        return [head, ball(0.042, (0, 0, 0.905), steel)]
    grain = m.speckled(rng, hue, 45.0, 0.5, 0.5, 0.8)
    clear, top = m.glass((0.96, 0.97, 0.97)), cap_material(rng)
    paper = rng.choice(((246, 243, 234), (30, 28, 30), vivid(rng, (0.3, 0.8), (0.4, 0.9))))
    if family == "shaker":
        r, h = rng.uniform(0.19, 0.23), rng.uniform(0.6, 0.68)
        lathe([(0.001, 0), (r, 0), (r, h - 0.06), (r * 0.86, h), (0.001, h)], clear, bevel=0.03)
        lathe([(0.001, 0.03), (r - 0.02, 0.03), (r - 0.02, h * 0.8), (0.001, h * 0.82)], grain, bevel=0.02)
        band(rng, (r + 0.003,) * 2, (h * 0.16, h * 0.66), 2.2, paper)
        dome = m.metal(rng.choice((STEEL, (0.83, 0.6, 0.28))), 0.2)
        cap = lathe([(0.001, h - 0.03), (r * 0.95, h - 0.03), (r * 0.95, h + 0.08), (r * 0.8, h + 0.17),
                     (r * 0.4, h + 0.22), (0.001, h + 0.23)], dome, bevel=0.04)  # fmt: skip
        black = m.plain((0.005, 0.005, 0.005), 0.9)
        for i in range(14):  # the holes, on the dome's slope
            a, tier = 2 * pi * i / 7 + (0.45 if i >= 7 else 0), i >= 7
            at, z = (r * 0.55, h + 0.185) if tier else (r * 0.78, h + 0.145)
            ball(0.019, (cos(a) * at, sin(a) * at, z - 0.026), black, 1.0, 8)
        return [cap]
    w, h = rng.uniform(0.36, 0.44), rng.uniform(0.6, 0.72)
    box((w, w, h), (0, 0, 0), clear, 0.05)
    box((w - 0.05, w - 0.05, h * 0.82), (0, 0, 0.025), grain, 0.03)
    lathe([(0.001, h - 0.005), (w * 0.4, h - 0.005), (w * 0.4, h + 0.05), (0.001, h + 0.05)], clear)
    sheet(rng, w * 0.76, h * 0.5, (0, -w / 2 - 0.003, h * 0.45), paper)
    lid = lathe([(0.001, h + 0.02), (w * 0.46, h + 0.02), (w * 0.46, h + 0.16), (0.001, h + 0.17)], top, bevel=0.015)
    return [lid]


def sphere(r: float, centre: tuple[float, float, float], material) -> bpy.types.Object:
    """A closed ball: cutting needs one without the pinholes that turned profiles leave at their poles."""
    shape = bmesh.new()
    bmesh.ops.create_icosphere(shape, subdivisions=3, radius=r, matrix=Matrix.Translation(centre))
    data = bpy.data.meshes.new("sphere")
    shape.to_mesh(data)
    shape.free()
    data.materials.append(material)
    data.shade_smooth()
    body = bpy.data.objects.new("sphere", data)
    bpy.context.scene.collection.objects.link(body)
    return body


def carved(body: bpy.types.Object, cutters: list[bpy.types.Object]) -> bpy.types.Object:
    """Takes the cutters out of the body for good: they must not stay in the scene."""
    for cutter in cutters:
        modifier = body.modifiers.new("hole", "BOOLEAN")
        modifier.object, modifier.operation = cutter, "DIFFERENCE"
    bpy.context.view_layer.update()
    shape = bpy.data.meshes.new_from_object(body.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    body.modifiers.clear()
    body.data = shape
    for cutter in cutters:
        bpy.data.objects.remove(cutter)
    return body


def sector(r: float, h: float, start: float, sweep: float, paste, rind):
    """A piece of a round cheese about z: cut faces of paste, the outside of rind."""
    count = 24
    arc = [(r * cos(start + sweep * i / count), r * sin(start + sweep * i / count)) for i in range(count + 1)]
    flat = [(0.0, 0.0), *arc]
    n = len(flat)
    vertices = [(x, y, 0) for x, y in flat] + [(x, y, h) for x, y in flat]
    faces = [tuple(range(n))[::-1], tuple(range(n, 2 * n)), (0, 1, n + 1, n), (n - 1, 0, n, 2 * n - 1)]
    faces += [(i, i + 1, n + i + 1, n + i) for i in range(1, n - 1)]
    body = mesh("cheese", vertices, faces, paste)
    body.data.materials.append(rind)
    for index, face in enumerate(body.data.polygons):
        face.material_index = 1 if index > 3 or (index < 2 and rind.name.startswith("speckled")) else 0
    return body


def cheese(rng: random.Random, family: str):
    pale = rng.choice(((0.85, 0.6, 0.18), (0.85, 0.7, 0.36), (0.85, 0.4, 0.06), (0.85, 0.75, 0.5)))
    paste = m.plain(pale, 0.4, subsurface_weight=0.1)
    crust, waxes = m.mixed(pale, (0.3, 0.12, 0.03), 0.6), ((0.5, 0.02, 0.02), (0.8, 0.35, 0.02), (0.02, 0.02, 0.02),
                                                           (0.8, 0.76, 0.66))  # fmt: skip
    rind = m.speckled(rng, crust, 8, 0.3, 0.2, 0.6) if rng.random() < 0.5 else m.plain(rng.choice(waxes), 0.3)
    holes = rng.random() < 0.75

    def hole(x: float, y: float, z: float, r: float):
        return sphere(r, (x, y, z), paste)

    if family == "wedge":
        r, h, sweep = rng.uniform(0.85, 0.95), rng.uniform(0.34, 0.46), rng.uniform(0.65, 0.85)
        # the tip points left or right and a little forward, so that one cut face shows at full length
        start = rng.choice((0.04, pi - 0.04 - sweep))
        body = sector(r, h, start, sweep, paste, rind)
        if holes:
            face = start if start < 1 else start + sweep
            cuts = []
            for _ in range(9):
                q, z, s = rng.uniform(0.2, 0.9) * r, rng.uniform(0.15, 0.85) * h, rng.uniform(0.035, 0.08)
                cuts.append(hole(q * cos(face), q * sin(face) - 0.01, z, s))
            for _ in range(3):
                a, q = start + rng.uniform(0.2, 0.8) * sweep, rng.uniform(0.3, 0.85) * r
                cuts.append(hole(q * cos(a), q * sin(a), h, rng.uniform(0.03, 0.05)))
            carved(body, cuts)
        shift = Matrix.Translation((-0.46 * r * (1 if start < 1 else -1), -0.33, 0))
        each([body], lambda part: setattr(part, "matrix_world", shift @ part.matrix_world))
        return None
    if family == "wheel":
        r, h = rng.uniform(0.46, 0.52), rng.uniform(0.26, 0.38)
        gap = rng.uniform(0.6, 1.0)
        start = -pi / 2 + rng.uniform(-0.5, 0.5)
        sector(r, h, start + gap / 2, 2 * pi - gap, paste, rind)
        lathe(
            [(0.001, h + 0.002), (r * 0.3, h + 0.002)], m.plain((0.85, 0.84, 0.8), 0.5), arc=2 * pi - gap - 1.0, bevel=0
        )
        piece = sector(r * 0.97, h, -pi / 2 - gap * 0.4, gap * 0.8, paste, rind)
        piece.location = (cos(start) * 0.16 + 0.1, -0.2, 0)
        if rng.random() < 0.5:
            bpy.data.objects.remove(piece)
        return None
    w, d, h = rng.uniform(0.7, 0.85), rng.uniform(0.34, 0.42), rng.uniform(0.36, 0.44)
    body = box((w, d, h), (0.13, 0.05, 0), paste, 0.0 if holes else 0.015)
    if holes:
        cuts = []
        for _ in range(10):
            x, z = 0.13 + rng.uniform(-0.45, 0.45) * w, rng.uniform(0.12, 0.88) * h
            cuts.append(hole(x, 0.05 - d / 2, z, rng.uniform(0.03, 0.075)))
        carved(body, cuts)
    for i in range(rng.choice((2, 3))):
        slice_ = box((0.025, d, h), (0, 0, 0), paste, 0.004)
        slice_.location = (0.13 - w / 2 - 0.07 - 0.05 * i, 0.05, 0.0)
        slice_.rotation_euler = (0, -0.12 - 0.1 * i, 0)
    return None


def kibble(rng: random.Random, r: float, z: float, rise: float):
    """A heap of biscuits as one mesh: a mound with pieces all over it."""
    brown = rng.choice(((0.2, 0.08, 0.03), (0.3, 0.14, 0.05), (0.14, 0.06, 0.03)))
    lathe([(r, z), (r * 0.6, z + rise * 0.7), (0.001, z + rise)], m.plain(brown, 0.9), bevel=0.1)
    vertices, faces = [], []
    for _ in range(150):
        q, a = rng.random() ** 0.5, rng.uniform(0, 2 * pi)
        cx, cy, cz, s = q * r * cos(a), q * r * sin(a), z + rise * (1 - q * q), rng.uniform(0.035, 0.05)
        tilt = (rng.uniform(-0.5, 0.5), rng.uniform(-0.5, 0.5))
        base = len(vertices)
        for level, size in ((-0.5, 0.75), (0.0, 1.0), (0.5, 0.75)):
            for k in range(8):
                x, y = s * size * cos(pi * k / 4), s * size * sin(pi * k / 4)
                vertices.append((cx + x, cy + y, cz + s * level + tilt[0] * x + tilt[1] * y))
        for row in (0, 8):
            faces += [(base + row + k, base + row + (k + 1) % 8, base + row + 8 + (k + 1) % 8, base + row + 8 + k)
                      for k in range(8)]  # fmt: skip
        faces.append(tuple(range(base + 16, base + 24)))
    return mesh("kibble", vertices, faces, m.plain(brown, 0.75))


def petfood(rng: random.Random, family: str):
    hue, animal = vivid(rng, (0.5, 1.0), (0.35, 0.95)), rng.choice((emblems.paw, emblems.cat))
    if family == "can":
        r, h = rng.uniform(0.36, 0.42), rng.uniform(0.46, 0.6)
        alu = m.metal(STEEL, 0.25)
        lathe([(0.001, 0), (r + 0.012, 0), (r + 0.012, 0.03), (r, 0.035), (r, h - 0.035)], alu, bevel=0.008)
        band(rng, (r + 0.003,) * 2, (0.045, h - 0.045), 2 * pi, hue, animal, 0.35)
        lid = lathe([(r, h - 0.04), (r + 0.014, h - 0.035), (r + 0.014, h), (r - 0.01, h), (r - 0.02, h - 0.02),
                     (0.001, h - 0.02)], alu, bevel=0.008)  # fmt: skip
        tab = ring(r * 0.24, 0.02, (0, -r * 0.5, 0), alu)
        tab.location, tab.rotation_euler = (0, -r * 0.35, h + 0.035), (0.35, 0, 0)
        return [lid, tab]
    if family == "bag":
        size = (rng.uniform(0.62, 0.7), rng.uniform(0.28, 0.34), rng.uniform(0.94, 1.02))
        film = m.plain(linear(hue), rng.choice((0.25, 0.45)))
        pouch(rng, size, film, hue, animal, full=0.45, seal=0.08, cover=(0.9, 0.05, 0.86))
        strip = box((size[0] * 0.95, 0.03, 0.05), (0, 0, size[2] * 0.95), finish(rng, paint(rng)), 0.006)
        return [strip]
    r, h = rng.uniform(0.42, 0.48), rng.uniform(0.24, 0.32)
    glaze = m.metal(STEEL, 0.2) if rng.random() < 0.25 else finish(rng, linear(hue))
    lathe([(0.001, 0), (r * 1.08, 0), (r * 1.08, 0.03), (r * 0.92, h), (r * 0.86, h), (r * 0.8, 0.1), (0.001, 0.1)],
          glaze, bevel=0.02)  # fmt: skip
    slope = lambda t: r * (1.08 - 0.16 * t) + 0.004  # noqa: E731
    band(rng, (slope(0.15), slope(0.88)), (h * 0.15 + 0.02, h * 0.88), 1.5, hue, emblems.paw, 0.3)
    return [kibble(rng, r * 0.84, h - 0.05, rng.uniform(0.12, 0.2))]


BUILDERS: dict[str, Builder] = {
    "honey": honey, "cereal": cereal, "chocolate": chocolate, "spice": spice, "cheese": cheese, "petfood": petfood,
}  # fmt: skip
