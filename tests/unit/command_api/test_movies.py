"""The rules of a movie."""

from __future__ import annotations

from shared.errors import NotFound, StaleVersion
from shared.versions import condition_of
from tests.support.builders import (
    change_movie,
    create_movie,
    movie_created,
    movie_details_changed,
    movie_fields,
)
from tests.support.decider_scenario import given


def test_a_movie_is_created_once() -> None:
    given().when(create_movie()).then(movie_created())
    given(movie_created()).when(create_movie()).then_nothing()


def test_a_change_holds_all_details() -> None:
    given(movie_created()).when(change_movie(changes={"genres": ("Drama",)})).then(
        movie_details_changed(details=movie_fields(genres=("Drama",)))
    )


def test_a_change_of_nothing_records_nothing() -> None:
    given(movie_created()).when(change_movie(changes={"year": 1979})).then_nothing()


def test_a_change_to_an_older_version_is_stale() -> None:
    history = (movie_created(), movie_details_changed(details=movie_fields(year=1981)))
    given(*history).when(change_movie()).then_refused(StaleVersion, "version 2")
    given(*history).when(change_movie(condition=condition_of('"2"'))).then(
        movie_details_changed(details=movie_fields(year=1980))
    )


def test_a_movie_that_is_not_there_cannot_change() -> None:
    given().when(change_movie()).then_refused(NotFound)
