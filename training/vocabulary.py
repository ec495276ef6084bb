"""The studio's 48 categories as records of a category file: their names, other names, and a typical scene in words."""

from __future__ import annotations

from bg_core.vocabulary import Category

from .render.captions import NO_ARTICLE
from .render.catalog import LIGHTS, PROPS, SURFACES, WALLS
from .render.categories import CATEGORIES

# Other names of the same goods, beyond those that captions use.
ALIASES: dict[str, str] = {
    "mug": "teacup, coffee cup, tumbler, beaker",
    "sauce": "ketchup, mayonnaise, mustard, salsa, pesto, dressing, relish",
    "perfume": "fragrance, cologne, eau de toilette, scent",
    "juice": "fruit juice, nectar, smoothie",
    "yoghurt": "yogurt, skyr, kefir, dessert pot",
    "cream": "moisturiser, moisturizer, lotion, balm, ointment, body butter",
    "speaker": "loudspeaker, soundbar, sound bar",
    "candle": "tealight, tea light, pillar candle",
    "tea": "green tea, black tea, herbal tea, tea bag",
    "fruit": "apple, orange, pear, citrus",
    "toy": "building block, toy car, plaything, puzzle",
    "soap": "hand soap, shower gel, body wash, conditioner, hand wash, shampoo bottle",
    "wine": "red wine, white wine, champagne, prosecco, sparkling wine",
    "beer": "lager, ale, stout, pilsner, cider",
    "soda": "lemonade, cola, energy drink, pop, tonic water",
    "water": "spring water, drinking bottle, carafe",
    "kettle": "electric kettle, teakettle",
    "coffee": "espresso, coffee bean, coffee capsule, coffee pod",
    "honey": "syrup",
    "cereal": "muesli, granola, cornflakes, oats, porridge",
    "chocolate": "praline, truffle, candy, confectionery",
    "spice": "seasoning, pepper, paprika, cinnamon, salt",
    "cheese": "cheddar, gouda, brie, parmesan",
    "petfood": "dog treats, cat treats, kibble, dog biscuits",
    "lipstick": "lip gloss, lip balm",
    "polish": "nail lacquer, nail colour",
    "toothpaste": "dental cream",
    "deodorant": "antiperspirant",
    "vitamins": "multivitamin, dietary supplement, supplement, capsules, pills",
    "baby": "nursing bottle, milk bottle",
    "lamp": "desk lamp, bedside lamp, lantern",
    "clock": "wall clock, table clock",
    "plant": "houseplant, succulent, cactus, flowerpot, bonsai",
    "paint": "emulsion paint, varnish, wood stain, spray paint",
    "tool": "hammer, screwdriver, pliers, wrench, spanner",
    "pan": "frying pan, saucepan, casserole, wok, skillet, pot",
    "headphones": "earphones, earbuds, headset",
    "phone": "cell phone, cellphone, iphone",
    "camera": "digital camera, reflex camera, camcorder",
    "watch": "smartwatch, chronograph",
    "shoe": "sneaker, boot, sandal, running shoe, footwear, loafer, slipper",
    "bag": "tote, clutch, purse, backpack, rucksack, satchel",
    "hat": "cap, beanie, fedora, bonnet",
    "sunglasses": "eyewear",
    "ring": "wedding ring, signet ring, jewellery, jewelry",
    "ball": "football, basketball, volleyball, tennis ball, soccer ball",
    "dumbbell": "kettlebell, barbell, hand weight",
    "notebook": "diary, notepad, sketchbook, exercise book",
}


def studio_categories() -> list[Category]:
    """Named as the data names them, so that a catalogue's rows and `bg60k_info.txt` say the same."""
    return [studio_category(name) for name in CATEGORIES]


def studio_category(name: str) -> Category:
    """One of the studio's categories by the name that the data uses."""
    words = CATEGORIES[name].words
    aliases = dict.fromkeys([*words[1:], *(alias.strip() for alias in ALIASES[name].split(","))])
    return Category(name, with_article(words[0]), tuple(aliases), typical_scene(name))


def with_article(product: str) -> str:
    """A product word as captions say it: `a mug`, `an alarm clock`, `wine`."""
    if product in NO_ARTICLE:
        return product
    return f"{'an' if product[0] in 'aeiou' else 'a'} {product}"


def typical_scene(name: str) -> str:
    """What captions can say of the category's own backgrounds: the first choice of each factor."""
    category = CATEGORIES[name]
    colour = category.palette[0]
    accent = category.palette[-1]
    parts = (
        SURFACES[category.surfaces[0]][0].format(colour=colour),
        WALLS[category.walls[0]][0].format(colour=colour),
        LIGHTS[category.lights[0]][0],
        PROPS[category.props[0]][0].format(colour=accent),
    )
    return ", ".join(parts)
