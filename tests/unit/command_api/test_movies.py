"""The rules of a movie."""

from __future__ import annotations

import pytest

from command_api.deciding.movie import (
    CompleteMerge,
    EndWithdrawal,
    Movie,
    StartWithdrawal,
    evolve,
    require_open,
)
from shared.errors import Conflict, Gone, InvalidInput, Moved, NotFound, StaleVersion
from shared.log.events import (
    Event,
    MovieMergeCompleted,
    MovieReopened,
    MovieWithdrawalStarted,
    MovieWithdrawn,
)
from shared.versions import condition_of
from tests.support.builders import (
    NOON,
    SOLARIS,
    STALKER,
    change_movie,
    create_movie,
    id_stream,
    merge_movie,
    movie_created,
    movie_details_changed,
    movie_fields,
    movie_merged,
)
from tests.support.scenarios.decider_scenario import given


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
        ("tt1", {"tmdb_id": 2}, None),
    ],
)
def test_an_imdb_id_is_given_up_by_another_one_or_none(
    current: str | None, changes: dict[str, object], given_up: str | None
) -> None:
    standing = Movie(details=movie_fields(imdb_id=current))
    streams = {} if given_up is None else {"imdb_id": id_stream("imdb_id", given_up)}
    assert change_movie(changes=changes).streams_given_up(standing) == streams


def test_a_movie_that_is_not_there_gives_up_nothing() -> None:
    assert change_movie(changes={"imdb_id": None}).streams_given_up(Movie()) == {}


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

    def test_its_ids_in_other_catalogues_are_given_up(self) -> None:
        assert merge_movie().streams_given_up(Movie()) == {}
        movie = Movie(details=movie_fields(imdb_id="tt1", tmdb_id=7))
        assert merge_movie().streams_given_up(movie) == {
            "imdb_id": id_stream("imdb_id", "tt1"),
            "tmdb_id": id_stream("tmdb_id", 7),
        }


STARTED = MovieWithdrawalStarted(movie_id=STALKER, started_at=NOON)
WITHDRAWN = MovieWithdrawn(movie_id=STALKER, withdrawn_at=NOON)
REOPENED = MovieReopened(movie_id=STALKER, details=movie_fields(), reopened_at=NOON)


def start(condition: str | None = None) -> StartWithdrawal:
    stated = None if condition is None else condition_of(condition)
    return StartWithdrawal(movie_id=STALKER, condition=stated, now=NOON)


def end(*, rated: bool) -> EndWithdrawal:
    return EndWithdrawal(movie_id=STALKER, rated=rated, stream_of=id_stream, now=NOON)


class TestWithdrawing:
    def test_a_movie_without_ratings_is_withdrawn_once(self) -> None:
        given(movie_created()).when(start()).then(STARTED)
        given(movie_created(), STARTED).when(start()).then_nothing()
        given(movie_created(), STARTED).when(end(rated=False)).then(WITHDRAWN)
        given(movie_created(), STARTED, WITHDRAWN).when(start()).then_nothing()
        given(movie_created(), STARTED, WITHDRAWN).when(end(rated=False)).then_nothing()

    def test_a_movie_with_ratings_is_reopened_as_it_was(self) -> None:
        given(movie_created(), STARTED).when(end(rated=True)).then(REOPENED)
        reopened = (movie_created(), STARTED, REOPENED)
        given(*reopened).when(end(rated=True)).then_nothing()
        given(*reopened).when(change_movie(condition=condition_of('"3"'))).then(
            movie_details_changed(details=movie_fields(year=1980))
        )

    def test_only_an_existing_movie_that_is_as_stated_is_withdrawn(self) -> None:
        given().when(start()).then_refused(NotFound)
        given(movie_created(), movie_merged()).when(start()).then_refused(Moved)
        history = (movie_created(), movie_details_changed(details=movie_fields(year=1981)))
        given(*history).when(start('"1"')).then_refused(StaleVersion, "version 2")
        given(*history).when(start('"2"')).then(STARTED)

    @pytest.mark.parametrize(
        "command",
        [create_movie(), change_movie(), merge_movie()],
        ids=["create", "change", "merge"],
    )
    def test_nothing_else_is_done_to_it(self, command: object) -> None:
        given(movie_created(), STARTED).when(command).then_refused(Conflict, "being withdrawn")
        given(movie_created(), STARTED, WITHDRAWN).when(command).then_refused(Gone)

    def test_its_last_event_is_enough_to_say_whether_it_takes_ratings(self) -> None:
        for last, error in ((STARTED, Conflict), (WITHDRAWN, Gone)):
            with pytest.raises(error):
                require_open(evolve(Movie(), last), STALKER)
        require_open(evolve(Movie(), REOPENED), STALKER)
