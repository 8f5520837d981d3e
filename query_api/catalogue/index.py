"""The catalogue's index: every movie in memory, in every order that a list can have.

Orders are sorted keys, made once all movies are loaded. From then on the index notes a movie that
changes, and updates an order when it is next used: one by one if few movies moved, by merging if
many did.
`query_api/catalogue/search.py` finds pages in it.
"""

from __future__ import annotations

import sys
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from query_api.catalogue.change_order import ChangeOrder
from query_api.catalogue.entry import Entry, Film, Ratings, decode_statistics, film_of
from query_api.catalogue.genres import Genres
from query_api.catalogue.lookups import NO_IDS, Ids, Lookups, ids_of
from query_api.catalogue.search_key import number_of
from query_api.catalogue.slicing import Slice, Sliced, SortedKeys, sorted_in_slices
from query_api.catalogue.trends import Trends, Window
from shared.errors import DocumentDamaged
from shared.ids import START, Position
from shared.read_model.kinds import CLOSED, MOVIE

# `match` is for searches only: how well a title matches (see `query_api/catalogue/search.py`), then
# the number of ratings.
Sort = Literal["match", "weighted", "average", "count", "newest", "title"]
Order = Literal["weighted", "average", "count", "newest", "title"]
SORTS: tuple[Sort, ...] = get_args(Sort)
ORDERS: tuple[Order, ...] = get_args(Order)
# Orders in which a rating moves a movie.
RATED_ORDERS: tuple[Order, ...] = ("weighted", "average", "count")
# Update an order after this many moved movies even if nobody uses it, so that its next user does
# not wait longer than some milliseconds.
MOVED_MAX = 2_000
# Merging is faster than moving them one by one when more than one movie in this many has moved.
MERGE_ONE_IN = 16

# Sort values, then title, year and movie id, which makes the key unique. Every key has the year, so
# that a list limited to some years need not look up the movies that it skips.
Key = tuple[Any, ...]
KEY_TYPES: dict[Sort, type[Key]] = {
    "match": tuple[int, int, str, int, bytes],
    "weighted": tuple[float, int, str, int, bytes],
    "average": tuple[float, int, str, int, bytes],
    "count": tuple[int, str, int, bytes],
    "newest": tuple[int, int, str, int, bytes],
    "title": tuple[str, int, bytes],
}


class Left(NamedTuple):
    """Where a movie that left went: the movie that it was merged into, None if withdrawn."""

    into: UUID | None
    position: Position


_KEYS: dict[Order, Callable[[Film, Ratings], Key]] = {
    "weighted": lambda film, ratings: (
        -(ratings.weighted_average or 0),
        -ratings.count,
        film.title_key,
        film.year,
        film.movie_id,
    ),
    "average": lambda film, ratings: (
        -(ratings.average or 0),
        -ratings.count,
        film.title_key,
        film.year,
        film.movie_id,
    ),
    "count": lambda film, ratings: (-ratings.count, film.title_key, film.year, film.movie_id),
    "newest": lambda film, _: (
        -film.year,
        -film.created_ms,
        film.title_key,
        film.year,
        film.movie_id,
    ),
    "title": lambda film, _: (film.title_key, film.year, film.movie_id),
}


class Filter(NamedTuple):
    """The conditions of a list; a movie must meet all that are set."""

    genre: str | None = None
    director: str | None = None
    year_min: int | None = None
    year_max: int | None = None
    q: str | None = None


class Index:
    """All movies of the catalogue.

    Not thread-safe: it belongs to the event loop. One that is loading takes movies fastest: each
    costs the same, however many. It has no orders and no words before it is sorted.
    """

    def __init__(self, *, is_loading: bool = False) -> None:
        self.entries: dict[bytes, Entry] = {}
        # The newest position of anything in the index.
        self.newest = START
        # Incremented whenever a movie is new or its genres change.
        self.genres_revision = 0
        # The movies that left the catalogue.
        self.left: dict[bytes, Left] = {}
        self.lookups = Lookups()
        self.genres = Genres()
        self.changes = ChangeOrder(self.entries, self.left)
        self.trends = Trends()
        self._orders: dict[Order, SortedKeys] = {order: SortedKeys() for order in ORDERS}
        # Old entries whose keys are still in an order, None for a movie that is new in it.
        self._moved: dict[Order, dict[bytes, Entry | None]] = {order: {} for order in ORDERS}
        # The movies with a word in a title, and all words in order.
        self.by_word: dict[str, set[bytes]] = {}
        self._words: list[str] = []
        self._is_sorted = not is_loading

    def put(self, movie: bytes, details: bytes, statistics: bytes) -> None:
        """Add or update a movie, from both of its documents as they are stored."""
        self.trends.unread.add(movie)
        old = self.entries.get(movie)
        rated = decode_statistics(statistics)
        ratings = Ratings(rated.count, rated.average, rated.weighted_average)
        orders = RATED_ORDERS
        if old is not None and old.film.stored == details:
            film = old.film
            if old.ratings == ratings and not old.stale:
                self._changed(movie, old, max(film.position, rated.position))
                return
        else:
            decoded = MOVIE.parse(details)
            film = film_of(decoded, details)
            if film.movie_id != movie:
                raise DocumentDamaged("a document belongs to another movie")
            orders = ORDERS
            if old is None or old.film.genre_names != film.genre_names:
                self.genres_revision += 1
                if old is not None:
                    self.genres.remove(old.film.genre_names)
                self.genres.add(film.genre_names)
            ids = Ids(decoded.imdb_id, decoded.tmdb_id, decoded.external_id)
            self.lookups.put(movie, NO_IDS if old is None else ids_of(old.film.stored), ids)
            self._index_words(film, old.film.names.words if old is not None else frozenset())
        self.entries[movie] = entry = Entry(film, ratings, START)
        self._changed(movie, entry, max(film.position, rated.position))
        self._note_moved(movie, old, orders)

    def sort(self) -> Sliced[None]:
        """Make the orders of all movies, in slices between which no movie may change."""
        slice_ = Slice()
        for order in ORDERS:
            keys = map(self.key_maker(order), self.entries)
            self._orders[order] = SortedKeys((yield from sorted_in_slices(keys, slice_)))
        self._words = yield from sorted_in_slices(self.by_word, slice_)
        yield from self.changes.sort(slice_)
        self._is_sorted = True

    @property
    def words(self) -> list[str]:
        """All words of titles in order."""
        return self._words

    def remove(self, movie: bytes) -> None:
        """Remove a movie if the index has it."""
        old = self.entries.pop(movie, None)
        if old is None:
            return
        self.trends.unread.add(movie)
        self.genres_revision += 1
        self.genres.remove(old.film.genre_names)
        self.lookups.put(movie, ids_of(old.film.stored), NO_IDS)
        for word in old.film.names.words:
            self.by_word[word].discard(movie)
        self._note_moved(movie, old, ORDERS)

    def leave(self, movie: bytes, document: bytes) -> None:
        """Replace a movie that left by where it went, from its document as it is stored."""
        closed = CLOSED.parse(document)
        self.remove(movie)
        self.lookups.leave(movie, ids_of(document), closed.position)
        self.left[movie] = Left(closed.into, closed.position)
        self.changes.note(movie, closed.position)

    def mark_stale(self, movie: bytes) -> None:
        """Show a movie as stale until it is next put."""
        entry = self.entries.get(movie)
        if entry is not None and not entry.stale:
            stale = Entry(entry.film, entry.ratings, entry.position, stale=True)
            self.entries[movie] = stale

    def key_maker(self, order: Order) -> Callable[[bytes], Key]:
        """Return the function that makes a movie's key in an order."""
        key_of, entries = _KEYS[order], self.entries

        def key(movie: bytes) -> Key:
            entry = entries[movie]
            return key_of(entry.film, entry.ratings)

        def counted(movie: bytes) -> Key:
            """Return the cached key: every search needs it."""
            entry = entries[movie]
            if entry.counted is None:
                entry.counted = key_of(entry.film, entry.ratings)
            return entry.counted

        return counted if order == "count" else key

    def sorted_keys(self, order: Order) -> SortedKeys:
        """Return the sorted keys of an order, after applying the changes so far."""
        keys, moved = self._orders[order], self._moved[order]
        if len(moved) * MERGE_ONE_IN > len(keys):
            merged = [key for key in keys if key[-1] not in moved]
            merged += sorted(map(self.key_maker(order), filter(self.entries.__contains__, moved)))
            merged.sort()  # Two sorted runs: `sort` merges them.
            keys = self._orders[order] = SortedKeys(merged)
        else:
            key_of = self.key_maker(order)
            for movie, old in moved.items():
                if old is not None:
                    keys.remove(_KEYS[order](old.film, old.ratings))
                if movie in self.entries:
                    keys.add(key_of(movie))
        moved.clear()
        return keys

    def keys_in(self, order: Order | Window, after: Key | None, limit: int) -> Sequence[Key]:
        """Return at most `limit` of the next keys of an order; none at the end only."""
        if not isinstance(order, int):
            return self.sorted_keys(order).after(after, limit)
        while chunk := self.trends.order(order).after(after, limit):
            there = [key for key in chunk if key[-1] in self.entries]
            if there:
                return there
            after = chunk[-1]
        return ()

    def keys_of(self, order: Order | Window, movies: Iterable[bytes]) -> list[Key]:
        """Return the keys of the given movies that are in an order."""
        there = filter(self.entries.__contains__, movies)
        if not isinstance(order, int):
            return sorted(map(self.key_maker(order), there))
        return sorted(filter(None, map(self.trends.keys(order).get, there)))

    def beginning(self, prefix: str) -> list[str]:
        """Return the words that begin with the prefix, and the number that it names."""
        words = self.words
        start = bisect_left(words, prefix)
        # No character sorts after the last one of Unicode.
        matching = words[start : bisect_left(words, prefix + chr(sys.maxunicode), start)]
        number = number_of(prefix)
        if number is not prefix and number in self.by_word:
            matching.append(number)
        return matching

    def _changed(self, movie: bytes, entry: Entry, position: Position) -> None:
        if position != entry.position:
            entry.position = position
            self.changes.note(movie, position)

    def _note_moved(self, movie: bytes, old: Entry | None, orders: Iterable[Order]) -> None:
        if not self._is_sorted:
            return
        for order in orders:
            moved = self._moved[order]
            moved.setdefault(movie, old)
            if len(moved) > MOVED_MAX:
                self.sorted_keys(order)

    def _index_words(self, film: Film, old: frozenset[str]) -> None:
        for word in old - film.names.words:
            self.by_word[word].discard(film.movie_id)
        for word in film.names.words - old:
            movies = self.by_word.get(word)
            if movies is None:
                movies = self.by_word[word] = set()
                if self._is_sorted:
                    insort(self._words, word)
            movies.add(film.movie_id)
