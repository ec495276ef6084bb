"""For kitchen and workshop: paint, tools and pans."""

import random
from math import cos, pi, sin

from .. import materials as m
from ..labels import label_image, linear, vivid
from ..meshes import box, lathe
from .household import BLACK, BRASS, STEEL, WHITE, timber
from .parts import Builder, cap_material, finish, paint, wrap
from .solids import curve, loft, moved, oval, pipe, pressed, ring


def paint_can(rng: random.Random, family: str):
    colour = vivid(rng, (0.4, 1.0), (0.4, 0.95))
    wet, tin = m.plain(linear(colour), 0.12, coat_weight=0.5), m.metal(STEEL, 0.28)
    if family == "spray":
        r, h = rng.uniform(0.16, 0.18), rng.uniform(0.68, 0.76)
        body = finish(rng, rng.choice((BLACK, WHITE, linear(colour))))
        lathe([(0.001, 0.0), (r * 0.96, 0.0), (r, 0.02), (r, h), (0.001, h)], body)
        rims = [ring(r, 0.012, z, tin) for z in (0.015, h)]
        wrap(rng, r + 0.004, h * 0.2, h * 0.92, 3.0)
        lathe([(r + 0.005, h * 0.06), (r + 0.005, h * 0.16)], wet, bevel=0)
        dome = [(r * 0.97, h), (r * 0.8, h + 0.08), (r * 0.42, h + 0.12), (r * 0.42, h + 0.14), (0.001, h + 0.14)]
        lathe(dome, tin, bevel=0.03)
        if rng.random() < 0.5:
            z = h + 0.13
            nozzle = lathe([(0.001, z), (0.05, z), (0.045, z + 0.1), (0.001, z + 0.1)], wet)
            return [nozzle, box((0.03, 0.02, 0.03), (0, -0.048, z + 0.05), m.plain(BLACK))]
        top = h + rng.uniform(0.26, 0.3)
        lid = lathe([(0.001, h + 0.02), (r * 1.01, h + 0.02), (r * 0.93, top), (0.001, top)], wet, bevel=0.03)
        return [lid, *rims[1:]]
    bucket = family == "bucket"
    r, base, h = (0.4, 0.31, 0.66) if bucket else (rng.uniform(0.32, 0.36),) * 2 + (rng.uniform(0.62, 0.7),)
    shell = m.plain(rng.choice((WHITE, WHITE, BLACK, linear(colour))), 0.4) if bucket else tin
    lathe([(0.001, 0), (base, 0), (r, h), (0.001, h)], shell)
    at = lambda t: base + (r - base) * t + 0.005  # noqa: E731
    print_ = m.picture(label_image(rng, r * 4.6 / (h * 0.72), rng.choice(((245, 243, 238), colour))), 0.4)
    lathe([(at(0.08), h * 0.08), (at(0.8), h * 0.8)], print_, arc=2.6 if bucket else 4.6, bevel=0)
    parts = []
    if bucket:
        for z in (0.86, 0.93):
            ring(at(z), 0.016, h * z, shell)
        flat = [(0.001, h), (r * 1.06, h - 0.03), (r * 1.07, h + 0.035), (r * 0.95, h + 0.035), (r * 0.93, h + 0.015)]
        parts.append(
            lathe([*flat, (0.001, h + 0.015)], shell if rng.random() < 0.5 else finish(rng, linear(colour)), bevel=0.01)
        )
    else:
        ring(r, 0.016, 0.016, tin)
        rim = [(r + 0.015, h - 0.01), (r + 0.015, h + 0.03), (r - 0.05, h + 0.03), (r - 0.06, h + 0.005)]
        lathe(rim, tin, bevel=0.012)
        if rng.random() < 0.5:  # open, wet paint inside and running down
            lathe([(r - 0.05, h + 0.006), (0.001, h + 0.006)], wet, bevel=0)
            for x in rng.sample((-0.5, -0.25, 0.0, 0.2, 0.45), 3):
                low, y = h - rng.uniform(0.08, 0.24), -cos(x)
                q = r + 0.012
                run = [(q * sin(x), q * y, z) for z in (h + 0.02, h * 0.5 + low * 0.5, low)]
                parts.append(pipe(run, [0.03, 0.02, 0.026], wet, 8))
        else:
            lathe([(r - 0.055, h + 0.01), (r - 0.07, h + 0.03), (0.001, h + 0.03)], tin, bevel=0.01)
    pivot, reach = h * 0.8, at(0.8) + 0.01
    for side in (-1, 1):
        ear = lathe([(0.001, 0), (0.045, 0), (0.04, 0.025), (0.001, 0.03)], shell, 20)
        moved([ear], (side * (reach - 0.01), 0, pivot), (0, side * pi / 2, 0))
    # raised in the hand's position, or hanging down in front
    angle = rng.choice((rng.uniform(-0.25, 0.25), 2.25 if not bucket else 2.1))
    wire = [(cos(a) * (reach + 0.02), 0, sin(a) * (reach + 0.06)) for a in (pi * i / 16 for i in range(17))]
    handle = pipe(wire, 0.013, tin, 8)
    grip = pipe([(-0.11, 0, reach + 0.055), (0, 0, reach + 0.06), (0.11, 0, reach + 0.055)], 0.035, m.plain(BLACK, 0.5))
    moved([handle, grip], (0, 0, pivot), (angle, 0, 0))
    return [handle, grip, *parts]


def tool(rng: random.Random, family: str):
    colour, steel = paint(rng, saturation=(0.7, 1.0), value=(0.4, 0.95)), m.metal(STEEL, 0.22)
    if family == "hammer":
        long, wooden = rng.uniform(0.82, 0.92), rng.random() < 0.6
        shaft = timber(rng) if wooden else m.plain(BLACK, 0.6)
        spans = [(0, 0.062), (0.05, 0.07), (0.28, 0.058), (0.42, 0.042), (0.7, 0.045), (1.0, 0.048)]
        handle = loft([oval(t * long, q, q * 0.75) for t, q in spans], shaft)
        parts = [handle]
        if not wooden:
            parts.append(loft([oval(t * long, q + 0.004, q * 0.75 + 0.004) for t, q in spans[:3]], finish(rng, colour)))
        iron = steel if rng.random() < 0.6 else m.metal((0.08, 0.08, 0.085), 0.35)
        z, side = long - 0.02, rng.choice((-1, 1))
        head = [box((0.17, 0.13, 0.15), (0, 0, z - 0.07), iron, 0.02)]
        poll = lathe([(0.05, 0.06), (0.05, 0.15), (0.078, 0.17), (0.078, 0.26), (0.001, 0.265)], iron, 28, 0.012)
        moved([poll], (0, 0, z), (0, side * pi / 2, 0))
        spans = (
            (0.06, 0.055, 0, 0.07),
            (0.16, 0.065, 0.01, 0.045),
            (0.25, 0.075, -0.04, 0.026),
            (0.32, 0.085, -0.11, 0.008),
        )
        claws = [(-side * x, w, 0.075 + down, t) for x, w, down, t in spans]
        sections = [[(x, y * w, z - 0.075 + mid + k * t) for y, k in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
                    for x, w, mid, t in claws]  # fmt: skip
        head += [poll, loft(sections, iron)]
        if rng.random() < 0.5:  # upside down on its head
            moved([*parts, *head], (0, 0, z + 0.08), (pi, 0, 0))
        return parts
    if family == "screwdriver":
        long, r = rng.uniform(0.42, 0.48), rng.uniform(0.11, 0.13)
        clear = m.glass(m.mixed(colour, (1, 1, 1), 0.15), 0.05) if rng.random() < 0.25 else finish(rng, colour)
        profile = [(0.0, 0.8), (0.03, 0.95), (0.12, 1.0), (0.55, 0.97), (0.76, 0.66), (0.88, 0.74), (1.0, 0.45)]
        sections = []
        for t, q in profile:
            depth = 0.12 if 0.05 < t < 0.7 else 0.02
            waves = [r * q * (1 - depth * (0.5 + 0.5 * cos(2 * pi * k * 6 / 72))) for k in range(72)]
            ring_ = [(w * cos(2 * pi * k / 72), w * sin(2 * pi * k / 72), t * long) for k, w in enumerate(waves)]
            sections.append(ring_)
        loft(sections[:5], clear)
        loft(sections[4:], m.plain(BLACK, 0.55))
        top, q = long + rng.uniform(0.5, 0.62), 0.034
        shank = pipe([(0, 0, long - 0.02), (0, 0, top - 0.12)], q, steel)
        if rng.random() < 0.6:  # a flat blade
            ends = ((0.125, q, q), (0.1, q, q), (0.045, q * 1.5, q * 0.6), (0.0, q * 1.3, q * 0.25))
            tip = loft([oval(top - down, x, y) for down, x, y in ends], steel)
        else:
            tip = loft(
                [oval(top - 0.125, q, q), oval(top - 0.05, q, q), oval(top, q * 0.2, q * 0.2)],
                m.metal((0.2, 0.2, 0.21), 0.4),
            )
        return [shank, tip]
    w, hair = rng.uniform(0.18, 0.25), rng.choice(((0.03, 0.02, 0.015), (0.55, 0.42, 0.25), (0.8, 0.76, 0.68)))
    bristle = m.speckled(rng, hair, 90, 0.5, 0.6, 0.8)
    tips = loft(
        [oval(z, w * x, y, 5) for z, x, y in ((0, 0.86, 0.035), (0.1, 0.98, 0.06), (0.3, 0.96, 0.065))], bristle
    )
    dip = rng.uniform(0.08, 0.14)
    parts = [tips]
    if rng.random() < 0.5:
        wet = m.plain(colour, 0.15, coat_weight=0.5)
        parts.append(loft([oval(z, w * x, y, 5) for z, x, y in ((0, 0.88, 0.04), (dip, 1.0, 0.066))], wet))
    metal_ = m.metal(rng.choice((STEEL, BRASS, (0.7, 0.4, 0.25))), 0.25)
    pressed([(0.001, 0.28), (w, 0.28), (w, 0.43), (0.001, 0.43)], metal_, 0.075 / w, 5, 0.01)
    wood = timber(rng) if rng.random() < 0.6 else finish(rng, colour)
    spans = [(0.42, w * 0.96, 0.065), (0.48, w * 0.9, 0.065), (0.56, w * 0.4, 0.055), (0.66, 0.062, 0.045),
             (0.85, 0.05, 0.04), (1.0, 0.07, 0.045), (1.07, 0.05, 0.035), (1.08, 0.02, 0.015)]  # fmt: skip
    return [loft([oval(z, x, y, 2.4) for z, x, y in spans], wood), *parts]


def pan(rng: random.Random, family: str):
    colour = paint(rng, saturation=(0.5, 1.0), value=(0.25, 0.8))
    enamel = rng.choice((m.metal(STEEL, 0.2), m.plain(BLACK, 0.35), m.plain(colour, 0.15, coat_weight=0.8)))
    if family == "casserole" and rng.random() < 0.6:
        enamel = m.plain(colour, 0.15, coat_weight=0.8)
    inside = m.plain((0.03, 0.03, 0.032), 0.35) if rng.random() < 0.6 else m.metal(STEEL, 0.25)
    grip = rng.choice((m.plain(BLACK, 0.45), m.metal(STEEL, 0.2), timber(rng)))
    if family == "wok":
        r, h = rng.uniform(0.35, 0.38), rng.uniform(0.2, 0.23)
        outer = [(0.001, 0), (r * 0.42, 0), (r * 0.78, h * 0.4), (r, h)]
        inner, bevel = [(r * 0.975, h), (r * 0.76, h * 0.43), (r * 0.4, 0.025), (0.001, 0.025)], 0.12
        enamel = m.metal((0.07, 0.07, 0.075), 0.35) if rng.random() < 0.6 else enamel
    else:
        r, h = (
            (rng.uniform(0.29, 0.32), rng.uniform(0.27, 0.33))
            if family == "saucepan"
            else (0.4, rng.uniform(0.32, 0.38))
        )
        outer = [(0.001, 0), (r * 0.96, 0), (r, 0.05), (r, h)]
        inner, bevel = [(r - 0.022, h), (r - 0.022, 0.025), (0.001, 0.025)], 0.03
    shell = [lathe(outer, enamel, 64, bevel), lathe(inner, inside, 64, bevel), ring(r - 0.008, 0.014, h, enamel)]
    parts = []
    if family == "casserole" or (family == "saucepan" and rng.random() < 0.4):
        clear = family == "saucepan" and rng.random() < 0.5
        z, high = h + 0.012, rng.uniform(0.07, 0.12)
        cover = [(r * 1.02, z), (r * 1.0, z + 0.025), (r * 0.6, z + high * 0.8), (0.05, z + high), (0.001, z + high)]
        lid = lathe(cover, m.glass((0.95, 0.97, 0.97)) if clear else enamel, 64, 0.04)
        knob = [(0.03, z + high - 0.01), (0.03, z + high + 0.03), (0.075, z + high + 0.05), (0.07, z + high + 0.09)]
        parts += [lid, lathe([*knob, (0.001, z + high + 0.095)], cap_material(rng) if clear else grip, 32)]
    if family == "casserole":
        for side in (-1, 1):
            z = h * 0.78
            half = ((r - 0.02, -0.14, z), (r + 0.1, -0.12, z + 0.02), (r + 0.12, 0, z + 0.025))
            path = [(side * x, y, height) for x, y, height in (*half, *((x, -y, zz) for x, y, zz in half[1::-1]))]
            parts.append(pipe(curve(path), 0.028, enamel if rng.random() < 0.7 else grip))
        return parts
    side, long = rng.choice((-1, 1)), rng.uniform(0.44, 0.5)
    z, rise = h * 0.82, rng.uniform(0.05, 0.12) + (0.08 if family == "wok" else 0)
    start = r - 0.03
    neck = pipe([(start, 0, z), (r + 0.13, 0, z + rise * 0.3)], 0.024, m.metal(STEEL, 0.25))
    spans = [(0.11, 0.3, 0.03), (0.16, 0.35, 0.04), (0.3, 0.65, 0.036), (long - 0.06, 0.95, 0.042), (long, 1.0, 0.02)]
    handle = pipe([(r + x, 0, z + rise * t) for x, t, _ in spans], [q for *_, q in spans], grip)
    moved([handle, neck], (0, 0, 0), (0, 0, 0 if side > 0 else pi))
    parts += [handle, neck]
    if family == "wok":
        path = [(-r + 0.02, -0.1, z), (-r - 0.07, -0.08, z + 0.05), (-r - 0.07, 0.08, z + 0.05), (-r + 0.02, 0.1, z)]
        loop = pipe(curve(path), 0.02, grip)
        moved([loop], (0, 0, 0), (0, 0, 0 if side > 0 else pi))
        parts.append(loop)
    lids = [body for body in parts if body not in (handle, neck)]
    moved([*shell, *lids, handle, neck], (-side * long * 0.42, 0, 0))
    return parts


BUILDERS: dict[str, Builder] = {"paint": paint_can, "tool": tool, "pan": pan}
