"""Find a page of the catalogue by seeking to its cursor's key, so that nothing is counted.

A long search runs as a generator that pauses after each slice of its time. The index may change
during a pause: the search then seeks again after the last key that it examined, as the next page
would.

In the order `match` a title's match with the search text begins its key:

    0  a title equals the text
    1  it does so without leading articles, or a part of it at a colon or dash does
    2  a title or a part of it begins with the text
    3  each word of the text is the beginning of some word of the title
    4  and more: the words nearly match (see `query_api/catalogue/typos.py`)
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

from query_api.catalogue.entry import Entry
from query_api.catalogue.index import Filter, Index, Key, Order, Sort
from query_api.catalogue.search_key import (
    number_of,
    search_key,
    search_words,
    with_article_first,
    without_article,
)
from query_api.catalogue.slicing import Slice, Sliced, finished
from query_api.catalogue.trends import Window
from query_api.catalogue.typos import COST_MAX, nearly_matching
from query_api.read_limits import SLICE_TOKENS, charge_work
from shared.errors import Overloaded

# Sort up to this many candidates of a search; for more, walk the order and test each key.
SORT_CANDIDATES_MAX = 500
EQUAL, EQUAL_PART, BEGINNING, WORDS, TYPOS = range(5)
# Forgive typos if fewer titles than this match and none begins with the text. In the other orders
# none may match, since titles that nearly match would come between those that do.
FEW_MATCHES = 3
YEAR_MIN, YEAR_MAX = 0, 9_999
# A number of these years beside other words may be the year of the film.
FILM_YEARS = range(1870, 2100)
# Maximum number of distinct words of a search; the rest is ignored.
WORDS_MAX = 10
# Keys examined between two looks at the clock.
CHUNK = 500
LONG_SEARCHES_MAX = 64
# All conditions but `q`.
_NO_FILTER = Filter()[:-1]

Found = list[tuple[Key, Entry]]


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


def page(
    index: Index, sort: Sort | Window, wanted: Filter, *, after: Key | None, limit: int
) -> Found:
    """Return at most `limit` movies after the key, in order, without pausing."""
    return finished(search(index, sort, wanted, after=after, limit=limit))


def search(
    index: Index, sort: Sort | Window, wanted: Filter, *, after: Key | None, limit: int
) -> Sliced[Found]:
    """Search like `page`, but in slices."""
    slice_ = Slice()
    selection = _Selection(index, wanted, limit, slice_)
    if wanted.q is None:
        assert sort != "match"
        yield from selection.walk(sort, after, None)
        return selection.found
    asked = read_text(wanted.q)
    movies = yield from _matching(index, asked.words, slice_)
    of_year: set[bytes] = set()
    if asked.year is not None:
        others = yield from _matching(index, asked.other_words, slice_)
        of_year = yield from _of_year(index, others, asked.year, slice_)
    matching = movies | of_year if of_year else movies
    by_match: list[set[bytes]] = [set() for _ in range(TYPOS + COST_MAX + 1)]
    if sort == "match":
        rest = movies - of_year if of_year else movies
        yield from _classify(index, rest, asked.text, by_match, slice_)
        yield from _classify(index, of_year, asked.other_text, by_match, slice_)
    if len(matching) < (FEW_MATCHES if sort == "match" else 1) and not any(by_match[:WORDS]):
        nearly = yield from nearly_matching(index, asked.other_words, asked.year, slice_)
        for movie, cost in nearly.items():
            if movie not in matching:
                by_match[TYPOS + cost].add(movie)
    if sort != "match":
        yield from selection.take(sort, matching.union(*by_match), after)
        return selection.found
    first = 0 if after is None else after[0]
    for match in filter(by_match.__getitem__, range(first, len(by_match))):
        start = after[1:] if after is not None and match == first else None
        selection.prefix = (match,)
        yield from selection.take("count", by_match[match], start)
    return selection.found


class _Text(NamedTuple):
    """A search text in the forms that `Names` have: as it is, and without a leading article."""

    forms: tuple[str, ...]
    bare: tuple[str, ...]


class Asked(NamedTuple):
    """What a search text asks for; the other words and text are those without the film's year."""

    text: _Text
    words: list[str]
    year: int | None
    other_text: _Text
    other_words: list[str]


def read_text(q: str) -> Asked:
    """Return what a search text asks for."""
    words = search_words(with_article_first(q))
    text, wanted = _text(words), wanted_words(words)
    years = [word for word in words if len(word) == 4 and word.isascii() and word.isdigit()]
    if len(words) == 1 or not years or int(years[-1]) not in FILM_YEARS:
        return Asked(text, wanted, None, text, wanted)
    last = len(words) - 1 - words[::-1].index(years[-1])
    others = words[:last] + words[last + 1 :]
    return Asked(text, wanted, int(years[-1]), _text(others), wanted_words(others))


def _text(words: Sequence[str]) -> _Text:
    forms = dict.fromkeys((tuple(words), tuple(map(number_of, words))))
    bare = dict.fromkeys(map(without_article, forms))
    return _Text(tuple(map(" ".join, forms)), tuple(map(" ".join, bare)))


def wanted_words(words: Sequence[str]) -> list[str]:
    """Return the distinct words to look for, without an article and those that begin another word.

    A title with a word that begins with the longer one also matches the shorter one.
    """
    distinct = list(islice(dict.fromkeys(without_article(words)), WORDS_MAX))
    return [
        word
        for word in distinct
        if not any(other != word and other.startswith(word) for other in distinct)
    ]


class _Selection:
    """The movies of an order that pass a filter, up to a limit; `prefix` begins their keys."""

    def __init__(self, index: Index, wanted: Filter, limit: int, slice_: Slice) -> None:
        self.found: Found = []
        self.prefix: Key = ()
        self._index = index
        self._wanted = wanted
        self._genre = search_key(wanted.genre) if wanted.genre else None
        self._director = search_key(wanted.director) if wanted.director else None
        self._limit = limit
        self._slice = slice_

    def take(self, order: Order | Window, movies: set[bytes], after: Key | None) -> Sliced[None]:
        """Add the given movies in an order: sort a few of them, or walk the order for many."""
        if len(movies) > SORT_CANDIDATES_MAX:
            yield from self.walk(order, after, movies)
        elif movies and len(self.found) < self._limit:
            # Some may have left the catalogue since they were found.
            keys = self._index.keys_of(order, movies)
            self._test(keys if after is None else keys[bisect_right(keys, after) :], None)

    def walk(
        self, order: Order | Window, after: Key | None, movies: set[bytes] | None
    ) -> Sliced[None]:
        """Add the movies of an order, or only the given ones."""
        while len(self.found) < self._limit:
            chunk = self._index.keys_in(order, after, CHUNK)
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


def _matching(index: Index, words: Sequence[str], slice_: Slice) -> Sliced[set[bytes]]:
    """Return the movies in whose title each word is the beginning of some word."""
    by_prefix: list[list[set[bytes]]] = []
    for word in words:
        by_prefix.append([index.by_word[one] for one in index.beginning(word)])
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


def _of_year(index: Index, movies: Iterable[bytes], year: int, slice_: Slice) -> Sliced[set[bytes]]:
    """Return the movies of one year."""
    entries = index.entries
    found: set[bytes] = set()
    rest = iter(movies)
    while chunk := list(islice(rest, CHUNK)):
        found.update(one for one in chunk if one in entries and entries[one].film.year == year)
        yield from slice_.pause()
    return found


def _classify(
    index: Index, movies: set[bytes], text: _Text, by_match: list[set[bytes]], slice_: Slice
) -> Sliced[None]:
    """Group the movies, each of which has all words, by how well their titles match."""
    every = dict.fromkeys(text.forms + text.bare)
    first, *others = (f"\n{form}" for form in every)
    lines_of_text = [f"\n{form}\n" for form in every]
    equal, equal_part, beginning, words = by_match[:TYPOS]
    entries = index.entries
    rest = iter(movies)
    while chunk := list(islice(rest, CHUNK)):
        for movie in chunk:
            entry = entries.get(movie)
            if entry is None:
                continue  # It has left the catalogue since it was found.
            lines = entry.film.names.lines
            # No name of most titles begins with it: avoid a function call for each of them.
            if first not in lines and not (others and any(one in lines for one in others)):
                words.add(movie)
                continue
            for line in lines_of_text:
                if line in lines:
                    whole = lines.partition("\n\n")[0] + "\n"
                    is_equal = any(f"\n{form}\n" in whole for form in text.forms)
                    (equal if is_equal else equal_part).add(movie)
                    break
            else:
                beginning.add(movie)
        yield from slice_.pause()


def _size(sets: Iterable[set[bytes]]) -> int:
    return sum(map(len, sets))
