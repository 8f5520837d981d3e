"""The catalogue's index: every movie in memory, in every order that it can be listed in.

Orders are plain sorted lists of keys. A movie that changes is noted, and an order is brought up to
date when it is next used: by bisection where few movies moved, by merging where many did. A page is
found by seeking to its cursor's key, so that nothing is sorted and nothing is counted for a
request.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from shared.errors import DocumentDamaged
from shared.ids import START
from shared.read_model import MovieDocument, milliseconds

# `match`, for a search alone: titles that are what was searched for, then those that begin with
# it, then the others, each by weighted average.
Sort = Literal["match", "weighted", "average", "count", "newest", "title"]
Order = Literal["weighted", "average", "count", "newest", "title"]
SORTS: tuple[Sort, ...] = get_args(Sort)
ORDERS: tuple[Order, ...] = get_args(Order)
# Those in which a rating moves a movie.
RATED_ORDERS: tuple[Order, ...] = ("weighted", "average", "count")
# Below this many candidates of a search they are sorted; above, the order is walked and tested.
SORT_CANDIDATES_MAX = 500
WORST_MATCH = 2
# A title is found with what stands inside its words and without it: Schindler's, Spider-Man, E.T.
_JOINED = str.maketrans("", "", "'\u2019-\u2010.\u00b7")
YEAR_MIN, YEAR_MAX = 0, 9_999
# So many moved movies an order is brought up to date for, also when nobody asks: whoever asks next
# is not held up for longer than that takes, some milliseconds.
MOVED_MAX = 2_000
# Merging beats bisection where more than one movie in so many has moved.
MERGE_ONE_IN = 128

# Sort values and last title, year, and the movie id as bytes, which makes it unique. The year is in
# every key so that a list of some years looks at nothing else of the movies that it passes over.
Key = tuple[Any, ...]
KEY_TYPES: dict[Sort, type[Key]] = {
    "match": tuple[int, float, int, str, int, bytes],
    "weighted": tuple[float, int, str, int, bytes],
    "average": tuple[float, int, str, int, bytes],
    "count": tuple[int, str, int, bytes],
    "newest": tuple[int, int, str, int, bytes],
    "title": tuple[str, int, bytes],
}

_json = msgspec.json.Encoder().encode
_decode_movie = msgspec.json.Decoder(MovieDocument).decode


class Ratings(msgspec.Struct, frozen=True, gc=False):
    """What a list shows of a movie's statistics."""

    count: int
    average: float | None
    weighted_average: float | None


_decode_ratings = msgspec.json.Decoder(Ratings).decode


class Film(NamedTuple):
    """What the index holds of a movie's details; `stored` is what it was made from.

    `shown_id` is its id as text, `listed` the beginning of its JSON in a list.
    """

    movie_id: bytes
    shown_id: str
    stored: bytes
    title: str
    folded_title: str
    year: int
    created_ms: int
    genre_names: tuple[str, ...]
    genres: frozenset[str]
    directors: frozenset[str]
    words: frozenset[str]
    listed: bytes


class Entry(msgspec.Struct, gc=False):
    """A movie as the index holds it. What a list shows of it is encoded when it is first shown."""

    film: Film
    ratings: Ratings
    _item: bytes | None = None
    _rated: bytes | None = None
    weighted: Key | None = None
    # What is stored of it cannot be read: this is how it was before.
    stale: bool = False

    @property
    def item(self) -> bytes:
        """Its JSON in a list."""
        if self._item is None:
            end = b',"stale":true}' if self.stale else b"}"
            self._item = b"".join((self.film.listed, b',"ratings":', _json(self.ratings), end))
        return self._item

    @property
    def rated(self) -> bytes:
        """The beginning of its JSON in a list of somebody's ratings."""
        if self._rated is None:
            film = self.film
            self._rated = rated_part(film.shown_id, film.title, film.year, self.ratings.average)
        return self._rated


def rated_part(
    movie_id: str, title: str | None = None, year: int | None = None, average: float | None = None
) -> bytes:
    """A rated movie's part of the JSON, to be followed by the user's."""
    shown = {"movie_id": movie_id, "title": title, "year": year, "movie_average": average}
    return _json(shown)[:-1]


_KEYS: dict[Order, Callable[[Film, Ratings], Key]] = {
    "weighted": lambda film, ratings: (
        *(-(ratings.weighted_average or 0), -ratings.count),
        *(film.folded_title, film.year, film.movie_id),
    ),
    "average": lambda film, ratings: (
        *(-(ratings.average or 0), -ratings.count),
        *(film.folded_title, film.year, film.movie_id),
    ),
    "count": lambda film, ratings: (-ratings.count, film.folded_title, film.year, film.movie_id),
    "newest": lambda film, _: (
        *(-film.year, -film.created_ms),
        *(film.folded_title, film.year, film.movie_id),
    ),
    "title": lambda film, _: (film.folded_title, film.year, film.movie_id),
}


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
        # The newest position that anything in it may be of.
        self.newest = START
        # Counts the movies whose genres were not known before.
        self.genres_revision = 0
        self._orders: dict[Order, list[Key]] = {order: [] for order in ORDERS}
        # The entries that still stand in an order in the place of newer ones, None for none.
        self._moved: dict[Order, dict[bytes, Entry | None]] = {order: {} for order in ORDERS}
        self._by_word: dict[str, set[bytes]] = {}
        self._words: list[str] = []

    def put(self, movie: bytes, details: bytes, statistics: bytes) -> None:
        """Add a movie, or bring it up to date; both documents as they are stored."""
        old = self.entries.get(movie)
        ratings = _decode_ratings(statistics)
        orders = RATED_ORDERS
        if old is not None and old.film.stored == details:
            film = old.film
            if old.ratings == ratings and not old.stale:
                return
        else:
            film = _film(details)
            if film.movie_id != movie:
                raise DocumentDamaged("a document is another movie's")
            orders = ORDERS
            if old is None or old.film.genre_names != film.genre_names:
                self.genres_revision += 1
            self._index_words(film, old.film.words if old is not None else frozenset())
        self.entries[movie] = Entry(film, ratings)
        for order in orders:
            moved = self._moved[order]
            moved.setdefault(movie, old)
            if len(moved) > MOVED_MAX:
                self._settle(order)

    def mark_stale(self, movie: bytes) -> None:
        """Show a movie as one that stands still, until it is next put."""
        entry = self.entries.get(movie)
        if entry is not None and not entry.stale:
            self.entries[movie] = Entry(entry.film, entry.ratings, stale=True)

    def page(
        self, sort: Sort, wanted: Filter, *, after: Key | None, limit: int
    ) -> list[tuple[Key, Entry]]:
        """At most `limit` movies after the key, in order."""
        entries, page = self.entries, []
        genre, director = wanted.genre, wanted.director
        year_min = YEAR_MIN if wanted.year_min is None else wanted.year_min
        year_max = YEAR_MAX if wanted.year_max is None else wanted.year_max
        # Walks much of an order where few movies pass.
        for key in self._candidates(sort, wanted, after):
            if not year_min <= key[-2] <= year_max:
                continue
            entry = entries[key[-1]]
            film = entry.film
            if (genre is None or genre in film.genres) and (
                director is None or director in film.directors
            ):
                page.append((key, entry))
                if len(page) == limit:
                    break
        return page

    def _candidates(self, sort: Sort, wanted: Filter, after: Key | None) -> Iterator[Key]:
        found = None if wanted.q is None else self._search(wanted.q)
        if sort == "match":
            return self._matches(found or set(), fold(wanted.q or "").strip(), after)
        if found is not None:
            return self._ordered(sort, found, after)
        return _from(self._settle(sort), after)

    def _matches(self, found: set[bytes], q: str, after: Key | None) -> Iterator[Key]:
        """The movies found, the best match first."""
        by_match: list[set[bytes]] = [set() for _ in range(WORST_MATCH + 1)]
        for movie in found:
            by_match[_match(self.entries[movie].film.folded_title, q)].add(movie)
        first = 0 if after is None else after[0]
        for match in range(first, WORST_MATCH + 1):
            start = after[1:] if after is not None and match == first else None
            for key in self._ordered("weighted", by_match[match], start):
                yield match, *key

    def _ordered(self, order: Order, movies: set[bytes], after: Key | None) -> Iterator[Key]:
        """Some movies in an order: a few are sorted, of many the order is walked."""
        if len(movies) <= SORT_CANDIDATES_MAX:
            return _from(sorted(map(self._key(order), movies)), after)
        return (key for key in _from(self._settle(order), after) if key[-1] in movies)

    def _key(self, order: Order) -> Callable[[bytes], Key]:
        """What makes a movie's key in an order."""
        key_of, entries = _KEYS[order], self.entries

        def key(movie: bytes) -> Key:
            entry = entries[movie]
            return key_of(entry.film, entry.ratings)

        def weighted(movie: bytes) -> Key:
            """Kept, since every search needs it."""
            entry = entries[movie]
            if entry.weighted is None:
                entry.weighted = key_of(entry.film, entry.ratings)
            return entry.weighted

        return weighted if order == "weighted" else key

    def _settle(self, order: Order) -> list[Key]:
        """The keys of an order, brought up to date."""
        keys, moved = self._orders[order], self._moved[order]
        if len(moved) * MERGE_ONE_IN > len(keys):
            keys = [key for key in keys if key[-1] not in moved]
            keys += sorted(map(self._key(order), moved))
            keys.sort()  # Two runs that are in order already: this merges them.
            self._orders[order] = keys
        else:
            for key, old in zip(map(self._key(order), moved), moved.values(), strict=True):
                if old is not None:
                    del keys[bisect_left(keys, _KEYS[order](old.film, old.ratings))]
                insort(keys, key)
        moved.clear()
        return keys

    def _search(self, q: str) -> set[bytes]:
        """Movies of whose title every word of `q` begins some word."""
        by_prefix = sorted((self._beginning(prefix) for prefix in words_of(q)), key=_size)
        if not by_prefix:
            return set()
        # The rarest first: all that a word finds which stands in most titles is not gathered then.
        found: set[bytes] = set().union(*by_prefix[0])
        for matching in by_prefix[1:]:
            if len(found) * len(matching) < _size(matching):
                found = {movie for movie in found if any(movie in movies for movies in matching)}
            else:
                found.intersection_update(set().union(*matching))
        return found

    def _beginning(self, prefix: str) -> list[set[bytes]]:
        """The movies of each word that begins so."""
        matching = []
        for place in range(bisect_left(self._words, prefix), len(self._words)):
            word = self._words[place]
            if not word.startswith(prefix):
                break
            matching.append(self._by_word[word])
        return matching

    def _index_words(self, film: Film, old: frozenset[str]) -> None:
        for word in old - film.words:
            self._by_word[word].discard(film.movie_id)
        for word in film.words - old:
            movies = self._by_word.get(word)
            if movies is None:
                movies = self._by_word[word] = set()
                insort(self._words, word)
            movies.add(film.movie_id)


def fold(text: str) -> str:
    """Without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


def words_of(text: str) -> list[str]:
    """The words of a text, folded; what is neither letter nor digit divides them."""
    return "".join(c if c.isalnum() else " " for c in fold(text)).split()


def _size(sets: list[set[bytes]]) -> int:
    return sum(map(len, sets))


def _match(title: str, q: str) -> int:
    """How well a title that was found matches, 0 best."""
    if title.startswith(q):
        return 0 if title == q else 1
    return WORST_MATCH


def _from(order: list[Key], after: Key | None) -> Iterator[Key]:
    if after is None:
        return iter(order)
    return map(order.__getitem__, range(bisect_right(order, after), len(order)))


def _film(details: bytes) -> Film:
    movie = _decode_movie(details)
    listed = {
        "movie_id": movie.movie_id,
        "title": movie.title,
        "year": movie.year,
        "genres": movie.genres,
        "external_id": movie.external_id,
    }
    return Film(
        movie_id=movie.movie_id.bytes,
        shown_id=str(movie.movie_id),
        stored=details,
        title=movie.title,
        folded_title=fold(movie.title),
        year=movie.year,
        created_ms=milliseconds(movie.created_at),
        genre_names=tuple(dict.fromkeys(movie.genres)),
        genres=folded(movie.genres),
        directors=folded(movie.directors),
        words=frozenset(words_of(movie.title) + words_of(movie.title.translate(_JOINED))),
        listed=_json(listed)[:-1],
    )


def folded(names: Iterable[str]) -> frozenset[str]:
    return frozenset(fold(name) for name in names)
