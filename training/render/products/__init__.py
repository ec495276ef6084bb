"""Products by category and shape family."""

from . import (
    cosmetics,
    drinks,
    electronics,
    grocery,
    home,
    household,
    instruments,
    jewellery,
    leisure,
    pantry,
    shoes,
    wear,
    workshop,
)
from .parts import Builder

BUILDERS: dict[str, Builder] = {
    **pantry.BUILDERS,
    **home.BUILDERS,
    **drinks.BUILDERS,
    **grocery.BUILDERS,
    **cosmetics.BUILDERS,
    **household.BUILDERS,
    **workshop.BUILDERS,
    **electronics.BUILDERS,
    **instruments.BUILDERS,
    **jewellery.BUILDERS,
    **leisure.BUILDERS,
    **shoes.BUILDERS,
    **wear.BUILDERS,
}
