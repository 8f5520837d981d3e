"""The orders of the recently rated movies, also after updates that were given up."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from query_api.catalogue.index import Index
from query_api.catalogue.trends import WINDOWS
from tests.unit.query_api.test_index import put

TODAY = 740_000


@pytest.mark.parametrize("sort_one_in", [0, 1, 1_000])
def test_orders_are_those_of_the_days_after_any_update(
    sort_one_in: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.catalogue.trends.SORT_ONE_IN", sort_one_in)
    monkeypatch.setattr("query_api.catalogue.slicing.SLICE_S", -1.0)
    monkeypatch.setattr("query_api.catalogue.slicing.RUN", 3)
    monkeypatch.setattr("query_api.catalogue.slicing.CHUNK_MAX", 4)
    drawn = random.Random(sort_one_in)
    index, history = Index(), dict[int, dict[int, int]]()
    for number in range(1, 21):
        put(index, number, 5)
    for day in range(TODAY, TODAY + 400, 13):
        for _ in range(drawn.randint(0, 4)):
            movie = drawn.randint(1, 20)
            at = day + drawn.choice([1, 0, 0, -1, -6, -7, -29, -30, -364, -365])
            days = history.setdefault(movie, {})
            days[at] = days.get(at, 0) + drawn.choice([1, 1, -1])
            index.trends.put(UUID(int=movie).bytes, days)
        if drawn.random() < 0.1:
            gone = drawn.randint(1, 20)
            index.remove(UUID(int=gone).bytes)
            index.trends.put(UUID(int=gone).bytes, {})
            history.pop(gone, None)
        for _ in range(drawn.randint(0, 2)):  # Given up after some steps.
            steps = index.trends.update(index.entries, day + drawn.randint(0, 1))
            for _ in range(drawn.randint(1, 40)):
                next(steps, None)
        list(index.trends.update(index.entries, day))
        for window in WINDOWS:
            counts = {
                movie: sum(n for at, n in days.items() if day - window < at <= day)
                for movie, days in history.items()
                if UUID(int=movie).bytes in index.entries
            }
            found = [(-key[0], UUID(bytes=key[-1]).int) for key in index.trends.order(window)]
            assert found == sorted(found, key=lambda one: (-one[0], one[1]))
            assert {movie: count for count, movie in found} == {
                movie: count for movie, count in counts.items() if count > 0
            }, (day, window)
