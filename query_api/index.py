"""The catalogue's index: every movie in memory, in every order that it can be listed in.

Lists are plain sorted lists of keys; a movie that changes is taken out of the orders whose key
changed and put in again by bisection. A page is found by seeking to its cursor's key, so that
nothing is sorted and nothing is counted for a request.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from shared.read_model import MovieDocument, RatingStatistics, milliseconds

# `match`, for a search alone: titles that are what was searched for, then those that begin with
# it, then the others, each by weighted average.
Sort = Literal["match", "weighted", "average", "count", "newest", "title"]
Order = Literal["weighted", "average", "count", "newest", "title"]
SORTS: tuple[Sort, ...] = get_args(Sort)
ORDERS: tuple[Order, ...] = get_args(Order)
# Below this many candidates of a search they are sorted; above, the order is walked and tested.
SORT_CANDIDATES_MAX = 500
WORST_MATCH = 2

# Sort values and last the movie id as bytes, which makes it unique.
Key = tuple[Any, ...]
KEY_TYPES: dict[Sort, type[Key]] = {
    "match": tuple[int, float, int, str, bytes],
    "weighted": tuple[float, int, str, bytes],
    "average": tuple[float, int, str, bytes],
    "count": tuple[int, str, bytes],
    "newest": tuple[int, int, str, bytes],
    "title": tuple[str, int, bytes],
}

_json = msgspec.json.Encoder().encode


class Entry(NamedTuple):
    """A movie as the index holds it.

    `item` is its JSON in a list; `rated` the beginning of a rating's, the movie's part of it.
    """

    movie_id: bytes
    title: str
    folded_title: str
    year: int
    genres: frozenset[str]
    directors: frozenset[str]
    words: frozenset[str]
    keys: dict[Order, Key]
    item: bytes
    rated: bytes
    average: float | None
    genre_names: tuple[str, ...]


class Filter(NamedTuple):
    """What a list is narrowed to; every part that is given must hold."""

    genre: str | None = None
    director: str | None = None
    year_min: int | None = None
    year_max: int | None = None
    q: str | None = None


class Index:
    """All movies. Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry] = {}
        self._orders: dict[Order, list[Key]] = {order: [] for order in ORDERS}
        self._by_word: dict[str, set[bytes]] = {}
        self._words: list[str] = []

    def put(self, movie: MovieDocument, statistics: RatingStatistics) -> None:
        """Add a movie, or bring it up to date."""
        entry = _entry(movie, statistics)
        old = self.entries.get(entry.movie_id)
        self.entries[entry.movie_id] = entry
        for sort, order in self._orders.items():
            key = entry.keys[sort]
            if old is not None:
                if old.keys[sort] == key:
                    continue
                del order[bisect_left(order, old.keys[sort])]
            insort(order, key)
        self._index_words(entry, old.words if old is not None else frozenset())

    def page(
        self, sort: Sort, wanted: Filter, *, after: Key | None, limit: int
    ) -> list[tuple[Key, Entry]]:
        """At most `limit` movies after the key, in order."""
        page: list[tuple[Key, Entry]] = []
        for key in self._candidates(sort, wanted, after):
            entry = self.entries[key[-1]]
            if _passes(entry, wanted):
                page.append((key, entry))
                if len(page) == limit:
                    break
        return page

    def _candidates(self, sort: Sort, wanted: Filter, after: Key | None) -> Iterator[Key]:
        found = None if wanted.q is None else self._search(wanted.q)
        if sort == "match":
            return self._matches(found or set(), fold(wanted.q or "").strip(), after)
        order = self._orders[sort]
        if found is None:
            return _from(order, after)
        if len(found) <= SORT_CANDIDATES_MAX:
            return _from(sorted(self.entries[movie].keys[sort] for movie in found), after)
        return (key for key in _from(order, after) if key[-1] in found)

    def _matches(self, found: set[bytes], q: str, after: Key | None) -> Iterator[Key]:
        """The movies found, the best match first."""
        if len(found) <= SORT_CANDIDATES_MAX:
            entries = (self.entries[movie] for movie in found)
            keys = sorted((_match(entry, q), *entry.keys["weighted"]) for entry in entries)
            yield from _from(keys, after)
            return
        first = 0 if after is None else after[0]
        for match in range(first, WORST_MATCH + 1):
            start = after[1:] if after is not None and match == first else None
            for key in _from(self._orders["weighted"], start):
                if key[-1] in found and _match(self.entries[key[-1]], q) == match:
                    yield match, *key

    def _search(self, q: str) -> set[bytes]:
        """Movies of whose title every word of `q` begins some word."""
        found: set[bytes] | None = None
        for prefix in words_of(q):
            start = bisect_left(self._words, prefix)
            matching: set[bytes] = set()
            for word in self._words[start:]:
                if not word.startswith(prefix):
                    break
                matching |= self._by_word[word]
            found = matching if found is None else found & matching
        return found or set()

    def _index_words(self, entry: Entry, old: frozenset[str]) -> None:
        for word in old - entry.words:
            self._by_word[word].discard(entry.movie_id)
        for word in entry.words - old:
            movies = self._by_word.get(word)
            if movies is None:
                movies = self._by_word[word] = set()
                insort(self._words, word)
            movies.add(entry.movie_id)


def fold(text: str) -> str:
    """Without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words_of(text: str) -> list[str]:
    """The words of a text, folded; what is neither letter nor digit divides them."""
    return "".join(c if c.isalnum() else " " for c in fold(text)).split()


def _match(entry: Entry, q: str) -> int:
    """How well a title that was found matches, 0 best."""
    if entry.folded_title == q:
        return 0
    return 1 if entry.folded_title.startswith(q) else WORST_MATCH


def _from(order: list[Key], after: Key | None) -> Iterator[Key]:
    start = bisect_right(order, after) if after is not None else 0
    for place in range(start, len(order)):
        yield order[place]


def _passes(entry: Entry, wanted: Filter) -> bool:
    return (
        (wanted.genre is None or wanted.genre in entry.genres)
        and (wanted.director is None or wanted.director in entry.directors)
        and (wanted.year_min is None or entry.year >= wanted.year_min)
        and (wanted.year_max is None or entry.year <= wanted.year_max)
    )


def _entry(movie: MovieDocument, statistics: RatingStatistics) -> Entry:
    movie_id = movie.movie_id.bytes
    title = fold(movie.title)
    created = milliseconds(movie.created_at)
    keys: dict[Order, Key] = {
        "weighted": (-(statistics.weighted_average or 0), -statistics.count, title, movie_id),
        "average": (-(statistics.average or 0), -statistics.count, title, movie_id),
        "count": (-statistics.count, title, movie_id),
        "newest": (-movie.year, -created, title, movie_id),
        "title": (title, movie.year, movie_id),
    }
    item = _json(
        {
            "movie_id": movie.movie_id,
            "title": movie.title,
            "year": movie.year,
            "genres": movie.genres,
            "external_id": movie.external_id,
            "ratings": {
                "count": statistics.count,
                "average": statistics.average,
                "weighted_average": statistics.weighted_average,
            },
        }
    )
    rated = {
        "movie_id": movie.movie_id,
        "title": movie.title,
        "year": movie.year,
        "movie_average": statistics.average,
    }
    return Entry(
        movie_id=movie_id,
        title=movie.title,
        folded_title=title,
        year=movie.year,
        genres=folded(movie.genres),
        directors=folded(movie.directors),
        words=frozenset(words_of(movie.title)),
        keys=keys,
        item=item,
        rated=_json(rated)[:-1],
        average=statistics.average,
        genre_names=movie.genres,
    )


def folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(fold(name) for name in names)
