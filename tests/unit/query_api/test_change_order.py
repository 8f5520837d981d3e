"""The order of change holds each movie once, at its last change, however often it changes."""

from __future__ import annotations

import random

from query_api.catalogue import change_order
from query_api.catalogue.change_order import ChangeOrder
from query_api.catalogue.index import Left
from shared.ids import Position


class Movies:
    """Movies whose positions are noted in any order."""

    def __init__(self) -> None:
        self.places: dict[bytes, Left] = {}
        self.order = ChangeOrder({}, self.places)

    def change(self, movie: int, position: int) -> None:
        key = movie.to_bytes(16)
        self.places[key] = Left(None, Position(position))
        self.order.note(key, Position(position))

    def pages(self, until: int, limit: int) -> list[tuple[Position, bytes]]:
        found: list[tuple[Position, bytes]] = []
        since = Position(0)
        while page := self.order.after(since, Position(until), limit):
            found += page
            since = page[-1][0]
        return found


def test_pages_show_each_movie_once_at_its_last_change() -> None:
    movies = Movies()
    numbers = random.Random(7)
    positions = list(range(1, 3_001))
    # Almost in order, as movies that are read a little later than the one before.
    positions.sort(key=lambda position: position + numbers.random() * 5)
    for position in positions:
        movies.change(numbers.randrange(200), position)
    expected = sorted((left.position, movie) for movie, left in movies.places.items())
    assert movies.pages(3_000, 7) == expected
    assert movies.pages(2_990, 7) == [one for one in expected if one[0] <= 2_990]


def test_keys_that_are_out_of_date_are_removed() -> None:
    movies = Movies()
    for position in range(1, 100_000):
        movies.change(position % 10, position)
    kept = movies.order._keys
    assert len(kept) <= change_order.OUTDATED_MAX + 2 * 10 + 1
    assert [at for at, _ in movies.pages(100_000, 3)] == list(range(99_990, 100_000))


def test_one_change_that_is_noted_twice_is_shown_once() -> None:
    movies = Movies()
    movies.change(1, 5)
    movies.change(1, 5)
    movies.change(2, 6)
    assert [at for at, _ in movies.pages(10, 100)] == [5, 6]
