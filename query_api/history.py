"""A movie's statistics in the past, from what each UTC day added to its histogram."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from shared.read_model import BINS, HistoryYear

# No rating is dated before: see the limits of `rated_at`.
FIRST_YEAR = 1970

Histogram = tuple[int, ...]
NO_SCORES: Histogram = (0,) * BINS


class Day(NamedTuple):
    """The histogram at the end of a day on which it changed."""

    date: date
    histogram: Histogram


def days(years: Mapping[int, HistoryYear]) -> Iterator[Day]:
    """Every day with a change, in order, each with the running sum up to its end."""
    histogram = NO_SCORES
    for year in sorted(years):
        for day_of_year, added in sorted(years[year].days.items()):
            histogram = tuple(n + more for n, more in zip(histogram, added, strict=True))
            yield Day(date(year, 1, 1) + timedelta(days=day_of_year - 1), histogram)


def histogram_at(years: Mapping[int, HistoryYear], end_of: date) -> Histogram:
    """The histogram at the end of a day."""
    last = NO_SCORES
    for day in days(years):
        if day.date > end_of:
            break
        last = day.histogram
    return last
