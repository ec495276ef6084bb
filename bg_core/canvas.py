"""Canvas sizes that marketplaces use, and the size at which a checkpoint paints them."""

import math

from .errors import ProductBackgroundError

CUSTOM = "Custom"
CANVAS_STEP = 8
MIN_CANVAS, MAX_CANVAS = 256, 4096

# Every side is a multiple of 8, so that a checkpoint can paint at the canvas's own size; where a marketplace asks for
# another number (Etsy 2000x1500, Instagram 1080x1350), the next multiple up is taken.
PRESETS: dict[str, tuple[int, int]] = {
    "Square 768x768": (768, 768),
    "Portrait 768x1024": (768, 1024),
    "Landscape 1024x768": (1024, 768),
    "Square 1024x1024": (1024, 1024),
    "Amazon 2000x2000": (2000, 2000),
    "Etsy 2000x1504": (2000, 1504),
    "Shopify 2048x2048": (2048, 2048),
    "eBay 1600x1600": (1600, 1600),
    "Instagram square 1080x1080": (1080, 1080),
    "Instagram portrait 1080x1352": (1080, 1352),
    "Story 1080x1920": (1080, 1920),
}
PRESET_NAMES = [*PRESETS, CUSTOM]

# Width and height of a canvas that takes the preset's size, but not its shape.
PRESET_ASPECT = "preset's own"
ASPECTS: dict[str, tuple[int, int]] = {
    name: (int(name.split(":")[0]), int(name.split(":")[1]))
    for name in ("1:1", "4:5", "3:4", "2:3", "9:16", "5:4", "4:3", "3:2", "16:9")
}
ASPECT_NAMES = [PRESET_ASPECT, *ASPECTS]

# Painter: the side of the square it was trained on, and the steps its sides may have, best first.
CANVAS_PAINTER = "Canvas size"
PAINTERS: dict[str, tuple[int, tuple[int, ...]]] = {
    "Demonstration base (192)": (192, (32, 16, 8)),
    "SD 1.5 (512)": (512, (64, 32, 16, 8)),
    "SDXL (1024)": (1024, (64, 32, 16, 8)),
}
PAINTER_NAMES = [*PAINTERS, CANVAS_PAINTER]

MAX_STRETCH = 0.02


def canvas_size(preset: str, width: int, height: int, aspect: str = PRESET_ASPECT) -> tuple[int, int]:
    """(width, height) of a preset; the given sides for "Custom". An aspect reshapes them and keeps the longer side.

    Raises ProductBackgroundError for an unknown preset or aspect, for custom sides that aren't multiples of 8 within
    MIN_CANVAS..MAX_CANVAS, and for a shape whose shorter side would be below MIN_CANVAS.
    """
    return _reshaped(_size_of_preset(preset, width, height), aspect)


def _size_of_preset(preset: str, width: int, height: int) -> tuple[int, int]:
    if preset in PRESETS:
        return PRESETS[preset]
    if preset != CUSTOM:
        raise ProductBackgroundError(f"There is no canvas preset {preset!r}. Accepted are: {', '.join(PRESET_NAMES)}.")
    for name, side in (("width", width), ("height", height)):
        if not MIN_CANVAS <= side <= MAX_CANVAS or side % CANVAS_STEP:
            nearest = min(max(round(side / CANVAS_STEP) * CANVAS_STEP, MIN_CANVAS), MAX_CANVAS)
            raise ProductBackgroundError(
                f"The custom canvas's {name} is {side}. Accepted are multiples of {CANVAS_STEP} from {MIN_CANVAS} to "
                f"{MAX_CANVAS}; the nearest is {nearest}."
            )
    return width, height


def _reshaped(size: tuple[int, int], aspect: str) -> tuple[int, int]:
    if aspect == PRESET_ASPECT:
        return size
    if aspect not in ASPECTS:
        raise ProductBackgroundError(f"There is no aspect {aspect!r}. Accepted are: {', '.join(ASPECT_NAMES)}.")
    wide, high = ASPECTS[aspect]
    longer, share = max(size), min(wide, high) / max(wide, high)
    shorter = math.floor(longer * share / CANVAS_STEP + 0.5) * CANVAS_STEP
    if shorter < MIN_CANVAS:
        needed = math.ceil(MIN_CANVAS / share / CANVAS_STEP) * CANVAS_STEP
        raise ProductBackgroundError(
            f"A canvas {longer} pixels long with the aspect {aspect} would be {shorter} pixels across. At least "
            f"{MIN_CANVAS} are needed: choose a longer side of {needed} or more."
        )
    return (longer, shorter) if wide > high else (shorter, longer)


def paint_size(painter: str, canvas: tuple[int, int]) -> tuple[int, int]:
    """(width, height) at which a checkpoint paints a canvas of the given (width, height).

    Among sides that are multiples of the painter's coarsest step, the one whose shape and area fit best. Rounding
    stretches the picture by up to MAX_STRETCH; where no such size has 0.75 to 1.4 times the painter's own area, a finer
    step is tried (16 for a 4:5 canvas on the demonstration base). Raises ProductBackgroundError for an unknown painter.
    """
    if painter == CANVAS_PAINTER:
        return canvas
    if painter not in PAINTERS:
        raise ProductBackgroundError(f"There is no painter {painter!r}. Accepted are: {', '.join(PAINTER_NAMES)}.")
    side, steps = PAINTERS[painter]
    shape = canvas[0] / canvas[1]
    for step in steps:
        fitting = [size for size in _sizes(side, step, shape) if stretch(size, canvas) <= MAX_STRETCH]
        if fitting:
            return min(fitting, key=lambda size: abs(math.log(size[0] * size[1] / side**2)) + 4 * stretch(size, canvas))
    return min(_sizes(side, steps[-1], shape), key=lambda size: stretch(size, canvas))


def stretch(size: tuple[int, int], other: tuple[int, int]) -> float:
    """How much one of two (width, height) sizes must be stretched to the other's shape; 0.02 is two per cent."""
    ratio = (size[0] * other[1]) / (size[1] * other[0])
    return max(ratio, 1 / ratio) - 1


def _sizes(side: int, step: int, shape: float) -> list[tuple[int, int]]:
    """Sizes of about side * side pixels and about the given width / height."""
    found = []
    for height in range(step, side * 8, step):
        for width in {max(step, math.floor(height * shape / step) * step), math.ceil(height * shape / step) * step}:
            if 0.75 <= width * height / side**2 <= 1.4:
                found.append((width, height))
    return found
