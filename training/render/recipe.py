"""Draws one scene's factors from its seed. Pure Python: a data set can be described without rendering it."""

import random
from dataclasses import asdict, dataclass
from typing import Literal

from .captions import caption
from .catalog import CATEGORIES, LIGHTS, OUTDOORS, PALETTE, PROPS, SURFACES, WALLS

Half = Literal["generic", "bound"]
DEPTHS_OF_FIELD = {"deep": 0.0, "shallow": 0.045, "very shallow": 0.09}  # lens radius over focus distance


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a render. Angles in degrees; sizes as fractions of the frame."""

    seed: int
    half: Half
    category: str
    family: str
    product_word: str
    surface: str
    wall: str
    palette: str  # wall, paper and acrylic
    accent: str  # podium, arch, cloth, balls
    light: str
    props: tuple[str, ...]
    depth_of_field: str
    elevation: float  # camera above the horizontal
    lens: float  # mm on a 36 mm sensor
    fill: float  # larger side of the product over the frame
    shift_x: float
    shift_y: float
    turn: float  # product about its vertical axis
    caption: str

    def factors(self) -> dict[str, object]:
        return asdict(self)


def draw_recipe(seed: int, half: Half = "generic", held_out: bool = False) -> Recipe:
    """The scene of `seed`. `held_out` draws only the shape families that training renders never show."""
    rng = random.Random(f"{half}-{seed}")
    names = list(CATEGORIES)
    category = names[seed % len(names)]  # balanced by construction
    spec = CATEGORIES[category]
    family = spec.families[-1] if held_out else rng.choice(spec.families[:-1])

    def pick(table: dict, common: tuple[str, ...]) -> str:
        return rng.choice(common if half == "bound" else tuple(table))

    wall = pick(WALLS, spec.walls)
    surface = "paper" if wall == "seamless" else pick(SURFACES, spec.surfaces)
    palette = pick(PALETTE, spec.palette)
    accent = rng.choice([name for name in PALETTE if name != palette])
    light = pick(LIGHTS, spec.lights)
    if wall in OUTDOORS and light in ("window", "moody", "top"):
        light = rng.choice(("sun left", "sun right", "evening"))
    pool = [p for p in (spec.props if half == "bound" else PROPS) if not (p == "arch" and wall in OUTDOORS)]
    props = tuple(rng.sample(pool, min(len(pool), rng.choices((0, 1, 2, 3), (15, 35, 35, 15))[0])))
    word = rng.choice(spec.words)
    elevation = min(32.0, max(2.0, rng.gauss(11, 7)))
    fill = rng.uniform(0.40, 0.66)
    return Recipe(
        seed=seed, half=half, category=category, family=family, product_word=word, surface=surface, wall=wall,
        palette=palette, accent=accent, light=light, props=props,
        depth_of_field=rng.choices(tuple(DEPTHS_OF_FIELD), (30, 45, 25))[0],
        elevation=elevation, lens=rng.choice((50.0, 70.0, 85.0)), fill=fill,
        shift_x=rng.gauss(0, 0.06), shift_y=rng.uniform(-0.02, 0.14), turn=rng.uniform(-40, 40),
        caption=caption(rng, word, surface, wall, palette, accent, light, props),
    )  # fmt: skip
