"""Find a page of the catalogue by seeking to its cursor's key, so that nothing is counted.

A long search runs as a generator that pauses after it has held the event loop for `SLICE_S`. The
index may change during a pause: the search then seeks again after the last key that it examined, as
the next page would.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Generator, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from query_api.catalogue.index import Entry, Filter, Index, Key, Order, Sort
from query_api.catalogue.search_key import search_key, search_words, without_article
from query_api.read_limits import SLICE_TOKENS, charge_work
from shared.errors import Overloaded

# Sort up to this many candidates of a search; for more, walk the order and test each key.
SORT_CANDIDATES_MAX = 500
WORST_MATCH = 2
YEAR_MIN, YEAR_MAX = 0, 9_999
# Maximum number of distinct words of a search; the rest is ignored.
WORDS_MAX = 10
# Keys examined between two looks at the clock.
CHUNK = 500
SLICE_S = 0.002
LONG_SEARCHES_MAX = 64
# All conditions but `q`.
_NO_FILTER = Filter()[:-1]

Found = list[tuple[Key, Entry]]
Result = TypeVar("Result")
# A search that pauses wherever the event loop may run other tasks.
Sliced = Generator[None, None, Result]


class Searches:
    """Runs searches; long ones take turns, one slice at a time."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._long = 0

    async def run(self, search: Sliced[Found]) -> Found:
        """Return the search's result; raise `Overloaded` if too many searches are running."""
        try:
            next(search)
        except StopIteration as ended:
            return list(ended.value)
        if self._long >= LONG_SEARCHES_MAX:
            raise Overloaded(f"{self._long} long searches are running already")
        self._long += 1
        try:
            while True:
                async with self._turn:
                    await asyncio.sleep(0)
                    charge_work(SLICE_TOKENS)
                    next(search)
        except StopIteration as ended:
            return list(ended.value)
        finally:
            self._long -= 1


def page(index: Index, sort: Sort, wanted: Filter, *, after: Key | None, limit: int) -> Found:
    """Return at most `limit` movies after the key, in order, without pausing."""
    return _finished(search(index, sort, wanted, after=after, limit=limit))


def search(
    index: Index, sort: Sort, wanted: Filter, *, after: Key | None, limit: int
) -> Sliced[Found]:
    """Search like `page`, but in slices."""
    slice_ = _Slice()
    selection = _Selection(index, wanted, limit, slice_)
    if wanted.q is None:
        assert sort != "match"
        yield from selection.walk(sort, after, None)
        return selection.found
    movies = yield from _matching(index, wanted_words(wanted.q), slice_)
    if sort != "match":
        yield from selection.take(sort, movies, after)
        return selection.found
    by_match = yield from _classified(index, movies, search_key(wanted.q).strip(), slice_)
    first = 0 if after is None else after[0]
    for match in range(first, WORST_MATCH + 1):
        start = after[1:] if after is not None and match == first else None
        selection.prefix = (match,)
        yield from selection.take("weighted", by_match[match], start)
    return selection.found


def wanted_words(q: str) -> list[str]:
    """Return the distinct words to look for, without those that another word begins with.

    A title with a word that begins with the longer one also matches the shorter one.
    """
    distinct = list(islice(dict.fromkeys(search_words(q)), WORDS_MAX))
    return [
        word
        for word in distinct
        if not any(other != word and other.startswith(word) for other in distinct)
    ]


class _Slice:
    """Measures how long a search has held the event loop."""

    def __init__(self) -> None:
        self._ends_at = time.perf_counter() + SLICE_S

    def pause(self) -> Sliced[None]:
        """Pause if the search has held the event loop for long enough."""
        if time.perf_counter() >= self._ends_at:
            yield
            self._ends_at = time.perf_counter() + SLICE_S


class _Selection:
    """The movies of an order that pass a filter, up to a limit; `prefix` begins their keys."""

    def __init__(self, index: Index, wanted: Filter, limit: int, slice_: _Slice) -> None:
        self.found: Found = []
        self.prefix: Key = ()
        self._index = index
        self._wanted = wanted
        self._genre = search_key(wanted.genre) if wanted.genre else None
        self._director = search_key(wanted.director) if wanted.director else None
        self._limit = limit
        self._slice = slice_

    def take(self, order: Order, movies: set[bytes], after: Key | None) -> Sliced[None]:
        """Add the given movies in an order: sort a few of them, or walk the order for many."""
        if len(movies) > SORT_CANDIDATES_MAX:
            yield from self.walk(order, after, movies)
        elif movies and len(self.found) < self._limit:
            # Some may have left the catalogue since they were found.
            there = filter(self._index.entries.__contains__, movies)
            keys = sorted(map(self._index.key_maker(order), there))
            self._test(keys if after is None else keys[bisect_right(keys, after) :], None)

    def walk(self, order: Order, after: Key | None, movies: set[bytes] | None) -> Sliced[None]:
        """Add the movies of an order, or only the given ones."""
        while len(self.found) < self._limit:
            keys = self._index.sorted_keys(order)
            start = 0 if after is None else bisect_right(keys, after)
            chunk = keys[start : start + CHUNK]
            if not chunk:
                return
            self._test(chunk, movies)
            after = chunk[-1]
            yield from self._slice.pause()

    def _test(self, keys: Iterable[Key], movies: set[bytes] | None) -> None:
        wanted, entries, found = self._wanted, self._index.entries, self.found
        if movies is None and wanted[:-1] == _NO_FILTER:
            fitting = islice(keys, self._limit - len(found))
            found += [(self.prefix + key, entries[key[-1]]) for key in fitting]
            return
        genre, director = self._genre, self._director
        year_min = YEAR_MIN if wanted.year_min is None else wanted.year_min
        year_max = YEAR_MAX if wanted.year_max is None else wanted.year_max
        for key in keys:
            if not year_min <= key[-2] <= year_max or (
                movies is not None and key[-1] not in movies
            ):
                continue
            entry = entries[key[-1]]
            film = entry.film
            if (genre is None or genre in film.genres) and (
                director is None or director in film.directors
            ):
                found.append((self.prefix + key, entry))
                if len(found) == self._limit:
                    return


def _matching(index: Index, words: Sequence[str], slice_: _Slice) -> Sliced[set[bytes]]:
    """Return the movies in whose title each word is the beginning of some word."""
    by_prefix: list[list[set[bytes]]] = []
    for word in words:
        by_prefix.append(index.beginning(word))
        yield from slice_.pause()
    if not by_prefix:
        return set()
    by_prefix.sort(key=_size)
    # The rarest word first, so that the movies of a very common word need not be collected.
    found: set[bytes] = set()
    for number, matching in enumerate(by_prefix):
        if number and not found:
            break
        if number and len(found) * len(matching) < _size(matching):
            found = {movie for movie in found if any(movie in movies for movies in matching)}
        else:
            gathered: set[bytes] = set().union(*matching)
            found = found & gathered if number else gathered
        yield from slice_.pause()
    return found


def _classified(
    index: Index, movies: set[bytes], q: str, slice_: _Slice
) -> Sliced[list[set[bytes]]]:
    """Group the movies by how well their titles match, the best first."""
    by_match: list[set[bytes]] = [set() for _ in range(WORST_MATCH + 1)]
    wanted = without_article(q)
    entries = index.entries
    rest = iter(movies)
    while chunk := list(islice(rest, CHUNK)):
        for movie in chunk:
            entry = entries.get(movie)
            if entry is None:
                continue  # It has left the catalogue since it was found.
            film = entry.film
            title, bare_title = film.title_key, film.bare_title_key
            # Most titles do not begin with it: avoid a function call for each of them.
            if title.startswith(q) or (
                (bare_title is not title or wanted is not q) and bare_title.startswith(wanted)
            ):
                is_whole = title == q or bare_title == wanted
                by_match[0 if is_whole else 1].add(movie)
            else:
                by_match[WORST_MATCH].add(movie)
        yield from slice_.pause()
    return by_match


def _size(sets: Iterable[set[bytes]]) -> int:
    return sum(map(len, sets))


def _finished(search: Sliced[Result]) -> Result:
    while True:
        try:
            next(search)
        except StopIteration as ended:
            result: Result = ended.value
            return result
