"""The rules of a movie."""

from __future__ import annotations

import pytest

from command_api.deciding.movie import CompleteMerge, Movie
from shared.errors import InvalidInput, Moved, NotFound, StaleVersion
from shared.log.events import Event, MovieMergeCompleted
from shared.versions import condition_of
from tests.support.builders import (
    NOON,
    SOLARIS,
    STALKER,
    change_movie,
    create_movie,
    imdb_stream,
    merge_movie,
    movie_created,
    movie_details_changed,
    movie_fields,
    movie_merged,
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


@pytest.mark.parametrize(
    ("current", "changes", "given_up"),
    [
        ("tt1", {"imdb_id": "tt2"}, "tt1"),
        ("tt1", {"imdb_id": None}, "tt1"),
        ("tt1", {"imdb_id": "tt1"}, None),
        ("tt1", {"year": 1980}, None),
        (None, {"imdb_id": "tt2"}, None),
    ],
)
def test_an_imdb_id_is_given_up_by_another_one_or_none(
    current: str | None, changes: dict[str, object], given_up: str | None
) -> None:
    standing = Movie(details=movie_fields(imdb_id=current))
    stream = None if given_up is None else imdb_stream(given_up)
    assert change_movie(changes=changes).stream_given_up(standing) == stream


def test_a_movie_that_is_not_there_gives_up_nothing() -> None:
    assert change_movie(changes={"imdb_id": None}).stream_given_up(Movie()) is None


COMPLETED = MovieMergeCompleted(movie_id=STALKER, into=SOLARIS, completed_at=NOON)


class TestMerging:
    def test_a_movie_is_merged_once(self) -> None:
        given(movie_created()).when(merge_movie()).then(movie_merged())
        given(movie_created(), movie_merged()).when(merge_movie()).then_nothing()

    def test_a_movie_that_is_not_there_is_not_merged_and_none_into_itself(self) -> None:
        given().when(merge_movie()).then_refused(NotFound)
        given(movie_created()).when(merge_movie(into=STALKER)).then_refused(InvalidInput)

    @pytest.mark.parametrize(
        "command",
        [create_movie(), change_movie(), merge_movie(into=STALKER)],
        ids=["create", "change", "merge"],
    )
    @pytest.mark.parametrize("merged", [[movie_merged()], [movie_merged(), COMPLETED]], ids=len)
    def test_a_merged_movie_has_moved(self, command: object, merged: list[Event]) -> None:
        given(movie_created(), *merged).when(command).then_refused(Moved, str(SOLARIS))

    def test_a_merge_is_completed_once(self) -> None:
        command = CompleteMerge(movie_id=STALKER, now=NOON)
        given(movie_created(), movie_merged()).when(command).then(COMPLETED)
        given(movie_created(), movie_merged(), COMPLETED).when(command).then_nothing()
        given(movie_created()).when(command).then_nothing()

    def test_its_imdb_id_is_given_up(self) -> None:
        assert merge_movie().stream_given_up(Movie()) is None
        movie = Movie(details=movie_fields(imdb_id="tt1"))
        assert merge_movie().stream_given_up(movie) == imdb_stream("tt1")
