"""A scene's factors in words. Order, wording and omissions vary, so the text encoder learns each phrase by itself."""

import random

from .catalog import LIGHTS, PROPS, SURFACES, WALLS


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
    behind = rng.choice(("{}", "{}", "in front of {}")).format(rng.choice(WALLS[wall]).format(colour=palette))
    lit = rng.choice(LIGHTS[light])
    parts = [on, behind] if rng.random() < 0.7 else [behind, on]
    if rng.random() < 0.9:
        parts.append(lit)
    named = [rng.choice(PROPS[prop]).format(colour=accent) for prop in props]
    if named:
        parts.append("with " + " and ".join(named))
    article = "an" if product[0] in "aeiou" else "a"
    opening = rng.choice(("a photo of {a} {p}", "a photo of {a} {p}", "{a} {p}", "product photo of {a} {p}"))
    return opening.format(a=article, p=product) + " " + ", ".join(parts)
