"""For the living room: lamps, clocks and pot plants."""

import random
from math import cos, pi, radians, sin

from mathutils import Vector
from PIL import Image, ImageDraw, ImageFont

from .. import materials as m
from ..labels import brand, linear, upload, vivid
from ..meshes import ball, box, lathe, mesh
from .parts import Builder, finish, paint
from .solids import curve, loft, moved, pipe, ring

STEEL, BRASS, BLACK, WHITE = (0.72, 0.72, 0.74), (0.78, 0.52, 0.2), (0.015, 0.015, 0.017), (0.85, 0.85, 0.83)
WOODS = (((0.6, 0.38, 0.2), (0.42, 0.23, 0.1)), ((0.3, 0.15, 0.07), (0.14, 0.06, 0.025)))


def timber(rng: random.Random):
    return m.wood(rng, *rng.choice(WOODS))


def lacquer(rng: random.Random):
    """Painted metal: coloured, black, white or brass."""
    return rng.choice((lambda: finish(rng, paint(rng)), lambda: m.plain(BLACK, 0.3), lambda: m.plain(WHITE, 0.3),
                       lambda: m.metal(BRASS, 0.2)))()  # fmt: skip


def lamp(rng: random.Random, family: str):
    metal, light = lacquer(rng), m.glowing((1.0, 0.72, 0.4), rng.choice((2.5, 4.0)))
    if family == "desk":
        side, steel = rng.choice((-1, 1)), m.metal(STEEL, 0.2)
        lathe([(0.001, 0), (0.23, 0), (0.23, 0.04), (0.04, 0.06), (0.001, 0.06)], metal)
        elbow, wrist = (-side * rng.uniform(0.24, 0.32), 0, 0.52), (side * rng.uniform(0.1, 0.18), 0, 0.97)
        arms = [pipe([start, end], 0.022, metal) for start, end in (((0, 0, 0.05), elbow), (elbow, wrist))]
        for x, y, z in (elbow, wrist):
            knob = lathe([(0.001, -0.04), (0.045, -0.04), (0.045, 0.04), (0.001, 0.04)], steel)
            moved([knob], (x, y, z), (pi / 2, 0, 0))
        shade = lathe([(0.03, 0.06), (0.075, 0.03), (0.085, -0.08), (0.22, -0.3), (0.205, -0.3), (0.07, -0.08)], metal,
                      bevel=0.015)  # fmt: skip
        bulb = ball(0.09, (0, 0, -0.27), light)
        moved([shade, bulb], wrist, (-0.35, -side * rng.uniform(0.4, 0.75), 0))
        return [shade, *arms]
    if family == "mushroom":
        r, h = rng.uniform(0.36, 0.44), rng.uniform(0.52, 0.62)
        opal = m.plain(paint(rng, saturation=(0.0, 0.6), value=(0.8, 1.0)), 0.2, emission_color=(1.0, 0.7, 0.4))
        opal.node_tree.nodes["Principled BSDF"].inputs["Emission Strength"].default_value = rng.choice((0.0, 0.5))
        material = rng.choice((metal, opal))
        foot = rng.choice((0.2, 0.12))
        lathe([(0.001, 0), (0.24, 0), (foot, 0.1), (0.08, h * 0.6), (0.1, h + 0.05), (0.001, h + 0.05)], material,
              bevel=0.06)  # fmt: skip
        ball(0.1, (0, 0, h - 0.1), light)
        dome = [
            (r, h),
            (r * 0.97, h + r * 0.3),
            (r * 0.75, h + r * 0.62),
            (r * 0.35, h + r * 0.82),
            (0.001, h + r * 0.86),
        ]
        inner = [(x * 0.96, z - 0.012) for x, z in dome[-2::-1]]
        return [lathe([(0.001, dome[-1][1] - 0.02), *inner, *dome], material, bevel=0.07)]
    r, stem = rng.uniform(0.3, 0.36), rng.uniform(0.06, 0.3)
    base = timber(rng) if rng.random() < 0.4 else metal
    lathe([(0.001, 0), (0.23, 0), (0.23, 0.05), (0.001, 0.06)], base)
    lathe([(0.04, 0.05), (0.04, stem + 0.05), (0.11, stem + 0.06), (0.11, stem + 0.12), (0.001, stem + 0.12)], base)
    return [ball(r, (0, 0, stem + 0.09), m.glowing((1.0, 0.85, 0.66), rng.uniform(0.9, 1.3)), 1.0, 40)]


def dial_image(rng: random.Random):
    """A clock face: ground, minute marks, numerals or bars, a maker's name."""
    dark = rng.random() < 0.25
    ground = rng.choice(((28, 30, 36), vivid(rng, (0.3, 0.8), (0.2, 0.4)))) if dark else rng.choice(
        ((248, 246, 240), (248, 246, 240), vivid(rng, (0.05, 0.25), (0.9, 1.0))))  # fmt: skip
    ink = (245, 245, 240) if dark else (25, 25, 30)
    image = Image.new("RGB", (320, 320), ground)
    draw = ImageDraw.Draw(image)
    numerals = rng.random() < 0.7
    for i in range(60):
        a, bar = i * pi / 30, 12 if i % 5 else (18 if numerals else 42)
        ends = [(160 + q * sin(a), 160 - q * cos(a)) for q in (152, 152 - bar)]
        draw.line([*ends[0], *ends[1]], fill=ink, width=2 if i % 5 else 8)
        if numerals and i % 5 == 0:
            at = (160 + 112 * sin(a), 160 - 112 * cos(a))
            draw.text(at, str(i // 5 or 12), fill=ink, font=ImageFont.load_default(44), anchor="mm")
    draw.text((160, 215), brand(rng), fill=ink, font=ImageFont.load_default(18), anchor="mm")
    return upload(image), ink


def dial(rng: random.Random, radius: float, z: float) -> list:
    """A face with hands, lying at height `z`, twelve o'clock towards +y."""
    image, ink = dial_image(rng)
    ring_ = [(cos(2 * pi * i / 48), sin(2 * pi * i / 48)) for i in range(48)]
    uv = [((x + 1) / 2, (y + 1) / 2) for x, y in ring_]
    face = mesh("dial", [(radius * x, radius * y, z) for x, y in ring_], [tuple(range(48))], m.picture(image, 0.35), uv)
    colour = m.plain(linear(ink), 0.4)
    bodies = [face, lathe([(0.001, z), (radius * 0.06, z), (radius * 0.06, z + 0.025), (0.001, z + 0.025)], colour)]
    hour, minute = rng.choice(((10, 9), (10, 9), (rng.randrange(12), rng.randrange(60))))
    spans = [(0.52, 0.05, (hour + minute / 60) * pi / 6), (0.8, 0.032, minute * pi / 30)]
    for long, wide, angle in spans:
        hand = box((radius * wide * 2, radius * long * 1.15, 0.006), (0, radius * long * 0.42, z + 0.012), colour, 0)
        moved([hand], (0, 0, 0), (0, 0, -angle))
        bodies.append(hand)
    if rng.random() < 0.5:
        second = box((radius * 0.02, radius * 0.85, 0.004), (0, radius * 0.3, z + 0.02), m.plain((0.7, 0.05, 0.02)), 0)
        moved([second], (0, 0, 0), (0, 0, -rng.uniform(0, 2 * pi)))
        bodies.append(second)
    return bodies


def digits(rng: random.Random, width: float, z: float, glow) -> list:
    """A seven-segment time about the origin, lying at height `z`."""
    segments = {"0": "abcdef", "1": "bc", "2": "abdeg", "3": "abcdg", "4": "bcfg", "5": "acdfg", "6": "acdefg",
                "7": "abc", "8": "abcdefg", "9": "abcdfg"}  # fmt: skip
    text, pitch = f"{rng.randrange(10, 24)}{rng.randrange(60):02d}", width / 4.6
    w, h, t = pitch * 0.62, pitch * 1.25, pitch * 0.15
    spots = {"a": (0, h / 2, 1), "g": (0, 0, 1), "d": (0, -h / 2, 1), "b": (w / 2, h / 4, 0), "c": (w / 2, -h / 4, 0),
             "f": (-w / 2, h / 4, 0), "e": (-w / 2, -h / 4, 0)}  # fmt: skip
    bodies = [box((t, t, 0.004), (0, y, z), glow, 0) for y in (-h / 5, h / 5)]
    for i, digit in enumerate(text):
        x0 = (i - 1.5) * pitch + (0.22 if i > 1 else -0.22) * pitch
        for x, y, lying in (spots[s] for s in segments[digit]):
            size = (w * 0.9, t, 0.004) if lying else (t, h / 2 * 0.9, 0.004)
            bodies.append(box(size, (x0 + x, y, z), glow, 0))
    return bodies


def clock(rng: random.Random, family: str):
    case, steel = lacquer(rng), m.metal(rng.choice((STEEL, BRASS)), 0.15)
    if family == "square":
        w = rng.uniform(0.78, 0.9)
        h, d = w * rng.uniform(0.85, 1.0), 0.3
        shell = box((w, d, h), (0, 0, 0), timber(rng) if rng.random() < 0.3 else case, rng.choice((0.03, 0.1)))
        shell.modifiers["bevel"].segments = 5
        if rng.random() < 0.4:
            front = box((w * 0.86, 0.02, h * 0.7), (0, -d / 2, h * 0.15), m.plain(BLACK, 0.08), 0.008)
            glow = m.glowing(rng.choice(((1.0, 0.06, 0.02), (0.1, 1.0, 0.3), (0.75, 0.9, 1.0))), 2.5)
            moved(digits(rng, w * 0.76, 0.012, glow), (0, -d / 2, h * 0.5), (pi / 2, 0, 0))
            button = box((w * 0.4, d * 0.4, 0.035), (0, 0, h - 0.01), m.plain(BLACK, 0.3), 0.01)
            return [button, front]
        r = min(w, h) * 0.41
        rim = ring(r * 1.03, 0.018, 0.0, steel)
        moved([*dial(rng, r, 0.006), rim], (0, -d / 2, h / 2), (pi / 2, 0, 0))
        return [box((w * 0.28, d * 0.35, 0.05), (0, 0, h - 0.01), steel, 0.015)]
    r, d = (rng.uniform(0.36, 0.39), 0.26) if family == "bell" else (rng.uniform(0.42, 0.46), rng.uniform(0.16, 0.24))
    drum = lathe([(0.001, -d / 2), (r * 0.9, -d / 2), (r, 0), (r, d / 2), (r * 0.92, d / 2), (0.001, d / 2)], case)
    rim = ring(r * 0.97, 0.028, d / 2, steel if rng.random() < 0.6 else case)
    high = r + 0.1
    bodies = [drum, rim, *dial(rng, r * 0.92, d / 2 + 0.006)]
    feet = []
    if family == "bell":
        for side in (-1, 1):
            for front in (-1, 1):
                foot = pipe(
                    [(side * r * 0.5, -r * 0.75, front * 0.07), (side * r * 0.72, -high, front * 0.1)], 0.03, steel
                )
                feet.append(foot)
            bell = lathe([(0.001, 0.15), (0.08, 0.135), (0.14, 0.08), (0.16, 0), (0.145, 0)], steel, 32)
            post = pipe([(0, 0, -0.1), (0, 0, 0.17)], 0.018, steel)
            # z of the bell becomes outwards from the drum, tilted by 35 degrees
            tilt, reach = radians(36), r + 0.05
            moved([bell, post], (side * reach * sin(tilt), reach * cos(tilt), 0), (-pi / 2, 0, -side * tilt))
            feet += [bell, post]
        hammer = [
            pipe([(0, r * 0.9, 0), (0, r + 0.16, 0)], 0.014, steel),
            box((0.1, 0.05, 0.05), (0, r + 0.15, -0.025), steel),
        ]
        feet += hammer
        if rng.random() < 0.6:
            x, y = (r + 0.21) * sin(tilt), (r + 0.21) * cos(tilt)  # where the bells' posts end
            arch = [(-x, y, 0), (-x * 0.6, r + 0.26, 0), (0, r + 0.32, 0), (x * 0.6, r + 0.26, 0), (x, y, 0)]
            feet.append(pipe(curve(arch), 0.018, steel))
    else:
        for side in (-1, 1):
            foot = pipe([(side * r * 0.5, -r * 0.8, 0), (side * r * 0.68, -high, 0)], [0.055, 0.04], steel)
            feet.append(foot)
        stud = pipe([(0, r * 0.95, 0), (0, r + 0.07, 0)], 0.04, steel)
        feet.append(stud)
    moved([*bodies, *feet], (0, 0, high + 0.013), (pi / 2, 0, 0))
    return feet


def blade(
    root, tip, width: float, material, bend: float = 0.0, shape=(0.45, 0.8, 1.0, 0.9, 0.6, 0.04), fold: float = 0.2
):
    """A leaf from root to tip, arching upwards by `bend`, its halves folded up; `shape` gives relative widths."""
    root, tip = Vector(root), Vector(tip)
    along = tip - root
    out = Vector((along.x, along.y, 0))
    out = out.normalized() if out.length > 1e-6 else Vector((0, -1, 0))
    across = Vector((-out.y, out.x, 0))
    vertices, faces = [], []
    for i, share in enumerate(shape):
        t = i / (len(shape) - 1)
        middle = root + along * t + Vector((0, 0, bend * 4 * t * (1 - t)))
        edge, lift = across * share * width / 2, along.cross(across).normalized() * -fold * share * width / 2
        vertices += [tuple(middle - edge + lift), tuple(middle), tuple(middle + edge + lift)]
    for i in range(len(shape) - 1):
        a, b = 3 * i, 3 * i + 3
        faces += [(a, a + 1, b + 1, b), (a + 1, a + 2, b + 2, b + 1)]
    return mesh("blade", vertices, faces, material)


def plant(rng: random.Random, family: str):
    pot_colour = rng.choice(((0.5, 0.2, 0.1), (0.8, 0.79, 0.76), (0.1, 0.1, 0.105), paint(rng, saturation=(0.2, 0.7))))
    pot = m.speckled(rng, pot_colour, 30, 0.15, 0.1, 0.6) if rng.random() < 0.5 else finish(rng, pot_colour)
    top, base, h = {"cylinder": (0.25, 0.25, 0.4), "tapered": (0.28, 0.19, 0.42), "bowl": (0.42, 0.2, 0.3)}[family]
    h *= rng.uniform(0.9, 1.1)
    if family == "bowl":
        outside = [(0.001, 0), (base, 0), (top * 0.92, h * 0.5), (top, h)]
    elif family == "tapered":
        outside = [(0.001, 0), (base, 0), (top * 0.95, h * 0.76), (top * 1.08, h * 0.77), (top * 1.1, h)]
    else:
        outside = [(0.001, 0), (base, 0), (top, h)]
    rim = outside[-1][0]
    lathe(
        [*outside, (rim - 0.03, h), (rim - 0.04, h * 0.85), (0.001, h * 0.85)],
        pot,
        bevel=0.1 if family == "bowl" else 0.02,
    )
    soil = m.speckled(rng, (0.035, 0.02, 0.012), 40, 0.5, 0.8, 0.95)
    lathe([(rim - 0.035, h * 0.88), (0.001, h * 0.92)], soil, bevel=0)
    green = rng.choice(((0.05, 0.2, 0.03), (0.03, 0.13, 0.035), (0.1, 0.26, 0.06)))
    leaf_ = m.plain(green, 0.35, coat_weight=0.2)
    kind = {"cylinder": "snake", "tapered": rng.choice(("leaves", "cactus", "leaves")), "bowl": "succulent"}[family]
    z, turn, leaves = h * 0.88, rng.uniform(0, 2 * pi), []
    if kind == "snake":
        edge = m.plain(rng.choice(((0.45, 0.42, 0.08), green)), 0.4)
        for i in range(rng.randint(7, 10)):
            a, lean, tall = turn + i * 2.4, rng.uniform(0.03, 0.16), rng.uniform(0.35, 0.72)
            q = 0.02 + 0.012 * i
            root, tip = (q * cos(a), q * sin(a), z - 0.03), ((q + lean) * cos(a), (q + lean) * sin(a), z + tall)
            width, shape = rng.uniform(0.09, 0.13), (0.6, 0.85, 1, 0.97, 0.8, 0.03)
            leaves.append(blade(root, tip, width, leaf_, 0, shape, 0.35))
            behind = [(x, y + 0.012, zz) for x, y, zz in (root, tip)]  # its pale margin shows at both sides
            leaves.append(blade(*behind, width * 1.25, edge, 0, shape, 0.35))
    elif kind == "leaves":
        for i in range(rng.randint(11, 16)):
            a, up = turn + i * 2.4, 1 - i / 18
            reach, tall = rng.uniform(0.14, 0.24) * (1.4 - up * 0.8), 0.12 + 0.36 * up + rng.uniform(-0.04, 0.04)
            end = Vector((reach * cos(a), reach * sin(a), z + tall))
            leaves.append(
                pipe(curve([(0, 0, z - 0.02), (end.x * 0.35, end.y * 0.35, z + tall * 0.6), end], 4), 0.011, leaf_, 6)
            )
            far = end + Vector((cos(a) * 0.24, sin(a) * 0.24, rng.uniform(-0.1, 0.12)))
            leaves.append(blade(end, far, rng.uniform(0.15, 0.2), leaf_, 0.03, (0.05, 0.75, 1.0, 0.85, 0.5, 0.02)))
    elif kind == "cactus":
        r, tall, ribs = rng.uniform(0.13, 0.18), rng.uniform(0.45, 0.6), 12
        leaves.append(cactus_column(r, z - 0.02, tall, leaf_, ribs))
        if rng.random() < 0.7:
            side = rng.choice((-1, 1))
            arm = cactus_column(r * 0.5, 0, 0.26, leaf_, 8)
            moved([arm], (side * (r + 0.08), 0, z + tall * 0.35))
            elbow = pipe(
                [(side * r * 0.7, 0, z + tall * 0.3), (side * (r + 0.08), 0, z + tall * 0.42)], r * 0.42, leaf_
            )
            leaves += [arm, elbow]
    else:
        pale = m.plain(
            rng.choice(((0.2, 0.36, 0.2), (0.28, 0.4, 0.32), (0.16, 0.33, 0.12))), 0.45, subsurface_weight=0.1
        )
        for layer, (count, reach, rise) in enumerate(
            ((10, 0.38, 0.12), (9, 0.33, 0.24), (7, 0.24, 0.33), (5, 0.13, 0.38))
        ):
            for i in range(count):
                a, root = turn + 2 * pi * (i + 0.5 * (layer % 2)) / count, z + 0.03 + 0.03 * layer
                tip = (reach * cos(a), reach * sin(a), root + rise * rng.uniform(0.9, 1.1))
                width = reach * 0.55 + 0.05
                leaves.append(blade((0, 0, root), tip, width, pale, -0.03, (0.25, 0.5, 0.8, 1.0, 0.8, 0.03), 0.45))
    return leaves


def cactus_column(radius: float, z: float, tall: float, material, ribs: int):
    """A ribbed column with a round top."""
    count, sections = ribs * 6, []
    for t in (0, 0.25, 0.5, 0.75, 0.86, 0.93, 0.975, 1.0):
        r = radius * (0.85 + 0.15 * min(1, t * 3)) * max(1 - max(0, (t - 0.72) / 0.28) ** 2.2, 0.0004) ** 0.5
        waves = [r * (1 + 0.12 * cos(2 * pi * k * ribs / count)) for k in range(count)]
        sections.append(
            [(w * cos(2 * pi * k / count), w * sin(2 * pi * k / count), z + t * tall) for k, w in enumerate(waves)]
        )
    return loft(sections, material)


BUILDERS: dict[str, Builder] = {"lamp": lamp, "clock": clock, "plant": plant}
