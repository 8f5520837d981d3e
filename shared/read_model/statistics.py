"""Statistics of a set of scores, computed from its histogram in integers."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

import msgspec

from shared.ids import Position

BINS = 10  # Half stars 1 to 10.
AVERAGE_UNITS = 10_000  # In a star: averages have 4 decimals.

# The weighted average is `(v*R + m*C) / (v + m)`: it smooths a movie with fewer than about m
# ratings towards C. Both are part of the definition of `movies`; changing one requires a new
# definition version and a replay.
WEIGHT_M = 25
WEIGHT_C_HALF_STARS = 7


class RatingStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Statistics of a set of scores, all computed from the histogram; averages are in stars.

    `histogram` counts half stars 1 to 10. Averages have 4 decimals and are None without a score, as
    is the median. `position` is the position of the last event in them.
    """

    count: int
    average: float | None
    median: float | None
    weighted_average: float | None
    histogram: tuple[int, ...]
    position: Position


def statistics_of(histogram: tuple[int, ...], position: Position) -> RatingStatistics:
    """Return all statistics of a histogram."""
    # The number of scores up to each half star.
    up_to = list(accumulate(histogram))
    count = up_to[-1]
    # A score of n half stars is counted in all but the first n - 1 of them.
    total = (BINS + 1) * count - sum(up_to)
    return RatingStatistics(
        count=count,
        average=stars(total, count) if count else None,
        median=_median(up_to) if count else None,
        weighted_average=weighted_average(count, total) if count else None,
        histogram=histogram,
        position=position,
    )


def weighted_average(count: int, sum_half_stars: int) -> float:
    """Return the weighted average in stars, 4 decimals."""
    return stars(sum_half_stars + WEIGHT_M * WEIGHT_C_HALF_STARS, count + WEIGHT_M)


def stars(sum_half_stars: int, count: int) -> float:
    """Return the mean in stars to 4 decimals, rounding halves up.

    It is computed in integers, since floats decide ties by chance.
    """
    return (sum_half_stars * AVERAGE_UNITS + count) // (2 * count) / AVERAGE_UNITS


def _median(up_to: Sequence[int]) -> float:
    """Return the median in stars of at least one score."""
    count = up_to[-1]
    # Bins are counted from 0, half stars from 1.
    lower, upper = bisect_right(up_to, (count - 1) // 2), bisect_right(up_to, count // 2)
    return (lower + upper + 2) / 4
