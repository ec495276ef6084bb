"""Products by category and shape family."""

from . import drinks, grocery, home, pantry
from .parts import Builder

BUILDERS: dict[str, Builder] = {**pantry.BUILDERS, **home.BUILDERS, **drinks.BUILDERS, **grocery.BUILDERS}
