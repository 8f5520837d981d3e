"""The geometry of the charts that servers draw."""

from __future__ import annotations

from typing import NamedTuple


class Frame(NamedTuple):
    """A drawing area in the units of a view box, with room for labels at its left and below."""

    width: int
    height: int
    left: int = 0
    bottom: int = 0
    top: int = 0
    right: int = 0

    @property
    def base(self) -> int:
        """The lower end of the drawing area."""
        return self.height - self.bottom

    def x(self, share: float) -> float:
        """Return the place of a share of the width, from the left."""
        return round(self.left + (self.width - self.left - self.right) * share, 1)

    def y(self, share: float) -> float:
        """Return the place of a share of the height, from the base upwards."""
        return round(self.base - (self.base - self.top) * share, 1)


def round_limit(highest: float) -> int:
    """Return the end of an axis: 1, 2 or 5 times a power of ten, not below the highest value."""
    power = 1
    while True:
        for step in (1, 2, 5):
            if step * power >= highest:
                return step * power
        power *= 10
