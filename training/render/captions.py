"""A scene's factors in words. Order, wording and omissions vary, so the text encoder learns each phrase by itself."""

import random

from .catalog import LIGHTS, PROPS, SURFACES, WALLS

OPENINGS = ("a photo of {a} {p}", "a photo of {a} {p}", "{a} {p}", "product photo of {a} {p}")
BARE_OPENINGS = ("a photo of {p}", "a photo of {p}", "{p}", "product photo of {p}")
NO_ARTICLE = {
    "wine", "honey", "cereal", "breakfast cereal", "coffee", "ground coffee", "chocolate", "dark chocolate", "sweets",
    "spice", "kitchen spice", "ground spice", "cheese", "farm cheese", "pet food", "dog food", "cat food",
    "mineral water", "toothpaste", "tooth cream", "mint toothpaste", "vitamins", "paint", "wall paint", "headphones",
    "wireless headphones", "sunglasses", "shades", "trainers", "cookware", "headwear", "fruit", "fresh fruit",
    "ripe fruit", "nail polish", "nail varnish", "face cream", "perfume", "eau de parfum", "shampoo", "table sauce",
    "beer", "cold beer", "body spray",
}  # fmt: skip
"""Product words that take no article."""


def caption(
    rng: random.Random,
    product: str,
    surface: str,
    wall: str,
    palette: str,
    accent: str,
    light: str,
    props: tuple[str, ...],
) -> str:
    """A caption such as `a photo of a mug on oak, a sage green wall, soft light from the left, with books`."""
    on = "on " + rng.choice(SURFACES[surface]).format(colour=palette)
    wall_words = rng.choice(WALLS[wall]).format(colour=palette)
    if rng.random() < 0.7:
        parts = [on, rng.choice(("{}", "{}", "in front of {}")).format(wall_words)]
    else:
        parts = [f"in front of {wall_words}", on]
    if rng.random() < 0.9:
        parts.append(rng.choice(LIGHTS[light]))
    named = [rng.choice(PROPS[prop]).format(colour=accent) for prop in props]
    if named:
        parts.append("with " + " and ".join(named))
    opening = rng.choice(BARE_OPENINGS if product in NO_ARTICLE else OPENINGS)
    article = "an" if product[0] in "aeiou" else "a"
    return opening.format(a=article, p=product) + " " + ", ".join(parts)
