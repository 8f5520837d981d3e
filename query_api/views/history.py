"""A movie's statistics in the past, from the changes of its histogram on each UTC day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from itertools import groupby
from typing import Literal, NamedTuple, assert_never

from shared.read_model.documents import HISTORY_STEP, HistoryYear
from shared.read_model.statistics import BINS

# The limits of `rated_at` exclude earlier ratings.
FIRST_YEAR = 1970

# A week begins on Monday.
Resolution = Literal["day", "week", "month", "year"]
Histogram = tuple[int, ...]
NO_SCORES: Histogram = (0,) * BINS


class Day(NamedTuple):
    """The histogram at the end of a day on which it changed."""

    date: date
    histogram: Histogram


def days(years: Mapping[int, HistoryYear]) -> Iterator[Day]:
    """Yield every day with a change, in order, with the histogram at its end."""
    bins = [0] * BINS
    for year in sorted(years):
        added = sorted(years[year].added.items())
        for day_of_year, changes in groupby(added, key=lambda change: change[0] // HISTORY_STEP):
            for key, more in changes:
                bins[key % HISTORY_STEP - 1] += more
            yield Day(date(year, 1, 1) + timedelta(days=day_of_year - 1), tuple(bins))


def periods(days_of: Iterator[Day], resolution: Resolution) -> Iterator[Day]:
    """Yield the first date of each period with a change, and the histogram at the period's end."""
    last: Day | None = None
    for day in days_of:
        begin = _begin(day.date, resolution)
        if last is not None and last.date != begin:
            yield last
        last = Day(begin, day.histogram)
    if last is not None:
        yield last


def _begin(day: date, resolution: Resolution) -> date:
    match resolution:
        case "day":
            return day
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case "year":
            return day.replace(month=1, day=1)
        case _:
            assert_never(resolution)


def histogram_at(years: Mapping[int, HistoryYear], end_of: date) -> Histogram:
    """Return the histogram at the end of a day."""
    last = NO_SCORES
    for day in days(years):
        if day.date > end_of:
            break
        last = day.histogram
    return last
