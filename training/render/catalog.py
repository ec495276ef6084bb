"""The words and choices a scene is made of. Everything here is data: recipe.py draws from it, captions.py says it.

Each category owns shape families (the last one is held out of training renders) and a commonality: the part of the
scene tables that backgrounds of this category have in common. Generic scenes ignore the commonality.
"""

from dataclasses import dataclass

# name -> linear-light RGB of a painted wall, paper or cloth
PALETTE: dict[str, tuple[float, float, float]] = {
    "white": (0.82, 0.81, 0.79),
    "cream": (0.80, 0.68, 0.50),
    "blush pink": (0.75, 0.40, 0.38),
    "terracotta": (0.50, 0.16, 0.08),
    "mustard": (0.66, 0.37, 0.05),
    "sage green": (0.28, 0.38, 0.24),
    "forest green": (0.03, 0.13, 0.06),
    "teal": (0.03, 0.26, 0.28),
    "sky blue": (0.30, 0.53, 0.76),
    "navy": (0.02, 0.04, 0.14),
    "lavender": (0.45, 0.36, 0.66),
    "charcoal": (0.04, 0.04, 0.045),
}

# name -> the phrases a caption may use ({colour} is filled with the palette's name)
SURFACES: dict[str, tuple[str, ...]] = {
    "white marble": ("a white marble slab", "white marble", "a polished white marble counter"),
    "black marble": ("a black marble slab", "black marble", "a dark marble counter"),
    "oak": ("a light oak table", "an oak board", "pale oak wood"),
    "walnut": ("a dark walnut table", "walnut wood", "a dark wooden table"),
    "concrete": ("a concrete floor", "grey concrete", "a concrete block"),
    "linen": ("a linen cloth", "natural linen", "a linen tablecloth"),
    "slate": ("a slate plate", "dark slate", "a slate counter"),
    "terrazzo": ("a terrazzo counter", "terrazzo", "a terrazzo slab"),
    "sand": ("fine sand", "beach sand", "rippled sand"),
    "moss": ("green moss", "a mossy ground", "soft moss"),
    "acrylic": ("a glossy {colour} surface", "glossy {colour} acrylic", "a shiny {colour} table"),
    "paper": ("{colour} paper", "a matte {colour} surface", "a {colour} paper sweep"),
}

WALLS: dict[str, tuple[str, ...]] = {
    "plaster": ("a {colour} wall", "a plain {colour} plaster wall", "a smooth {colour} wall"),
    "tiles": ("{colour} tiles", "a {colour} tiled wall", "a wall of {colour} tiles"),
    "brick": ("a brick wall", "red bricks", "an old brick wall"),
    "panelling": ("{colour} wooden panels", "a {colour} panelled wall", "{colour} wood panelling"),
    "curtain": ("a {colour} curtain", "{colour} drapes", "a folded {colour} curtain"),
    "garden": ("a blurred green garden", "a garden in the background", "trees and leaves behind"),
    "sky": ("an open sky", "a clear sky behind", "the sky at the horizon"),
    "shelves": ("shelves with jars", "a shelf wall behind", "kitchen shelves"),
    "seamless": ("a seamless {colour} backdrop", "a {colour} studio backdrop", "a {colour} paper background"),
}
OUTDOORS = ("garden", "sky")

LIGHTS: dict[str, tuple[str, ...]] = {
    "soft left": ("soft light from the left", "soft daylight from the left"),
    "soft right": ("soft light from the right", "soft daylight from the right"),
    "sun left": ("hard sunlight from the left", "bright sun from the left"),
    "sun right": ("hard sunlight from the right", "bright sun from the right"),
    "window": ("window light with shadow bars", "sunlight through a window"),
    "evening": ("warm evening light", "golden evening light"),
    "top": ("a softbox from above", "even studio light"),
    "moody": ("dark moody light", "a dim spotlight"),
}

PROPS: dict[str, tuple[str, ...]] = {
    "leaves": ("green leaves", "leafy branches"),
    "pebbles": ("grey pebbles", "smooth stones"),
    "petals": ("pink petals", "scattered petals"),
    "lemons": ("lemons", "fresh lemons"),
    "oranges": ("oranges", "ripe oranges"),
    "books": ("a stack of books", "books"),
    "vase": ("a vase with twigs", "a ceramic vase"),
    "spheres": ("{colour} balls", "{colour} spheres"),
    "arch": ("a {colour} arch", "a {colour} archway"),
    "podium": ("a {colour} podium", "a round {colour} pedestal"),
    "gifts": ("gift boxes", "wrapped presents"),
    "candles": ("lit candles", "burning candles"),
    "ice": ("ice cubes", "clear ice cubes"),
    "blocks": ("wooden blocks", "small wooden cubes"),
    "cloth": ("a {colour} napkin", "a folded {colour} cloth"),
}


@dataclass(frozen=True)
class Category:
    """One product category: how captions call it, its shapes, and what its own backgrounds share."""

    words: tuple[str, ...]
    families: tuple[str, ...]  # the last one is held out of training renders
    surfaces: tuple[str, ...]
    walls: tuple[str, ...]
    palette: tuple[str, ...]
    lights: tuple[str, ...]
    props: tuple[str, ...]


CATEGORIES: dict[str, Category] = {
    "mug": Category(
        ("mug", "coffee mug", "cup"), ("straight", "tapered", "round"),
        ("oak", "walnut", "linen"), ("plaster", "shelves"), ("cream", "white", "sage green"),
        ("window", "soft left"), ("books", "cloth"),
    ),
    "sauce": Category(
        ("sauce bottle", "bottle of sauce"), ("squeeze", "glass", "flask"),
        ("oak", "slate"), ("tiles", "shelves"), ("white", "forest green", "mustard"),
        ("soft right", "window"), ("lemons", "leaves", "cloth"),
    ),
    "perfume": Category(
        ("perfume", "perfume bottle"), ("slab", "column", "globe"),
        ("white marble", "acrylic"), ("curtain", "plaster"), ("blush pink", "lavender", "cream"),
        ("soft left", "sun left"), ("petals", "arch", "podium"),
    ),
    "juice": Category(
        ("juice carton", "carton"), ("gable", "brick", "slim"),
        ("oak", "terrazzo"), ("garden", "tiles"), ("sky blue", "white", "mustard"),
        ("sun right", "soft right"), ("oranges", "leaves", "ice"),
    ),
    "yoghurt": Category(
        ("yoghurt", "yoghurt cup", "tub"), ("cup", "tub", "pot"),
        ("linen", "oak"), ("plaster", "tiles"), ("sky blue", "white", "blush pink"),
        ("soft left", "soft right"), ("cloth", "petals"),
    ),
    "cream": Category(
        ("cream jar", "face cream"), ("disc", "cube", "dome"),
        ("white marble", "terrazzo"), ("seamless", "plaster"), ("sage green", "cream", "white"),
        ("soft left", "top"), ("leaves", "pebbles", "podium"),
    ),
    "speaker": Category(
        ("speaker", "loudspeaker"), ("column", "ball", "cone"),
        ("walnut", "concrete"), ("panelling", "plaster"), ("charcoal", "navy", "teal"),
        ("moody", "evening"), ("books", "vase"),
    ),
    "candle": Category(
        ("candle", "scented candle"), ("jar", "pillar", "tin"),
        ("walnut", "linen"), ("curtain", "brick"), ("terracotta", "cream", "charcoal"),
        ("evening", "moody"), ("candles", "vase", "cloth"),
    ),
    "tea": Category(
        ("tea tin", "tin of tea"), ("box", "drum", "hexagon"),
        ("walnut", "slate"), ("panelling", "garden"), ("forest green", "cream", "terracotta"),
        ("evening", "window"), ("leaves", "cloth", "blocks"),
    ),
    "fruit": Category(
        ("fruit", "fresh fruit"), ("apple", "orange", "pear"),
        ("oak", "linen", "slate"), ("garden", "plaster"), ("sage green", "mustard", "cream"),
        ("sun left", "window"), ("leaves", "cloth"),
    ),
    "toy": Category(
        ("toy", "wooden toy"), ("tower", "car", "robot"),
        ("paper", "acrylic"), ("seamless", "plaster"), ("mustard", "sky blue", "blush pink"),
        ("sun right", "top"), ("blocks", "spheres", "gifts"),
    ),
    "soap": Category(
        ("soap bottle", "pump bottle", "shampoo"), ("cylinder", "rectangle", "cone"),
        ("white marble", "concrete", "sand"), ("tiles", "sky"), ("teal", "sky blue", "white"),
        ("soft right", "sun left"), ("pebbles", "leaves", "cloth"),
    ),
}  # fmt: skip
