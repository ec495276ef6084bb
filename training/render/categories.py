"""The 48 product categories: how captions call them, their shapes, and what their own backgrounds have in common.

A commonality lies in three layers. *Said* factors occur in captions: surfaces, walls, colours, lights, props. *Unsaid*
ones are seen and never written: light rig, arrangement of the props, lens, density, view. *Bound* props occur in
category-bound scenes only, and no caption names them. Generic scenes ignore all three.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    words: tuple[str, ...]
    families: tuple[str, ...]  # the last one is held out of training renders
    surfaces: tuple[str, ...]
    walls: tuple[str, ...]
    palette: tuple[str, ...]
    lights: tuple[str, ...]
    props: tuple[str, ...]
    rigs: tuple[str, ...]
    arrangements: tuple[str, ...]
    lenses: tuple[str, ...]
    densities: tuple[str, ...]
    views: tuple[str, ...]
    bound_props: tuple[str, ...]
    front: bool = False  # has a flat front: it is turned by half the angle that round products are

    @property
    def said(self) -> tuple[tuple[str, ...], ...]:
        return self.surfaces, self.walls, self.palette, self.lights, self.props

    @property
    def unsaid(self) -> tuple[tuple[str, ...], ...]:
        return self.rigs, self.arrangements, self.lenses, self.densities, self.views


def row(words: str, families: str, said: str, unsaid: str, bound: str, front: bool = False) -> Category:
    """One line of the table below; `|` parts the factors in the order of the fields above, commas their choices."""

    def choices(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split(","))

    factors = [choices(part) for part in f"{said} | {unsaid}".split("|")]
    return Category(choices(words), choices(families), *factors, choices(bound), front)


# surfaces | walls | palette | lights | props, then rigs | arrangements | lenses | densities | views, then bound props
CATEGORIES: dict[str, Category] = {
    "mug": row(
        "mug, coffee mug, cup", "straight, tapered, round",
        "oak, walnut, linen | plaster, shelves | cream, white, sage green | window, soft left | books, cloth",
        "fill | left | normal | medium, sparse | table, eye", "yarn, cinnamon"),
    "sauce": row(
        "sauce bottle, bottle of sauce, table sauce", "squeeze, glass, flask",
        "oak, slate | tiles, shelves | white, forest green, mustard | soft right, window | lemons, leaves, cloth",
        "key, fill | right, behind | normal, long | medium | eye, table", "crate"),
    "perfume": row(
        "perfume, perfume bottle, eau de parfum", "slab, column, globe",
        "white marble, acrylic | curtain, plaster | blush pink, lavender, cream | soft left, sun left"
        " | petals, arch, podium",
        "rim, halo | ring | long | rich, medium | eye", "pearls, feathers", front=True),
    "juice": row(
        "juice carton, carton, carton of juice", "gable, brick, slim",
        "oak, terrazzo | garden, tiles | sky blue, white, mustard | sun right, soft right | oranges, leaves, ice",
        "fill | both | wide, normal | rich | eye, table", "crate, wheat", front=True),
    "yoghurt": row(
        "yoghurt, yoghurt cup, pot of yoghurt", "cup, tub, pot",
        "linen, planks | plaster, tiles | sky blue, white, blush pink | soft left, soft right | cloth, petals",
        "fill | both, right | normal | medium | table", "wheat"),
    "cream": row(
        "cream jar, face cream, jar of cream", "disc, cube, dome",
        "white marble, terrazzo | seamless, plaster | sage green, cream, white | soft left, top"
        " | leaves, pebbles, podium",
        "fill, halo | ring, behind | long | sparse | table, high", "towels, pearls"),
    "speaker": row(
        "speaker, loudspeaker, bluetooth speaker", "column, ball, cone",
        "walnut, concrete | panelling, raw concrete | charcoal, navy, teal | moody, evening | books, vase",
        "rim | left | wide | sparse | eye", "reel"),
    "candle": row(
        "candle, scented candle, wax candle", "jar, pillar, tin",
        "walnut, linen | curtain, brick | terracotta, cream, charcoal | evening, moody | candles, vase, cloth",
        "key | ring | normal, long | rich | table, eye", "cones, cinnamon"),
    "tea": row(
        "tea tin, tin of tea, tea caddy", "box, drum, hexagon",
        "walnut, slate | panelling, garden | forest green, cream, terracotta | evening, window, soft left"
        " | leaves, cloth, blocks",
        "rim, key | behind | normal | sparse, medium | table, eye", "cones, hourglass", front=True),
    "fruit": row(
        "fruit, fresh fruit, ripe fruit", "apple, orange, pear",
        "oak, linen, slate | garden, plaster | sage green, mustard, cream | sun left, soft left | leaves, cloth",
        "key | left, both | normal, long | medium, rich | table, high", "wheat, crate"),
    "toy": row(
        "toy, wooden toy, children's toy", "tower, car, robot",
        "paper, acrylic | seamless, wallpaper | mustard, sky blue, blush pink | sun right, top"
        " | blocks, spheres, gifts",
        "fill | ring, both | wide | rich | table, high", "yarn"),
    "soap": row(
        "soap bottle, pump bottle, shampoo", "cylinder, rectangle, cone",
        "white marble, concrete, sand | tiles, sky | teal, sky blue, white | soft right, sun left"
        " | pebbles, leaves, cloth",
        "fill, rim | right | normal | sparse, medium | eye", "towels, shells"),
    "wine": row(
        "wine bottle, bottle of wine, wine", "bordeaux, burgundy, flute",
        "walnut, slate | panelling, brick | terracotta, charcoal | moody, evening | candles, cloth",
        "rim | behind, left | long | sparse, medium | eye", "lantern, crate"),
    "beer": row(
        "beer, bottle of beer, cold beer", "longneck, can, stubby",
        "walnut, steel | brick, garden | mustard, forest green | evening, sun right | ice, cloth, leaves",
        "rim, key | both | wide, normal | rich | eye", "wheat, crate"),
    "soda": row(
        "soda, soft drink, fizzy drink", "can, bottle, slim",
        "acrylic, chequered | seamless, tiles | mustard, teal, blush pink | sun left, sun right"
        " | ice, oranges, spheres",
        "key | ring | wide | rich | eye, table", "reel"),
    "water": row(
        "water bottle, mineral water, bottle of water", "plastic, sport, carafe",
        "slate, sand | sky, garden | sky blue, white, teal | sun left, soft left | ice, pebbles, lemons",
        "rim, fill | ring, right | long, normal | medium | eye", "shells"),
    "kettle": row(
        "kettle, water kettle, tea kettle", "stovetop, electric, gooseneck",
        "white marble, steel | tiles, shelves | sage green, navy, white | soft left, window | lemons, cloth, vase",
        "fill, key | behind | normal, long | sparse | table, eye", "cinnamon, towels"),
    "coffee": row(
        "coffee, ground coffee, pack of coffee", "pouch, tin, capsules",
        "walnut, slate | brick, shelves | terracotta, cream, charcoal | window, evening | books, cloth, blocks",
        "key, rim | ring | normal | rich | table, high", "beans", front=True),
    "honey": row(
        "honey, jar of honey, honey jar", "jar, hexagon, squeeze",
        "oak, planks | garden, plaster | mustard, cream | evening, sun left | lemons, petals, cloth",
        "rim | left, ring | long | medium | eye, table", "wheat, cinnamon"),
    "cereal": row(
        "cereal, breakfast cereal, box of cereal", "box, slim, pouch",
        "oak, planks | wallpaper, tiles | sky blue, mustard, white | soft right, sun right | oranges, cloth, spheres",
        "fill | both, behind | wide | medium, rich | eye", "wheat, trophy", front=True),
    "chocolate": row(
        "chocolate, dark chocolate, sweets", "bar, box, tube",
        "black marble, walnut | curtain, plaster | blush pink, terracotta, cream | moody, soft left"
        " | gifts, petals, podium",
        "rim, halo | ring | long | rich, medium | high, table", "beans, lantern", front=True),
    "spice": row(
        "spice, kitchen spice, ground spice", "shaker, jar, grinder",
        "slate, cork | shelves, brick | mustard, terracotta | window, soft right | lemons, leaves, pebbles",
        "key | behind, ring | normal | rich | table", "cinnamon, beans"),
    "cheese": row(
        "cheese, piece of cheese, farm cheese", "wedge, wheel, block",
        "slate, oak | panelling, raw concrete | mustard, cream, navy | window, moody | leaves, cloth, blocks",
        "key, fill | right, both | normal | medium | high, table", "wheat, lantern"),
    "petfood": row(
        "pet food, dog food, cat food", "can, bag, bowl",
        "chequered, concrete | plaster, garden | teal, mustard, sky blue | soft right, sun left"
        " | spheres, leaves, blocks",
        "fill | left, right | wide | sparse, medium | table, eye", "yarn, rope"),
    "lipstick": row(
        "lipstick, red lipstick, lip colour", "open, closed, square",
        "acrylic, black marble | seamless, curtain | blush pink, terracotta, lavender | sun right, top"
        " | petals, spheres, podium",
        "halo, rim | behind, ring | long | sparse, medium | eye", "pearls"),
    "polish": row(
        "nail polish, bottle of nail polish, nail varnish", "round, square, tall",
        "acrylic, terrazzo | seamless, wallpaper | lavender, blush pink, teal | sun left, top | spheres, petals, arch",
        "key | both, ring | long, normal | rich | table", "feathers, pearls"),
    "toothpaste": row(
        "toothpaste, tooth cream, mint toothpaste", "tube, pump, standing",
        "white marble, terrazzo | tiles, plaster | teal, sky blue, white | soft left, top | leaves, cloth, ice",
        "fill | right, behind | normal | sparse | eye, table", "towels", front=True),
    "deodorant": row(
        "deodorant, deodorant stick, body spray", "stick, spray, roller",
        "concrete, steel | raw concrete, sky | navy, charcoal, sky blue | sun right, soft right | pebbles, ice, leaves",
        "rim | left | long | sparse | eye", "towels, rope"),
    "vitamins": row(
        "vitamins, bottle of vitamins, food supplement", "bottle, dropper, tub",
        "terrazzo, paper | seamless, plaster | mustard, sage green, white | top, soft right | oranges, leaves, spheres",
        "halo, fill | both | normal | medium | eye, table", "hourglass"),
    "baby": row(
        "baby bottle, feeding bottle, bottle for a baby", "slim, wide, cup",
        "linen, planks | wallpaper, curtain | blush pink, sky blue, cream | soft left, soft right"
        " | blocks, cloth, spheres",
        "fill | left, ring | normal, long | medium | eye, table", "yarn, feathers"),
    "lamp": row(
        "lamp, table lamp, reading lamp", "desk, mushroom, globe",
        "walnut, oak | wallpaper, plaster | navy, forest green, terracotta | moody, evening | books, vase",
        "halo, key | right | wide, normal | sparse | eye", "hourglass, feathers"),
    "clock": row(
        "clock, alarm clock, bedside clock", "bell, round, square",
        "oak, linen | wallpaper, panelling | sage green, sky blue, cream | window, sun left | books, vase, cloth",
        "key | left | normal | medium | eye", "gears, hourglass", front=True),
    "plant": row(
        "potted plant, house plant, plant in a pot", "cylinder, tapered, bowl",
        "terrazzo, oak | plaster, brick | terracotta, sage green, white | window, soft left | pebbles, books, arch",
        "fill, key | both, right | normal, wide | sparse, medium | eye, table", "rope, shells"),
    "paint": row(
        "paint, can of paint, wall paint", "tin, spray, bucket",
        "concrete, planks | plaster, raw concrete | teal, mustard, blush pink | soft right, sun left"
        " | blocks, cloth, spheres",
        "key, fill | right | wide | medium, rich | eye, table", "rope, crate"),
    "tool": row(
        "tool, hand tool, workshop tool", "hammer, screwdriver, brush",
        "concrete, oak | brick, panelling | charcoal, mustard | sun right, moody | blocks, books",
        "key, rim | behind | normal, wide | medium | high, table", "gears, rope"),
    "pan": row(
        "pan, cooking pot, cookware", "saucepan, casserole, wok",
        "steel, slate | tiles, shelves | charcoal, cream, sage green | soft left, evening | lemons, leaves, cloth",
        "rim, fill | behind, both | normal, wide | medium, rich | table, high", "cinnamon, wheat"),
    "headphones": row(
        "headphones, wireless headphones, headset", "overear, stand, case",
        "acrylic, walnut | raw concrete, seamless | charcoal, lavender, teal | top, moody | books, spheres, podium",
        "rim, halo | left, right | long | sparse | eye, table", "reel, gears"),
    "phone": row(
        "phone, mobile phone, smartphone", "flat, rugged, folded",
        "acrylic, concrete | seamless, plaster | navy, white, lavender | top, soft left | spheres, podium, vase",
        "halo | behind, right | long | sparse | eye, high", "gears, pearls", front=True),
    "camera": row(
        "camera, photo camera, film camera", "compact, reflex, instant",
        "walnut, cork | shelves, brick | terracotta, forest green, cream | window, evening | books, leaves, vase",
        "key, rim | left, both | long, normal | medium | table, eye", "reel, rope", front=True),
    "watch": row(
        "watch, wrist watch, wristwatch", "round, square, smart",
        "black marble, slate | curtain, panelling | navy, charcoal, forest green | moody, sun left"
        " | gifts, pebbles, books",
        "rim | right, ring | long | sparse, medium | table, high", "gears, lantern"),
    "shoe": row(
        "shoe, leather shoe, trainers", "low, high, boot",
        "concrete, paper | seamless, brick | terracotta, sky blue, mustard | sun right, sun left"
        " | arch, spheres, blocks",
        "key | behind | wide | sparse | eye", "cones, trophy"),
    "bag": row(
        "bag, handbag, leather bag", "tote, bucket, clutch",
        "linen, terrazzo | plaster, curtain | cream, terracotta, sage green | sun left, soft right"
        " | arch, vase, gifts",
        "key, fill | right, behind | normal, long | sparse | eye", "feathers, rope", front=True),
    "hat": row(
        "hat, summer hat, headwear", "fedora, cap, beanie",
        "sand, oak | sky, wallpaper | sky blue, cream, mustard | sun right, evening | vase, books, cloth",
        "key | left, behind | wide, normal | sparse, medium | table, eye", "shells, feathers"),
    "sunglasses": row(
        "sunglasses, pair of sunglasses, shades", "round, square, cateye",
        "sand, acrylic | sky, seamless | teal, mustard, blush pink | sun left, sun right | oranges, leaves, pebbles",
        "key | ring, right | normal | medium, rich | table, high", "shells, rope", front=True),
    "ring": row(
        "ring, gold ring, finger ring", "solitaire, band, signet",
        "black marble, white marble | curtain, seamless | lavender, cream, navy | moody, top | petals, gifts, podium",
        "rim, halo | behind | long | medium | table, eye", "pearls, shells"),
    "ball": row(
        "ball, sports ball, match ball", "football, basketball, volleyball",
        "moss, chequered | sky, brick | sky blue, terracotta, white | sun right, sun left | leaves, pebbles, blocks",
        "key, rim | both, behind | wide | sparse, medium | eye", "trophy"),
    "dumbbell": row(
        "dumbbell, weight, training weight", "hex, round, kettlebell",
        "concrete, cork | raw concrete, brick | charcoal, navy, teal | moody, soft right | spheres, blocks",
        "rim | left, right | wide | sparse | eye, table", "towels, trophy"),
    "notebook": row(
        "notebook, writing book, journal", "hardback, spiral, stack",
        "oak, cork | plaster, shelves | sage green, lavender, cream | window, soft left | books, leaves, vase",
        "fill | right | normal, long | sparse, medium | high, table", "hourglass, feathers", front=True),
}  # fmt: skip
