"""Draws one scene's factors from its seed. Pure Python: a data set can be described without rendering it.

A recipe has three parts with random streams of their own: the product, the style and the layout. So the product of a
seed is the same in its scene, its packshot and its negatives, and a pair shares its style to the grain of the wood.
"""

import hashlib
import random
from dataclasses import asdict, dataclass
from functools import cache
from typing import Literal

from .captions import caption
from .catalog import (
    ARRANGEMENTS,
    DENSITIES,
    DEPTHS_OF_FIELD,
    INDOOR_LIGHTS,
    LENSES,
    LIGHTS,
    OUTDOORS,
    PALETTE,
    PROPS,
    RIGS,
    SURFACES,
    VIEW_WEIGHTS,
    VIEWS,
    WALLS,
)
from .categories import CATEGORIES, Category

VERSION = 3
"""Of the renderer: raised whenever a seed draws another picture than before."""

Half = Literal["generic", "bound"]
BOUND_PROP_CHANCE = 0.75


@dataclass(frozen=True)
class Product:
    category: str
    family: str
    product_word: str
    turn: float  # degrees about its vertical axis
    unseen_family: bool
    product_key: str  # names the random stream that shapes and labels it


@dataclass(frozen=True)
class Style:
    surface: str
    wall: str
    palette: str  # wall, paper and acrylic
    accent: str  # podium, arch, cloth, balls
    light: str
    rig: str
    depth_of_field: str
    lens_kind: str
    lens: float  # mm on a 36 mm sensor
    view: str
    props: tuple[str, ...]  # kinds that captions name
    bound_props: tuple[str, ...]  # kinds that no caption names
    unseen_combination: bool
    style_key: str


@dataclass(frozen=True)
class Layout:
    arrangement: str
    density: str
    elevation: float  # camera above the horizontal, degrees
    fill: float  # larger side of the product over the frame
    shift_x: float  # of the frame over the scene, as shares of its side
    shift_y: float
    layout_key: str


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a render."""

    seed: int
    half: Half
    product: Product
    style: Style
    layout: Layout
    caption: str

    def factors(self) -> dict[str, object]:
        parts = {"seed": self.seed, "half": self.half, "renderer_version": VERSION}
        for part in (self.product, self.style, self.layout):
            parts |= asdict(part)
        return parts | {"caption": self.caption}


def draw_recipe(seed: int, half: Half = "generic", held_out: bool = False) -> Recipe:
    """The scene of `seed`.

    `held_out` draws what training never shows: in half of the pictures a held-out shape family, and independently in
    half of them a held-out combination of surface, wall and light.
    """
    key = f"{half}-{seed}"
    category = category_of(seed)
    common = CATEGORIES[category] if half == "bound" else None
    style = draw_style(key, common, held_out)
    return assemble(seed, half, draw_product(key, category, held_out), style, draw_layout(key, common, style))


def draw_reference(seed: int, half: Half = "generic", held_out: bool = False) -> Recipe:
    """The partner of `seed`'s scene: the same style, another layout and product (half the time of its category)."""
    scene = draw_recipe(seed, half, held_out)
    key = f"{half}-{seed}-reference"
    category, names = scene.product.category, list(CATEGORIES)
    common = CATEGORIES[category] if half == "bound" else None
    rng = random.Random(f"partner-{key}")
    if rng.random() < 0.5:
        category = rng.choice([name for name in names if name != category])
    layout = draw_layout(key, common, scene.style, avoid=scene.layout.arrangement)
    return assemble(seed, half, draw_product(key, category, held_out), scene.style, layout)


def category_of(seed: int) -> str:
    """Any range of seeds holds the categories in equal numbers, give or take one."""
    names = list(CATEGORIES)
    return names[seed % len(names)]


@cache
def held_out_combination(surface: str, wall: str, light: str) -> bool:
    """Whether training renders never show these three together: a fixed tenth of all combinations."""
    digest = hashlib.sha256(f"{surface}|{wall}|{light}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 10 == 0


def draw_product(key: str, category: str, held_out: bool) -> Product:
    rng = random.Random(f"product-{key}")
    spec = CATEGORIES[category]
    unseen = held_out and rng.random() < 0.5
    family = spec.families[-1] if unseen else rng.choice(spec.families[:-1])
    turn = rng.uniform(-20, 20) if spec.front else rng.uniform(-40, 40)
    return Product(category, family, rng.choice(spec.words), turn, unseen, key)


def draw_style(key: str, common: Category | None, held_out: bool) -> Style:
    """A style; without a category's commonality every choice is open, so the scene tells nothing of the product."""
    rng = random.Random(f"style-{key}")
    unseen = held_out and rng.random() < 0.5
    surface, wall, light = draw_combination(rng, common, unseen)
    palette = rng.choice(common.palette if common else tuple(PALETTE))
    accent = rng.choice([name for name in PALETTE if name != palette])
    rig = rng.choice([rig for rig in (common.rigs if common else RIGS) if fits(rig, wall)] or ("key",))
    views = common.views if common else tuple(VIEWS)
    view = rng.choices(views, [VIEW_WEIGHTS[view] for view in views])[0]
    lens_kind = rng.choice(common.lenses if common else tuple(LENSES))
    pool = [prop for prop in (common.props if common else PROPS) if prop != "arch" or wall not in OUTDOORS]
    number = rng.choices((1, 2, 3), (45, 40, 15))[0] if common else rng.choices((0, 1, 2, 3), (15, 35, 35, 15))[0]
    return Style(
        surface=surface, wall=wall, palette=palette, accent=accent, light=light, rig=rig,
        depth_of_field=rng.choices(tuple(DEPTHS_OF_FIELD), (30, 45, 25))[0],
        lens_kind=lens_kind, lens=rng.uniform(*LENSES[lens_kind]),
        view="eye" if wall in OUTDOORS else view,  # from above, the horizon is out of the frame
        props=tuple(rng.sample(pool, min(len(pool), number))),
        bound_props=tuple(p for p in common.bound_props if rng.random() < BOUND_PROP_CHANCE) if common else (),
        unseen_combination=held_out_combination(surface, wall, light), style_key=key,
    )  # fmt: skip


def fits(rig: str, wall: str) -> bool:
    """A glow needs a wall to lie on."""
    return rig != "halo" or wall not in OUTDOORS


def draw_combination(rng: random.Random, common: Category | None, unseen: bool) -> tuple[str, str, str]:
    """Surface, wall and light, of the held-out tenth if `unseen` and the category has any there, else of the others."""
    walls = common.walls if common else tuple(WALLS)
    combinations = {wall: _combinations(wall, common) for wall in walls}
    for wanted in (unseen, False):
        open_ = {
            wall: chosen
            for wall, all_ in combinations.items()
            if (chosen := [c for c in all_ if held_out_combination(*c) == wanted])
        }
        if open_:
            return rng.choice(open_[rng.choice(tuple(open_))])
    raise ValueError(f"every combination of {common} is held out")


def _combinations(wall: str, common: Category | None) -> list[tuple[str, str, str]]:
    surfaces = ("paper",) if wall == "seamless" else common.surfaces if common else tuple(SURFACES)
    lights = [
        light for light in (common.lights if common else LIGHTS) if not (indoors_only(light) and wall in OUTDOORS)
    ]
    return [(surface, wall, light) for surface in surfaces for light in lights]


def indoors_only(light: str) -> bool:
    return light in INDOOR_LIGHTS


def draw_layout(key: str, common: Category | None, style: Style, avoid: str | None = None) -> Layout:
    """Where things stand and how the camera looks; `avoid` excludes an arrangement where another is open."""
    rng = random.Random(f"layout-{key}")
    open_ = common.arrangements if common else ARRANGEMENTS
    arrangement = rng.choice([choice for choice in open_ if choice != avoid] or open_)
    low, high = VIEWS[style.view]
    counterweight = {"left": -0.07, "right": 0.07}.get(arrangement, 0.0)  # props left: the product moves right
    return Layout(
        arrangement=arrangement, density=rng.choice(common.densities if common else tuple(DENSITIES)),
        elevation=rng.uniform(low, high), fill=rng.uniform(0.38, 0.62),
        shift_x=counterweight + rng.gauss(0, 0.05), shift_y=rng.uniform(-0.02, 0.14), layout_key=key,
    )  # fmt: skip


def assemble(seed: int, half: Half, product: Product, style: Style, layout: Layout) -> Recipe:
    rng = random.Random(f"caption-{layout.layout_key}")
    text = caption(
        rng, product.product_word, style.surface, style.wall, style.palette, style.accent, style.light, style.props
    )
    return Recipe(seed, half, product, style, layout, text)
