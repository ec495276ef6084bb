"""Free places for props: they neither meet nor cut through the product, and stand where the arrangement has them."""

import random
from math import cos, pi, sin

import bpy

from .recipe import Layout

CLEARANCE = 0.05
TRIES = 60

Disc = tuple[float, float, float]  # x, y, radius on the surface


class Scatter:
    """Hands out places around the product at the origin. The camera looks along +y."""

    def __init__(
        self, rng: random.Random, layout: Layout, density: float, taken: list[Disc], wall_at: float, reach: float
    ) -> None:
        """`taken` holds what stands already, the product first; `reach` is half the width that the frame shows."""
        self.rng, self.arrangement, self.density = rng, layout.arrangement, density
        self.taken, self.wall_at = list(taken), wall_at
        self.footprint = taken[0][2]
        self.reach = 0.9 * reach
        self.turn = rng.randrange(2)
        self.kind = ""
        self.pieces: list[tuple[str, list]] = []  # kind and bodies of each thing placed
        self._known = set(bpy.context.scene.objects.keys())

    def number(self, low: int, high: int) -> int:
        """How many pieces a prop comes in, by the scene's density."""
        return max(1, round(self.rng.randint(low, high) * self.density))

    def stand(self, radius: float) -> tuple[float, float]:
        """A place for a thing of `radius`, tall enough to hide the product: beside or behind it."""
        return self._place(radius, low=False)

    def lie(self, radius: float) -> tuple[float, float]:
        """A place for a low thing; it may lie in front of the product's side, never in front of its middle."""
        return self._place(radius, low=True)

    def claim(self, discs: list[Disc]) -> None:
        """Books a thing that chooses its own place, here."""
        self.close()
        self.taken += discs
        self.pieces.append((self.kind, []))

    def close(self) -> None:
        """Books the bodies made since the last place to the thing that was placed there."""
        fresh = [body for body in bpy.context.scene.objects if body.name not in self._known]
        if fresh and self.pieces:
            self.pieces[-1][1].extend(fresh)
        self._known.update(body.name for body in fresh)

    def _place(self, radius: float, low: bool) -> tuple[float, float]:
        self.close()
        best, best_gap = (0.0, 0.0), -1e9
        for attempt in range(TRIES):
            x, y = self._candidate(radius, low, widen=attempt / TRIES)
            y = min(y, self.wall_at - radius - 0.03)
            gap = min(((x - a) ** 2 + (y - b) ** 2) ** 0.5 - r - radius - CLEARANCE for a, b, r in self.taken)
            if gap > best_gap:
                best, best_gap = (x, y), gap
            if gap >= 0:
                break
        self.taken.append((*best, radius))
        self.pieces.append((self.kind, []))
        return best

    def _candidate(self, radius: float, low: bool, widen: float) -> tuple[float, float]:
        rng, near = self.rng, self.footprint + radius + CLEARANCE
        far = max(self.reach - 0.6 * radius, near + 0.05) + 0.5 * widen
        front = -0.45 if low else -0.08
        back = max(0.25, min(0.8, self.wall_at - radius))
        if self.reach < near + radius:  # beside the product there is no room left in the frame: stand behind its side
            near, far, front = near * 0.7, max(self.reach, near * 0.7 + 0.1) + 0.5 * widen, near * 0.7
            back = max(back, front + 0.15)
        if self.arrangement == "behind":
            return rng.uniform(-far, far), near * rng.uniform(0.85, 1.0) + rng.uniform(0.0, 0.25 + widen)
        if self.arrangement == "ring":
            angle = rng.uniform(-0.7, pi + 0.7) if low else rng.uniform(-0.12, pi + 0.12)
            away = near + rng.uniform(0.0, 0.35 + widen)
            return away * cos(angle) * 1.15, away * sin(angle)
        if self.arrangement == "both":
            self.turn += 1
            side = 1 if self.turn % 2 else -1
        else:
            side = -1 if self.arrangement == "left" else 1
        return side * rng.uniform(near, far), rng.uniform(front, back)
