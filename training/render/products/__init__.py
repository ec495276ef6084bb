"""Products by category and shape family."""

from . import cosmetics, drinks, grocery, home, household, pantry, workshop
from .parts import Builder

BUILDERS: dict[str, Builder] = {
    **pantry.BUILDERS,
    **home.BUILDERS,
    **drinks.BUILDERS,
    **grocery.BUILDERS,
    **cosmetics.BUILDERS,
    **household.BUILDERS,
    **workshop.BUILDERS,
}
