"""Compare the cost of searches with and without typos: `python -m bench.searches`.

No service runs: the index is filled in this process. Each title is searched as it is, and with a
letter of its longest word left out; the figures are processor time, the median of five searches
each. The larger catalogue joins halves of the shipped titles, and misspells one word of each.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Sequence
from statistics import median, quantiles
from typing import NamedTuple
from uuid import UUID

import msgspec

from ops.imports.catalogue import DEFAULT_CATALOGUE, read
from query_api.catalogue.index import Filter, Index
from query_api.catalogue.search import page
from query_api.catalogue.slicing import finished
from shared.ids import START, MovieId
from shared.read_model.documents import movie_document
from shared.read_model.statistics import BINS, statistics_of
from tests.support.builders import NOON, movie_fields

SIZES = (17_472, 100_000)
SEARCHES = 1_000
REPEATS = 5
LIMIT = 21


class _Title(NamedTuple):
    title: str
    year: int


def filled(titles: Sequence[_Title]) -> Index:
    """Return an index of movies with these titles, which nobody has rated."""
    index = Index(is_loading=True)
    statistics = msgspec.json.encode(statistics_of((0,) * BINS, START))
    for number, (title, year) in enumerate(titles, start=1):
        fields = movie_fields(title=title, year=year)
        movie = movie_document(MovieId(UUID(int=number)), fields, NOON, START, 1)
        index.put(movie.movie_id.bytes, msgspec.json.encode(movie), statistics)
    finished(index.sort())
    return index


def shipped() -> list[_Title]:
    return [_Title(movie.title, movie.year) for movie in read(DEFAULT_CATALOGUE)]


def with_typo(title: str) -> str:
    """Leave out the middle letter of the longest word."""
    longest = max(title.split(), key=len)
    middle = len(longest) // 2
    return title.replace(longest, longest[:middle] + longest[middle + 1 :])


def _grown(titles: list[_Title], size: int, draw: random.Random) -> Iterator[_Title]:
    yield from titles[:size]
    for _ in range(size - len(titles)):
        first, second = (draw.choice(titles) for _ in range(2))
        halves = first.title.split()[:2] + with_typo(second.title).split()[-2:]
        yield _Title(" ".join(halves), second.year)


def _cost_us(index: Index, q: str) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.thread_time_ns()
        page(index, "match", Filter(q=q), after=None, limit=LIMIT)
        taken.append((time.thread_time_ns() - started) / 1_000)
    return median(taken)


def main() -> None:
    draw = random.Random(18)
    titles = shipped()
    for size in SIZES:
        index = filled(list(_grown(titles, size, draw)))
        asked = [title.lower() for title, _ in draw.sample(titles, SEARCHES)]
        costs = {
            "plain": [_cost_us(index, q) for q in asked],
            "with a typo": [_cost_us(index, with_typo(q)) for q in asked],
        }
        p99s = []
        for kind, taken in costs.items():
            p99s.append(quantiles(taken, n=100)[98])
            print(
                f"{size:,} films, {len(index.words):,} words, {kind}: median {median(taken):,.0f}"
                f" us, p99 {p99s[-1]:,.0f} us, most {max(taken):,.0f} us"
            )
        print(f"{size:,} films: p99 with a typo / plain = {p99s[1] / p99s[0]:.2f}")


if __name__ == "__main__":
    main()
