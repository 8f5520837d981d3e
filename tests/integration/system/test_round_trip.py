"""A member's ratings leave one Starfold and enter an empty one, which exports the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any, NamedTuple

import pytest

from tests.support.importing import Importing
from tests.support.servers import Servers
from tests.support.system import System

FILMS: list[dict[str, Any]] = [
    {"title": "Heat", "year": 1995, "imdb_id": "tt0113277", "tmdb_id": 949},
    # Only an id tells these two apart.
    {"title": "Twins", "year": 1988, "imdb_id": "tt0096320"},
    {"title": "Twins", "year": 1988, "imdb_id": "tt0099999"},
    {"title": "Solaris", "year": 1972, "tmdb_id": 593},
    {"title": "Solaris", "year": 2002},
    {"title": '"8½", or: Otto; e mezzo', "year": 1963, "external_id": "films:8"},
    {"title": "Кин-дза-дза!", "year": 1986},
    {"title": "=1+1", "year": 1900},
    {"title": "Ran", "year": 1985},
]
REVIEWS = [
    'He said "no",\nand left\r\n\r\nfor good;',
    "=HYPERLINK(\"x\")\tZażółć 映画 🎬",
    "é" * 10_000,
    "<i>html</i> \\n, 'quoted'",
]  # fmt: skip
TIMES = [
    "2024-05-06T23:59:59.999Z",
    "2024-05-06T00:00:00.001Z",
    "2024-05-06T12:00:00Z",
    "1999-12-31T23:30:00-05:00",
    "1970-01-01T00:00:00Z",
]


class Pair(NamedTuple):
    """The Starfold that the ratings leave, and the empty one; both have the same films."""

    first: Importing
    empty: Importing
    films: list[str]


@pytest.fixture(scope="module")
def pair(servers: Servers) -> Iterator[Pair]:
    with ExitStack() as stack:
        first, empty = _starfold(servers, stack), _starfold(servers, stack)
        films = [first.movie(**film) for film in FILMS]
        for film in FILMS:
            empty.movie(**film)
        yield Pair(first, empty, films)


def _starfold(servers: Servers, stack: ExitStack) -> Importing:
    system = stack.enter_context(closing(System(servers)))
    url = system.start_command_api().url
    api = stack.enter_context(Importing(system, url, url))
    stack.callback(api.inbox.close)
    return api


def carried(exported: bytes) -> object:
    """Return what a JSON export says of the ratings: all but ids and the history of this log."""
    ratings = [
        {name: value for name, value in one.items() if name not in ("movie_id", "history")}
        for one in json.loads(exported)["ratings"]
        if one["current"] is not None
    ]
    return sorted(ratings, key=lambda one: (one["title"], one["year"], one["imdb_id"] or ""))


@pytest.mark.parametrize("kind", ["json", "csv", "letterboxd", "trakt"])
def test_an_export_is_imported_and_exported_again_as_it_was(pair: Pair, kind: str) -> None:
    first, empty, films = pair
    ann, ann_there = first.sign_up(), empty.sign_up()
    for number, movie_id in enumerate(films):
        fields: dict[str, Any] = {"rated_at": TIMES[number % len(TIMES)]}
        if number % 2:
            fields["review"] = REVIEWS[number // 2]
        first.rate(ann, movie_id, number / 2 + 0.5, **fields)
    # One is rated again and now, one withdrawn.
    first.rate(ann, films[0], 5, review=None)
    first.withdraw(ann, films[-1])

    exported = first.exported(ann, kind)
    found = empty.imported(ann_there, exported)
    assert found["format"] == {"json": "starfold"}.get(kind, kind)
    assert found["rows"] == {"imported": 8} | ({"skipped": 1} if kind == "json" else {})
    again = empty.exported(ann_there, kind)
    if kind == "json":
        assert carried(again) == carried(exported)
        assert len(json.loads(exported)["ratings"][0]["history"]) == 2
    else:
        assert again == exported
    assert len(empty.ratings(ann_there)) == len({film["title"] for film in FILMS[:-1]})
    repeated = empty.imported(ann_there, exported)
    assert repeated["rows"].get("unchanged") == 8
