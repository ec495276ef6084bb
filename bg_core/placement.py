"""Where the product stands on its canvas. Integer boxes only: the same crop and resize can be repeated by anyone."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from .errors import ProductBackgroundError

Box = tuple[int, int, int, int]

# Alpha below this (of 255) is a veil of noise that says nothing about where the product ends.
VISIBLE_ALPHA = 8
# Photo pixels kept around the product, so that its soft edge isn't cut.
SOURCE_MARGIN = 2


@dataclass(frozen=True)
class Placement:
    """Boxes are (left, top, right, bottom), right and bottom exclusive; sizes are (width, height).

    `source_box` of the photograph, resized to the size of `placed_box`, lies at `placed_box` of the canvas.
    """

    source_box: Box
    placed_box: Box
    canvas_size: tuple[int, int]
    paint_size: tuple[int, int]

    def to_json(self) -> dict[str, list[int]]:
        return {name: list(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Arrangement:
    """What a user chooses.

    scale: share of the canvas's sides that the product's box may take, 0.05..1. horizontal, vertical: where it stands
    in the free room, 0 = left or top, 1 = right or bottom. margin: smallest distance to the canvas's border as a share
    of its shorter side, 0..0.45. Raises ProductBackgroundError for a value outside.
    """

    scale: float = 0.62
    horizontal: float = 0.5
    vertical: float = 0.62
    margin: float = 0.04

    def __post_init__(self) -> None:
        limits = {"scale": (0.05, 1.0), "horizontal": (0.0, 1.0), "vertical": (0.0, 1.0), "margin": (0.0, 0.45)}
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and low <= value <= high):
                raise ProductBackgroundError(f"{name} is {value}. Accepted is {low:g} to {high:g}.")


def product_box(alpha: np.ndarray) -> Box:
    """The box of the visible part of uint8 alpha [H, W], with SOURCE_MARGIN around it where the photo has room."""
    height, width = alpha.shape
    rows = np.nonzero((alpha >= VISIBLE_ALPHA).any(axis=1))[0]
    columns = np.nonzero((alpha >= VISIBLE_ALPHA).any(axis=0))[0]
    return (
        max(0, int(columns[0]) - SOURCE_MARGIN),
        max(0, int(rows[0]) - SOURCE_MARGIN),
        min(width, int(columns[-1]) + 1 + SOURCE_MARGIN),
        min(height, int(rows[-1]) + 1 + SOURCE_MARGIN),
    )


def place(
    source_box: Box, canvas_size: tuple[int, int], paint_size: tuple[int, int], arrangement: Arrangement
) -> Placement:
    """Fits the product's box into `scale` of the canvas and puts it where the arrangement says.

    Raises ProductBackgroundError where that leaves less than the margin.
    """
    canvas_width, canvas_height = canvas_size
    source_width, source_height = source_box[2] - source_box[0], source_box[3] - source_box[1]
    factor = min(arrangement.scale * canvas_width / source_width, arrangement.scale * canvas_height / source_height)
    width, height = max(1, round(source_width * factor)), max(1, round(source_height * factor))
    border = math.ceil(arrangement.margin * min(canvas_size))
    free_width, free_height = canvas_width - 2 * border - width, canvas_height - 2 * border - height
    if free_width < 0 or free_height < 0:
        room = (canvas_width - 2 * border, canvas_height - 2 * border)
        fitting = arrangement.scale * min(room[0] / width, room[1] / height)
        raise ProductBackgroundError(
            f"The product is larger than the canvas allows: at scale {arrangement.scale:g} it takes {width}x{height} "
            f"pixels, and a margin of {arrangement.margin:g} leaves {room[0]}x{room[1]} of the "
            f"{canvas_width}x{canvas_height} canvas. Set scale to {math.floor(fitting * 100) / 100:g} or less, or a "
            "smaller margin."
        )
    left = border + round(arrangement.horizontal * free_width)
    top = border + round(arrangement.vertical * free_height)
    return Placement(source_box, (left, top, left + width, top + height), canvas_size, paint_size)
