"""Genres, favourites, and the first and last rating, from a user's ratings and the index."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec

from query_api.catalogue.index import Index
from query_api.views.taste import FAVOURITES_MAX, GENRES_MAX, taste_of
from shared.ids import START, MovieId, Position, Version
from shared.read_model.documents import movie_document
from shared.read_model.ranks import rating_rank
from shared.read_model.statistics import BINS, statistics_of
from tests.support.builders import NOON, movie_fields

_json = msgspec.json.encode


def index_of(*genres: tuple[str, ...]) -> Index:
    """A movie of each, numbered from 1."""
    index = Index()
    for number, names in enumerate(genres, start=1):
        movie_id = MovieId(UUID(int=number))
        fields = movie_fields(genres=names)
        details = movie_document(movie_id, fields, NOON, Position(number), Version(1))
        index.put(movie_id.bytes, _json(details), _json(statistics_of((0,) * BINS, START)))
    return index


def taste(index: Index, *half_stars: int) -> dict[str, Any]:
    """Return the summary of a user who rated the movies in turn, an hour apart."""
    members = [
        (UUID(int=number).bytes, rating_rank(NOON + timedelta(hours=number), score))
        for number, score in enumerate(half_stars, start=1)
    ]
    found: dict[str, Any] = msgspec.json.decode(
        b"{" + taste_of(index.entries, members[::-1])[1:] + b"}"
    )
    return found


def test_genres_come_by_how_often_they_were_rated() -> None:
    index = index_of(("Crime", "Drama"), ("Drama",), ("War", "War"))
    shown = taste(index, 9, 4, 10)
    assert shown["genres"] == [
        {"genre": "Drama", "count": 2, "average": 3.25},
        {"genre": "Crime", "count": 1, "average": 4.5},
        {"genre": "War", "count": 1, "average": 5.0},
    ]
    assert (shown["first"]["score"], shown["last"]["score"]) == (4.5, 5.0)
    assert shown["last"]["movie_id"] == str(UUID(int=3))


def test_a_favourite_was_rated_often_enough_and_liked() -> None:
    genres = [("Crime",)] * 9 + [("Drama",)] * 4 + [("War",)] * 2 + [("Horror",)] * 3
    shown = taste(index_of(*genres), *[8] * 9, *[9] * 4, *[10] * 2, *[1] * 3)
    assert shown["favourite_genres"] == ["Drama", "Crime", "Horror"]


def test_who_rated_nothing_has_no_taste() -> None:
    assert taste(Index()) == {"genres": [], "favourite_genres": [], "first": None, "last": None}


def test_what_is_shown_has_a_limit() -> None:
    many = tuple(f"Genre {number}" for number in range(GENRES_MAX + 1))
    shown = taste(index_of(many, many, many), 5, 5, 5)
    assert len(shown["genres"]) == GENRES_MAX
    assert len(shown["favourite_genres"]) == FAVOURITES_MAX


def test_a_movie_that_is_not_in_the_index_yet_is_of_no_genre() -> None:
    shown = taste(index_of(("Drama",)), 6, 10)
    assert shown["genres"] == [{"genre": "Drama", "count": 1, "average": 3.0}]
    assert shown["last"]["score"] == 5.0
