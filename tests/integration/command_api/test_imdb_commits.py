"""IMDb ids under races: at each moment at most one movie has one."""

from __future__ import annotations

import asyncio

import pytest

from command_api.commit.committer import REFUSALS_MAX
from command_api.commit.pending_command import Outcome
from command_api.deciding.movie import CreateMovie
from shared.errors import (
    Conflict,
)
from shared.ids import StreamId
from shared.log.events import (
    ImdbIdReleased,
    ImdbIdReserved,
    MovieDetailsChanged,
)
from tests.support.builders import (
    a_movie,
    an_imdb_change,
    movie_details_changed,
    movie_fields,
)
from tests.support.commits import commit, pending
from tests.support.log import append_raw
from tests.support.scenarios.commit_scenario import InterferingStore, Rated
from tests.support.system import System

COMMITTERS = 4
COMMANDS_EACH = 32


@pytest.fixture
def rated(system: System) -> Rated:
    return Rated(system)


def test_a_movie_changes_its_imdb_id_in_one_append(rated: Rated) -> None:
    movie = a_movie("tt1")
    commit(rated.committer, movie)
    commit(rated.committer, an_imdb_change(movie, "tt2"))
    taking, giving_up, changing = (entry.event for entry in rated.log()[-3:])
    assert taking == ImdbIdReserved(movie_id=movie.movie_id)
    assert giving_up == ImdbIdReleased(movie_id=movie.movie_id)
    assert isinstance(changing, MovieDetailsChanged)
    assert rated.owners("tt1") == [None, movie.movie_id, None]
    assert rated.owners("tt2") == [None, movie.movie_id]
    rated.assert_unbroken()


def test_an_imdb_id_is_given_up_and_taken_within_one_batch(rated: Rated) -> None:
    """Also one that was taken in the same batch, and is in no stream that was loaded."""
    first, second = a_movie("tt1"), a_movie("tt9")
    commit(rated.committer, second)
    answers = commit(
        rated.committer,
        first,
        an_imdb_change(second, "tt1"),
        an_imdb_change(first, "tt2"),
        an_imdb_change(second, "tt1"),
        an_imdb_change(first, "tt9"),
        an_imdb_change(second, "tt2"),
    )
    assert [isinstance(answer, Conflict) for answer in answers] == [False, True] + [False] * 4
    one, two = first.movie_id, second.movie_id
    assert rated.owners("tt1") == [None, one, None, two, None]
    assert rated.owners("tt2") == [None, one, None, two]
    assert rated.owners("tt9") == [None, two, None, one]
    rated.assert_unbroken()


@pytest.mark.parametrize("times", [1, 2, 5])
def test_an_imdb_id_that_a_movie_gets_meanwhile_is_the_one_given_up(
    rated: Rated, times: int
) -> None:
    """Between the loads of a change, the first of the movie and the second of its IMDb id, too."""
    store = rated.system.commit_store(InterferingStore)
    movie = a_movie("tt0")
    commit(rated.committer, movie)
    ids = (f"tt{n}" for n in range(1, 10))
    store.interfere = lambda: commit(rated.committer, an_imdb_change(movie, next(ids)))
    store.times = times
    (answer,) = commit(rated.system.committer(store), an_imdb_change(movie, None))
    assert isinstance(answer, Outcome)
    # Two loads an attempt, and the append lock keeps the others away after the last refusal.
    others = min(times, 2 * REFUSALS_MAX)
    for n in range(others + 1):
        assert rated.owners(f"tt{n}") == [None, movie.movie_id, None]
    rated.assert_unbroken()


def test_an_imdb_id_given_up_before_there_was_a_release_can_be_taken_back_and_given_up(
    rated: Rated,
) -> None:
    """Its movie still has the reservation: it was changed by an earlier release."""
    movie, other = a_movie("tt1"), a_movie()
    commit(rated.committer, movie, other)
    changed = movie_details_changed(
        movie_id=movie.movie_id, details=movie_fields(imdb_id=None, year=1980)
    )
    append_raw(rated.system, changed, stream_id=StreamId(movie.movie_id), version=2)
    (taken,) = commit(rated.committer, an_imdb_change(other, "tt1"))
    assert isinstance(taken, Conflict)
    answers = commit(
        rated.committer,
        an_imdb_change(movie, "tt1"),
        an_imdb_change(movie, None),
        an_imdb_change(other, "tt1"),
    )
    assert all(isinstance(answer, Outcome) for answer in answers)
    assert rated.owners("tt1") == [None, movie.movie_id, None, other.movie_id]


def test_takers_and_givers_of_one_imdb_id_never_both_have_it(rated: Rated) -> None:
    movies = [a_movie() for _ in range(COMMITTERS)]
    commit(rated.committer, *movies)

    async def take_and_give_up(movie: CreateMovie) -> int:
        committer = rated.system.committer()
        taken = 0
        for _ in range(COMMANDS_EACH // 2):
            for imdb_id in ("tt1", None):
                (answer,) = await committer.commit([pending(an_imdb_change(movie, imdb_id))])
                assert isinstance(answer, Outcome | Conflict)
                taken += imdb_id is not None and isinstance(answer, Outcome)
        return taken

    async def run() -> int:
        return sum(await asyncio.gather(*map(take_and_give_up, movies)))

    taken = asyncio.run(run())
    owners = rated.owners("tt1")
    assert len(owners) == 1 + 2 * taken
    assert owners[-1] is None
    rated.assert_unbroken()
