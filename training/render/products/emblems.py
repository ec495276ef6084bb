"""Signs on labels that tell what is inside: a bean, a paw, a bowl. Small renders are read by them."""

import random
from math import cos, pi, sin

from PIL import ImageDraw

from ..labels import vivid

Draw = ImageDraw.ImageDraw


def disc(draw: Draw, x: float, y: float, rx: float, ry: float, fill) -> None:
    draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=fill)


def ground(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    """A pale or coloured disc, so that the sign shows on any label."""
    disc(draw, x, y, r, r, rng.choice(((248, 244, 232), vivid(rng, (0.2, 0.5), (0.85, 1.0)))))


def bean(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    ground(draw, rng, x, y, r)
    for side in (-1, 1):
        disc(draw, x + side * r * 0.33, y, r * 0.28, r * 0.55, (70, 36, 16))
        draw.arc((x + side * r * 0.33 - r * 0.12, y - r * 0.5, x + side * r * 0.33 + r * 0.12, y + r * 0.5), 90, 270,
                 fill=(200, 160, 110), width=max(2, round(r * 0.09)))  # fmt: skip


def capsule(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    ground(draw, rng, x, y, r)
    draw.polygon([(x - r * 0.3, y - r * 0.55), (x + r * 0.3, y - r * 0.55), (x + r * 0.52, y + r * 0.4),
                  (x - r * 0.52, y + r * 0.4)], fill=vivid(rng, (0.6, 1.0), (0.3, 0.7)))  # fmt: skip
    draw.rectangle((x - r * 0.68, y + r * 0.4, x + r * 0.68, y + r * 0.52), fill=(150, 150, 155))


def comb(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    """Cells of a honeycomb."""
    for cx, cy in [(0, 0)] + [(cos(pi * i / 3) * 0.62, sin(pi * i / 3) * 0.62) for i in range(6)]:
        cell = [(x + r * (cx + 0.33 * sin(pi * k / 3)), y + r * (cy + 0.33 * cos(pi * k / 3))) for k in range(6)]
        draw.polygon(cell, fill=rng.choice(((235, 160, 20), (250, 190, 50), (215, 130, 10))), outline=(120, 70, 5))


def paw(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    ground(draw, rng, x, y, r)
    ink = rng.choice(((60, 35, 20), (25, 25, 30), vivid(rng, (0.7, 1.0), (0.3, 0.6))))
    disc(draw, x, y + r * 0.3, r * 0.42, r * 0.34, ink)
    for dx, dy in ((-0.55, -0.1), (-0.2, -0.45), (0.2, -0.45), (0.55, -0.1)):
        disc(draw, x + dx * r, y + dy * r, r * 0.16, r * 0.22, ink)


def cat(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    fur = rng.choice(((60, 55, 55), (205, 125, 45), (235, 225, 205), (120, 80, 50)))
    for side in (-1, 1):
        draw.polygon([(x + side * r * 0.85, y - r), (x + side * r * 0.15, y - r * 0.6), (x + side * r * 0.85, y)], fur)
    disc(draw, x, y + r * 0.1, r * 0.9, r * 0.75, fur)
    for side in (-1, 1):
        disc(draw, x + side * r * 0.35, y, r * 0.16, r * 0.2, (245, 240, 120))
        disc(draw, x + side * r * 0.35, y, r * 0.07, r * 0.18, (10, 10, 10))
    disc(draw, x, y + r * 0.35, r * 0.12, r * 0.08, (220, 120, 120))


def cereal_bowl(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    hoop = rng.choice(((225, 160, 60), (190, 110, 40), vivid(rng, (0.6, 0.9), (0.8, 1.0))))
    disc(draw, x, y - r * 0.1, r * 1.15, r * 0.5, (250, 250, 250))
    for _ in range(16):
        a, q = rng.uniform(0, 2 * pi), rng.uniform(0, 0.85)
        cx, cy, s = x + cos(a) * q * r, y - r * 0.18 + sin(a) * q * r * 0.4, r * 0.2
        disc(draw, cx, cy, s, s * 0.75, hoop)
        disc(draw, cx, cy, s * 0.4, s * 0.28, (250, 245, 230))
    bowl = vivid(rng, (0.5, 1.0), (0.4, 0.9))
    draw.pieslice((x - r * 1.2, y - r * 0.9, x + r * 1.2, y + r), 0, 180, fill=bowl)


def squares(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    """Pieces of a chocolate bar."""
    for i in (-1, 0):
        for k in (-1, 0):
            left, top = x + i * r * 0.8 + 2, y + k * r * 0.8 + 2
            draw.rectangle((left, top, left + r * 0.76, top + r * 0.76), fill=(62, 30, 14))
            draw.rectangle((left + r * 0.16, top + r * 0.16, left + r * 0.6, top + r * 0.6), fill=(92, 48, 24))


def crest(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    """A medal, as on beer."""
    rim, field = rng.choice(((215, 170, 60), (190, 30, 30), (240, 240, 235))), vivid(rng, (0.6, 1.0), (0.2, 0.6))
    disc(draw, x, y, r * 1.1, r, rim)
    disc(draw, x, y, r * 0.95, r * 0.84, field)
    for i in range(7):  # an ear of barley
        disc(draw, x + (-1) ** i * r * 0.14, y - r * 0.5 + i * r * 0.16, r * 0.13, r * 0.1, (235, 195, 90))


def bubbles(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    for _ in range(9):
        s = r * rng.uniform(0.12, 0.36)
        disc(
            draw, x + rng.uniform(-1.2, 1.2) * r, y + rng.uniform(-0.9, 0.9) * r, s, s, vivid(rng, (0.1, 0.8), (0.8, 1))
        )


def drop(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    blue = rng.choice(((40, 130, 220), (20, 90, 180), (90, 190, 230)))
    disc(draw, x, y + r * 0.25, r * 0.6, r * 0.6, blue)
    draw.polygon([(x, y - r), (x - r * 0.53, y), (x + r * 0.53, y)], fill=blue)


def chateau(draw: Draw, rng: random.Random, x: float, y: float, r: float) -> None:
    """A bunch of grapes in one ink, as on wine."""
    ink = rng.choice(((90, 20, 45), (60, 60, 65), (170, 130, 50), (40, 70, 45)))
    for row, count in enumerate((4, 3, 2, 1)):
        for i in range(count):
            disc(draw, x + (i - (count - 1) / 2) * r * 0.42, y - r * 0.4 + row * r * 0.36, r * 0.21, r * 0.21, ink)
    draw.line((x, y - r * 0.5, x + r * 0.1, y - r), fill=ink, width=max(2, round(r * 0.12)))
