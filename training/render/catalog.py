"""The words and choices a scene is made of. Everything here is data: recipe.py draws from it, captions.py says it.

Three kinds of choices: those that captions say (surfaces, walls, palette, lights, props), those that a picture shows
and no caption says (rigs, arrangements, lenses, densities, views), and the props that only category-bound scenes
hold, which no caption names either.
"""

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
    "planks": ("whitewashed planks", "rough white planks", "a white plank table"),
    "cork": ("a cork mat", "cork", "a sheet of cork"),
    "concrete": ("a concrete floor", "grey concrete", "a concrete block"),
    "steel": ("a brushed steel counter", "stainless steel", "a steel worktop"),
    "linen": ("a linen cloth", "natural linen", "a linen tablecloth"),
    "slate": ("a slate plate", "dark slate", "a slate counter"),
    "terrazzo": ("a terrazzo counter", "terrazzo", "a terrazzo slab"),
    "chequered": ("a chequered floor", "black and white tiles", "a chequered tile floor"),
    "sand": ("fine sand", "beach sand", "rippled sand"),
    "moss": ("green moss", "a mossy ground", "soft moss"),
    "acrylic": ("a glossy {colour} surface", "glossy {colour} acrylic", "a shiny {colour} table"),
    "paper": ("{colour} paper", "a matte {colour} surface", "a {colour} paper sweep"),
}

WALLS: dict[str, tuple[str, ...]] = {
    "plaster": ("a {colour} wall", "a plain {colour} plaster wall", "a smooth {colour} wall"),
    "tiles": ("{colour} tiles", "a {colour} tiled wall", "a wall of {colour} tiles"),
    "brick": ("a brick wall", "red bricks", "an old brick wall"),
    "raw concrete": ("a raw concrete wall", "a bare concrete wall", "a grey cast wall"),
    "panelling": ("{colour} wooden panels", "a {colour} panelled wall", "{colour} wood panelling"),
    "wallpaper": ("{colour} striped wallpaper", "a {colour} striped wall", "{colour} and white stripes"),
    "curtain": ("a {colour} curtain", "{colour} drapes", "a folded {colour} curtain"),
    "garden": ("a blurred green garden", "a garden in the background", "trees and leaves"),
    "sky": ("an open sky", "a clear sky", "the sky at the horizon"),
    "shelves": ("shelves with jars", "a shelf wall", "kitchen shelves"),
    "seamless": ("a seamless {colour} backdrop", "a {colour} studio backdrop", "a {colour} paper background"),
}
OUTDOORS = ("garden", "sky")
TINTED = "shelves"
"""A wall that shows the palette though no caption says so."""

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
INDOOR_LIGHTS = ("window", "moody", "top")

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

BOUND_PROPS = (
    "beans", "wheat", "shells", "feathers", "crate", "rope", "gears", "cones", "lantern", "reel", "cinnamon", "yarn",
    "hourglass", "trophy", "pearls", "towels",
)  # fmt: skip
"""Only category-bound scenes hold these, and no caption names them."""

RIGS = ("key", "rim", "fill", "halo")
"""The key light (what the caption says) alone, with a rim light from behind, a low fill, or a glow on the wall."""

ARRANGEMENTS = ("left", "right", "both", "behind", "ring")
"""Where props stand: a cluster beside the product, on both sides, in a row behind it, or all around."""

LENSES: dict[str, tuple[float, float]] = {"wide": (30.0, 38.0), "normal": (48.0, 60.0), "long": (85.0, 120.0)}
"""Focal lengths in mm on a 36 mm sensor."""

DENSITIES = {"sparse": 0.55, "medium": 1.0, "rich": 1.8}
"""How many pieces a prop comes in, relative to its usual number."""

VIEWS: dict[str, tuple[float, float]] = {"eye": (2.0, 15.0), "table": (15.0, 29.0), "high": (29.0, 45.0)}
"""Camera elevations above the horizontal, in degrees."""
VIEW_WEIGHTS = {"eye": 0.5, "table": 0.3, "high": 0.2}

DEPTHS_OF_FIELD = {"deep": 0.0, "shallow": 0.045, "very shallow": 0.09}
"""Lens radius over focus distance."""


def shows_palette(surface: str, wall: str) -> bool:
    """Whether anything in a scene has the palette's colour: brick, moss and many others have one of their own."""
    return wall == TINTED or any("{colour}" in phrase for phrase in (*SURFACES[surface], *WALLS[wall]))
