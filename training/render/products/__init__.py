"""Products by category and shape family."""

from . import home, pantry
from .parts import Builder

BUILDERS: dict[str, Builder] = {**pantry.BUILDERS, **home.BUILDERS}
