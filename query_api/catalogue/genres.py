"""The genres of the catalogue with the number of their movies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from query_api.catalogue.search_key import search_key

# A catalogue has few genres, and a load looks for the key of each movie's.
genre_key = lru_cache(maxsize=4_096)(search_key)


class Genre(NamedTuple):
    """A genre in its most frequent spelling, and the number of movies that a filter finds."""

    name: str
    movies: int


class Genres:
    """Counts movies by genre, without case and accents. It belongs to the event loop."""

    def __init__(self) -> None:
        self._movies: Counter[str] = Counter()
        self._spellings: dict[str, Counter[str]] = {}

    def add(self, names: Iterable[str]) -> None:
        """Count a movie of these genres, each of which is named once."""
        names = tuple(names)
        for name in names:
            self._spellings.setdefault(genre_key(name), Counter())[name] += 1
        self._movies.update({genre_key(name) for name in names})

    def remove(self, names: Iterable[str]) -> None:
        """Take a movie's genres away again."""
        names = tuple(names)
        for name in names:
            spellings = self._spellings[genre_key(name)]
            spellings[name] -= 1
            if not spellings[name]:
                del spellings[name]
        for key in {genre_key(name) for name in names}:
            self._movies[key] -= 1
            if not self._movies[key]:
                del self._movies[key], self._spellings[key]

    def by_key(self) -> list[tuple[tuple[int, str], Genre]]:
        """Return all genres with their sort keys, the ones with most movies first."""
        return sorted(
            ((-count, key), Genre(_most_frequent(self._spellings[key]), count))
            for key, count in self._movies.items()
        )


def _most_frequent(spellings: Counter[str]) -> str:
    return min(spellings, key=lambda name: (-spellings[name], name))
