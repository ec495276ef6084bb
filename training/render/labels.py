"""Printed labels of invented brands, drawn with Pillow."""

import colorsys
import random
from collections.abc import Callable

import bpy
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SYLLABLES = ("la", "mo", "ri", "ta", "no", "vel", "sa", "lu", "bri", "do", "ka", "fen", "ola", "zu", "pe", "mar")
REAL = ("marvel", "tata", "lulu", "lamar", "nokia", "pemex")  # somebody's own names

# Draws a mark of the given radius round a centre: (draw, rng, x, y, radius).
Emblem = Callable[[ImageDraw.ImageDraw, random.Random, float, float, float], None]


def brand(rng: random.Random) -> str:
    word = REAL[0]
    while word in REAL:
        word = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3))))
    return rng.choice((word.upper(), word.capitalize(), word))


def vivid(rng: random.Random, saturation: tuple[float, float] = (0.25, 0.9), value: tuple[float, float] = (0.3, 0.95)):
    """A product colour, drawn independently of the scene's palette; sRGB bytes."""
    rgb = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return tuple(round(255 * x) for x in rgb)


def linear(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    return tuple((c / 255) ** 2.2 for c in colour)


def label_image(
    rng: random.Random,
    aspect: float,
    ground: tuple[int, int, int] | None = None,
    emblem: Emblem | None = None,
    front: float = 1.0,
) -> bpy.types.Image:
    """A label of `aspect` = width / height: ground colour, a band or disc, a brand name and lines of small print.

    `emblem` draws the product's sign (a paw, a bean) into the lower half. `front` is the share of the width that one
    sees at once, where the label runs round a body; the print keeps within it.
    """
    height = 256
    width = max(64, round(height * aspect))
    ground = ground or rng.choice(((245, 243, 238), vivid(rng), (28, 28, 32)))
    ink = (250, 250, 248) if sum(ground) < 380 else rng.choice(((25, 25, 30), vivid(rng, (0.6, 1), (0.2, 0.5))))
    second = vivid(rng, (0.5, 1.0))
    image = Image.new("RGB", (width, height), ground)
    draw = ImageDraw.Draw(image)
    style = rng.choice(("band", "disc", "frame", "stripes", "plain"))
    if style == "band":
        top = rng.uniform(0.5, 0.7) * height
        draw.rectangle((0, top, width, top + height * rng.uniform(0.12, 0.35)), fill=second)
    elif style == "disc":
        r = min(width, height) * rng.uniform(0.14, 0.22)
        draw.ellipse((width / 2 - r, height * 0.72 - r, width / 2 + r, height * 0.72 + r), fill=second)
    elif style == "frame":
        draw.rectangle((width * 0.05, height * 0.05, width * 0.95, height * 0.95), outline=second, width=6)
    elif style == "stripes":
        for i in range(6):
            draw.rectangle((0, height * (0.62 + 0.06 * i), width, height * (0.65 + 0.06 * i)), fill=second)
    name = brand(rng)
    size = min(0.30 * height, 1.5 * width * front / len(name) * 0.9)
    draw.text((width / 2, height * 0.32), name, fill=ink, font=ImageFont.load_default(size), anchor="mm")
    for i in range(rng.choice((1, 2, 3))):
        half = width * front * rng.uniform(0.12, 0.28)
        y = height * (0.50 + 0.055 * i)
        draw.rectangle((width / 2 - half, y, width / 2 + half, y + 3), fill=ink)
    if emblem:
        emblem(draw, rng, width / 2, height * 0.74, min(width * front * 0.4, height * 0.21))
    return upload(image)


def upload(image: Image.Image) -> bpy.types.Image:
    pixels = np.asarray(image.convert("RGBA").transpose(Image.Transpose.FLIP_TOP_BOTTOM), np.float32) / 255
    target = bpy.data.images.new("label", image.width, image.height)
    target.pixels.foreach_set(pixels.ravel())
    target.pack()
    return target
