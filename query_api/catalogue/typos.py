"""Forgive typos: find titles with nearly the words of a search, at a bounded cost.

A word of the search nearly is a word of a title if it begins it or names the same number, if few
edits make one of the other, or if the two differ by a space (`ghost busters`, `bladerunner`). One
word may be missing. The cost of a title is the edits, and `MISSING` for that word.

What is looked at is limited by numbers, never by time, so that the next page finds the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import pairwise

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from query_api.catalogue.entry import Entry
from query_api.catalogue.index import Index
from query_api.catalogue.slicing import Slice, Sliced

# Words of the catalogue that a search may compare, about 0.1 us each, and between two looks at the
# clock.
COMPARED_MAX = 60_000
CHUNK = 2_000
# Titles that a search may judge, and between two looks at the clock.
CANDIDATES_MAX = 500
JUDGED_A_LOOK = 50
# Words up to this length have to be typed right, those from the second length on may have two
# edits.
EXACT_LENGTH_MAX = 3
TWO_EDITS_LENGTH = 8
MISSING = 3
WRONG_YEAR = 1
TOTAL_MAX = 2 * MISSING
# Titles of the same cost are better the fewer words they have that the search lacks.
EXTRA_WORDS_MAX = 3
COST_MAX = TOTAL_MAX * (EXTRA_WORDS_MAX + 1) + EXTRA_WORDS_MAX

# The words of titles that nearly are one of the search, with the edits.
Near = dict[str, int]


def nearly_matching(
    index: Index, words: Sequence[str], year: int | None, slice_: Slice
) -> Sliced[dict[bytes, int]]:
    """Return the movies whose titles nearly match, with a cost of at most `COST_MAX`."""
    comparison = _Comparison(index.words)
    near: list[Near] = []
    for word in words:
        known = index.beginning(word) if len(word) >= EXACT_LENGTH_MAX else [word]
        begun = dict.fromkeys(filter(index.by_word.__contains__, known), 0)
        near.append((yield from comparison.near(word, slice_, everywhere=not begun)) | begun)
    _join(index, words, near)
    splits = [_splits(index, word) for word in words]
    candidates = yield from _candidates(index, near, splits, slice_)
    judged: dict[bytes, int] = {}
    for place, movie in enumerate(candidates):
        entry = index.entries.get(movie)
        cost = None if entry is None else _cost(entry, words, near, splits, year)
        if cost is not None:
            judged[movie] = cost
        if place % JUDGED_A_LOOK == 0:
            yield from slice_.pause()
    return judged


class _Comparison:
    """Compares words with the words of all titles until it has compared `COMPARED_MAX`."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._left = COMPARED_MAX

    def near(self, word: str, slice_: Slice, *, everywhere: bool) -> Sliced[Near]:
        """Return the words that few edits make of this one.

        They begin with the same letter, unless there are none and it is to be looked `everywhere`.
        """
        # Other digits are another number, but `se7en` is a word.
        if word.isdigit() or len(word) <= EXACT_LENGTH_MAX:
            return {}
        edits_max = 2 if len(word) >= TWO_EDITS_LENGTH else 1
        start = bisect_left(self._words, word[0])
        end = bisect_left(self._words, chr(ord(word[0]) + 1), start)
        near = yield from self._among(word, start, end, edits_max, slice_)
        if everywhere and not near:
            near = yield from self._among(word, 0, len(self._words), edits_max, slice_)
        return near

    def _among(
        self, word: str, start: int, end: int, edits_max: int, slice_: Slice
    ) -> Sliced[Near]:
        near: Near = {}
        for place in range(start, end, CHUNK):
            chunk = self._words[place : min(place + CHUNK, end)]
            if len(chunk) > self._left:
                break
            self._left -= len(chunk)
            found = extract(
                word, chunk, scorer=OSA.distance, score_cutoff=edits_max, limit=None, processor=None
            )
            near.update((known, int(edits)) for known, edits, _ in found)
            yield from slice_.pause()
        return near


def _join(index: Index, words: Sequence[str], near: Sequence[Near]) -> None:
    """Let two neighbours be a word that they make together."""
    for place, (word, following) in enumerate(pairwise(words)):
        if word + following in index.by_word:
            near[place].setdefault(word + following, 1)
            near[place + 1].setdefault(word + following, 0)


def _splits(index: Index, word: str) -> list[tuple[str, str]]:
    """Return the pairs of words that the word would be with a space in it."""
    pairs = ((word[:place], word[place:]) for place in range(2, len(word) - 1))
    return [pair for pair in pairs if pair[0] in index.by_word and pair[1] in index.by_word]


def _candidates(
    index: Index,
    near: Sequence[Near],
    splits: Sequence[Iterable[tuple[str, str]]],
    slice_: Slice,
) -> Sliced[set[bytes]]:
    """Return the movies to judge: those that lack at most one word, if they are not too many.

    If they are, those that have all words which any title has.
    """
    by_word = index.by_word
    having: list[list[set[bytes]]] = []
    for costs, pairs in zip(near, splits, strict=True):
        split = [by_word[first] & by_word[second] for first, second in pairs]
        having.append([by_word[word] for word in costs] + split)
        yield from slice_.pause()
    having.sort(key=_size)
    # A movie that lacks one word has one of the two rarest.
    if sum(map(_size, having[:2])) <= CANDIDATES_MAX:
        return set().union(*(movies for rare in having[:2] for movies in rare))
    found: set[bytes] | None = None
    for sets in filter(None, having):
        if found is None:
            if _size(sets) > CANDIDATES_MAX * 20:
                return set()
            found = set().union(*sets)
        else:
            found = {movie for movie in found if any(movie in movies for movies in sets)}
        yield from slice_.pause()
    return found if found is not None and len(found) <= CANDIDATES_MAX else set()


def _cost(
    entry: Entry,
    words: Sequence[str],
    near: Sequence[Near],
    splits: Sequence[Iterable[tuple[str, str]]],
    year: int | None,
) -> int | None:
    """Return what it costs to take a title for the wanted one, None if it is too different."""
    of_title = entry.film.names.words
    total = missing = missing_letters = 0
    for word, costs, pairs in zip(words, near, splits, strict=True):
        if common := of_title & costs.keys():
            total += min(map(costs.__getitem__, common))
        elif any(one in of_title and two in of_title for one, two in pairs):
            total += 1
        else:
            missing, missing_letters, total = (
                missing + 1,
                missing_letters + len(word),
                total + MISSING,
            )
            if missing > 1:
                return None
    if 2 * missing_letters > sum(map(len, words)) or total > TOTAL_MAX:
        return None
    if year is not None and entry.film.year != year and str(year) not in of_title:
        if abs(entry.film.year - year) > 1:
            return None
        total = min(total + WRONG_YEAR, TOTAL_MAX)
    extra = entry.film.names.length - len(words)
    return total * (EXTRA_WORDS_MAX + 1) + min(max(extra, 0), EXTRA_WORDS_MAX)


def _size(sets: Iterable[set[bytes]]) -> int:
    return sum(map(len, sets))
