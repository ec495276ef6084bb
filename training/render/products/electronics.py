"""Electronics: headphones and phones."""

import random
from math import cos, pi, sin

from mathutils import Matrix, Vector
from PIL import Image, ImageDraw, ImageFont

from .. import materials as m
from ..labels import upload, vivid
from ..lofts import Group, decal, hoop, loft, oval, pipe, place, plate, smooth, sweep, tablet
from ..meshes import ball, box, lathe
from .parts import BLACK, GOLD, STEEL, Builder, finish, gadget, paint


def lit(image) -> object:
    """A screen: its own light under a sheet of glass."""
    shader = m.Shader("screen", "UV")
    node = shader.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader.link(shader.coordinates, node.inputs["Vector"])
    shader.link(node.outputs["Color"], shader.principled.inputs["Emission Color"])
    return shader.set(base_color=(0.0, 0.0, 0.0), emission_strength=1.1, roughness=0.06).material


def headset(rng: random.Random, width: float, top: float) -> list:
    """Headphones standing on their cups; returns the headband."""
    shell, pad = gadget(rng), m.plain(rng.choice((BLACK, (0.2, 0.15, 0.11), (0.5, 0.5, 0.48))), 0.6)
    trim = m.metal(rng.choice((STEEL, GOLD, (0.2, 0.2, 0.21))), 0.25)
    r, tall, yaw = rng.uniform(0.18, 0.22), rng.uniform(1.0, 1.25), rng.uniform(0.45, 0.9)
    band = []
    for side in (-1, 1):
        cup = Group()
        lathe([(0.09, -0.06), (r * 0.95, -0.085), (r * 1.05, -0.04), (r * 0.95, 0.0)], pad, bevel=0.03)
        lathe([(0.001, -0.03), (r * 0.8, -0.03)], m.plain((0.03, 0.03, 0.03), 0.9), bevel=0)
        lathe([(r * 0.9, -0.02), (r, 0.0), (r, 0.05), (r * 0.8, 0.1), (0.001, 0.11)], shell, bevel=0.03)
        hoop(r * 0.62, 0.012, (0, 0, 0.108), trim)
        outward = Vector((side * cos(yaw), -sin(yaw), 0.12)).normalized()
        right = Vector((0, 0, 1)).cross(outward).normalized()
        turn = Matrix((right, outward.cross(right), outward)).transposed().to_4x4()
        at = Vector((side * width, 0, r * tall))
        cup.move(Matrix.Translation(at) @ turn @ Matrix.Diagonal((1, tall, 1, 1)))
        stem = [
            (side * width * 1.1, 0, r * tall),
            (side * width * 1.12, 0.01, r * tall + 0.16),
            (side * width * 1.04, 0, 0.55),
        ]
        band.append(sweep(list(smooth(stem)), tablet(0.02, 0.06, 0.008), trim, across=(0, 1, 0)))
    arch = lambda grow: [  # noqa: E731
        (width * 1.06 * grow * cos(pi * i / 24), 0, 0.5 + (top - 0.5) * grow * sin(pi * i / 24)) for i in range(25)
    ]
    band.append(sweep(arch(1.0), tablet(0.03, 0.13, 0.012), shell, across=(0, 1, 0)))
    band.append(sweep(arch(0.94)[4:21], tablet(0.045, 0.12, 0.02), pad, across=(0, 1, 0)))
    return band


def headphones(rng: random.Random, family: str) -> list:
    group = Group()
    if family == "case":
        body = gadget(rng)
        w, d, h = rng.uniform(0.36, 0.46), rng.uniform(0.2, 0.24), rng.uniform(0.36, 0.46)
        outer = [(0.75, 0.0), (0.93, 0.06), (1.0, 0.16), (1.0, 0.32), (1.0, h)]
        loft([[(x, y, z) for x, y in oval(w * f, d * f, 3)] for f, z in smooth(outer)], body)
        inside = m.plain((0.03, 0.03, 0.032), 0.3)
        loft([[(x, y, z) for x, y in oval(w * 0.92, d * 0.88, 3)] for z in (h, h + 0.006)], inside)
        lid = Group()
        cover = loft(
            [[(x, y, z) for x, y in oval(w * f, d * f, 3)]
             for f, z in smooth([(1.0, h), (1.0, h + 0.1), (0.92, h + 0.19), (0.7, h + 0.24)])], body)  # fmt: skip
        loft([[(x, y, z) for x, y in oval(w * 0.92, d * 0.88, 3)] for z in (h - 0.004, h)], inside)
        lid.turn(-rng.uniform(1.5, 1.8), "X", (0, d, h))
        bud, tip = rng.choice((body, finish(rng, (0.8, 0.8, 0.78)))), m.plain((0.3, 0.3, 0.3), 0.6)
        for x in (-w * 0.42, w * 0.42):
            ball(0.11, (x, 0, h - 0.01), bud, 0.85)
            pipe([(x, -0.03, h + 0.08), (x * 0.93, -0.07, h + 0.2)], 0.045, bud, sides=12)
            place(ball(0.06, (0, 0, -0.06), tip), (x * 0.55, -0.02, h + 0.1))
        ball(0.012, (0, -d - 0.002, h * 0.6), m.glowing((0.2, 1.0, 0.4), 3))
        group.settle()
        return [cover]
    band = headset(rng, rng.uniform(0.28, 0.34), rng.uniform(0.86, 0.98))
    if family == "stand":
        lift = rng.uniform(0.18, 0.26)
        group.move(Matrix.Translation((0, 0, lift)))
        top = max((body.matrix_basis @ v.co).z for body in band for v in body.data.vertices) - 0.07
        wood = m.wood(rng, (0.5, 0.3, 0.14), (0.24, 0.11, 0.04))
        post = rng.choice((wood, m.metal(STEEL, 0.3), m.plain(BLACK, 0.4)))
        lathe([(0.001, 0), (0.25, 0), (0.25, 0.04), (0.001, 0.045)], rng.choice((post, wood)))
        pole = pipe([(0, 0.0, 0.03), (0, 0.0, top)], rng.uniform(0.022, 0.035), post)
        rest = pipe([(0.14 * t, 0, top - 0.05 * t * t) for t in (-1, -0.5, 0, 0.5, 1)], 0.035, post)
        group.move(Matrix.Scale(0.92, 4))
        band = [pole, rest, *band]
    group.settle()
    return band


def wallpaper(rng: random.Random, width: int, height: int, rows: int = 3) -> Image.Image:
    """A lock screen or a home screen: gradient, hour, icons."""
    a, b = vivid(rng, (0.4, 1.0), (0.3, 1.0)), vivid(rng, (0.4, 1.0), (0.05, 0.7))
    image = Image.new("RGB", (width, height), a)
    draw = ImageDraw.Draw(image)
    for y in range(height):
        t = y / height
        draw.line((0, y, width, y), fill=tuple(round(p + (q - p) * t) for p, q in zip(a, b, strict=True)))
    for _ in range(3):
        x, y, r = rng.uniform(0, width), rng.uniform(0.3, 0.8) * height, rng.uniform(0.15, 0.4) * width
        draw.ellipse((x - r, y - r, x + r, y + r), fill=vivid(rng, (0.4, 1.0), (0.4, 1.0)))
    hour = f"{rng.randrange(1, 13)}:{rng.randrange(60):02d}"
    font = ImageFont.load_default(min(width, height) * 0.26)
    draw.text((width / 2, height * 0.16), hour, fill=(255, 255, 255), font=font, anchor="mm")
    cell = width / 4.4
    for row in range(rows):
        for column in range(4):
            x, y = width / 2 + (column - 1.5) * cell, height - (row + 0.7) * cell * 1.1
            box_ = (x - cell * 0.34, y - cell * 0.34, x + cell * 0.34, y + cell * 0.34)
            draw.rounded_rectangle(box_, cell * 0.14, fill=vivid(rng, (0.3, 1.0), (0.7, 1.0)))
    return image


def phone(rng: random.Random, family: str) -> list | None:
    group, shell = Group(), gadget(rng)
    if family == "folded":
        return folding(rng, group, shell)
    w, black = rng.uniform(0.46, 0.52), m.plain(BLACK, 0.08)
    if family == "flat":
        h, d, r = 1.0, 0.055, rng.uniform(0.04, 0.09)
        plate(tablet(w, h, r), d, (0, 0, h / 2), shell, 0.016)
        plate(tablet(w - 0.016, h - 0.016, r), 0.01, (0, -d / 2, h / 2), black, 0.002)
        screen = tablet(w - 0.045, h - 0.045, r * 0.85)
        decal(screen, (0, -d / 2 - 0.007, h / 2), lit(upload(wallpaper(rng, 220, 470, rng.choice((0, 1, 3))))))
        pipe([(0, -d / 2 - 0.008, h - 0.06), (0.001, -d / 2 - 0.008, h - 0.06)], 0.014, black)
        box((0.012, 0.02, 0.12), (w / 2 + 0.002, 0, h * 0.66), shell, 0.004)
        plate(tablet(0.2, 0.2, 0.05), 0.03, (w / 2 - 0.13, d / 2 + 0.01, h - 0.14), shell, 0.008)
    else:
        h, d, accent = 0.92, rng.uniform(0.12, 0.16), finish(rng, paint(rng, saturation=(0.7, 1.0), value=(0.5, 1.0)))
        rubber = m.plain((0.02, 0.02, 0.022), 0.7)
        plate(tablet(w, h, 0.09, 1), d, (0, 0, h / 2), rubber, 0.02)
        plate(tablet(w * 0.84, h * 0.94, 0.06, 1), d + 0.02, (0, 0, h / 2), shell, 0.01)
        for x in (-1, 1):
            for z in (0.09, h - 0.09):
                plate(tablet(0.12, 0.2, 0.05, 1), d + 0.035, (x * (w / 2 - 0.035), 0, z), accent, 0.012)
            box((0.03, 0.06, 0.12), (x * (w / 2 + 0.005), 0, h * 0.58), accent, 0.01)
        y = -d / 2 - 0.012
        decal(tablet(w * 0.7, h * 0.46, 0.01), (0, y, h * 0.66), lit(upload(wallpaper(rng, 220, 290, 2))))
        key = m.plain((0.5, 0.5, 0.5), 0.4)
        for row in range(4):
            for column in (-1, 0, 1):
                box((w * 0.2, 0.016, 0.055), (column * w * 0.235, y, h * (0.1 + 0.085 * row)), key, 0.006)
    antenna = []
    if family == "rugged":
        antenna = [lathe([(0.001, 0), (0.04, 0), (0.034, 0.2), (0.001, 0.21)], m.plain((0.02, 0.02, 0.022), 0.6))]
        place(antenna[0], (w / 2 - 0.09, 0.02, h - 0.02))
    lean = rng.uniform(0.1, 0.22)
    group.turn(-lean, "X")
    if rng.random() < 0.5 or family == "flat":
        post = m.metal(rng.choice((STEEL, BLACK)), 0.3)
        foot = [
            box((0.3, 0.24, 0.022), (0, 0.1, -0.022), post, 0.01),
            box((0.3, 0.02, 0.05), (0, -d / 2 - 0.025, -0.01), post),
        ]
        foot.append(pipe([(0, 0.2, -0.01), (0, d / 2 + 0.4 * sin(lean), 0.4)], 0.02, post))
        antenna += foot
    group.settle()
    return antenna or None


def folding(rng: random.Random, group: Group, shell) -> list:
    """A folding phone half open: like a laptop, or standing like a book."""
    book = rng.random() < 0.4
    w, h = (0.42, 0.86) if book else (0.66, 0.62)
    image, halves = wallpaper(rng, 260, 260, 2), []
    for side in (-1, 1):
        half, cut = Group(), 130 * (side > 0)
        part = image.crop((cut, 0, cut + 130, 260) if book else (0, cut, 260, cut + 130))
        centre = (side * w / 2, 0, h / 2) if book else (0, 0, -side * h / 2)
        halves.append(plate(tablet(w, h, 0.05), 0.05, centre, shell, 0.014))
        place(decal(tablet(w - 0.03, h - 0.03, 0.03), centre, lit(upload(part))), (0, -0.027, 0))
        if book:
            half.turn(side * rng.uniform(0.35, 0.5), "Z")
        else:  # the lower half lies on the table, its screen up
            half.turn(-pi / 2 if side > 0 else -rng.uniform(0.15, 0.4), "X", (0, 0.03, 0))
    ends = [(0, 0.012, 0.0), (0, 0.012, h)] if book else [(-w / 2, 0.015, 0.0), (w / 2, 0.015, 0.0)]
    pipe(ends, 0.028, m.metal(STEEL, 0.25))
    group.settle()
    return [halves[0]]


BUILDERS: dict[str, Builder] = {
    "headphones": headphones, "phone": phone,
}  # fmt: skip
