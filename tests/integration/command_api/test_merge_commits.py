"""Merges beside other commands.

A decision on a movie that took ratings does not outlive the movie's merge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from command_api.commit.pending_command import Answer, Outcome
from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.deciding.movie import MergeMovie
from command_api.deciding.principal import Console
from command_api.deciding.rating import WithdrawRating
from command_api.deciding.user import EraseUser
from command_api.store.commit_store import CommitStore
from shared.errors import Moved, NotFound
from shared.ids import MovieId, UserId, rating_stream_id
from shared.log.events import MovieAbsorbed, RatingMoved, RatingSubmitted, RatingWithdrawn
from tests.support.builders import (
    NOON,
    a_movie,
    a_rating,
    a_user,
    id_stream,
    later,
    merge_movie,
    move_rating,
)
from tests.support.commits import commit
from tests.support.log import Entry, assert_unbroken, read_log
from tests.support.system import System


class InterferingStore(CommitStore):
    """After its next load, somebody else commits."""

    interfere: Callable[[], object] | None = None

    async def load(self, wanted: LoadRequest) -> LoadResult:
        loaded = await super().load(wanted)
        if self.interfere is not None:
            interfere, self.interfere = self.interfere, None
            await asyncio.to_thread(interfere)
        return loaded


class Pair:
    """A user, and two movies that the user rated; `here` and `elsewhere` are two processes'."""

    def __init__(self, system: System) -> None:
        self.store = system.commit_store(InterferingStore)
        self.here, self.elsewhere = system.committer(self.store), system.committer()
        self.system = system
        user, *movies = commit(self.here, a_user(), a_movie(), a_movie())
        self.user_id = UserId(subject(user))
        self.old, self.new = (MovieId(subject(one)) for one in movies)
        commit(self.here, self.rating(self.old, 6), self.rating(self.new, 4, hours=-1))

    def rating(self, movie_id: MovieId, half_stars: int, hours: float = 0) -> Any:
        rating = a_rating(self.user_id, movie_id, half_stars)
        return type(rating)(**{**fields(rating), "rated_at": later(hours), "now": later(9)})

    def merge(self) -> MergeMovie:
        return merge_movie(movie_id=self.old, into=self.new, stream_of=id_stream)

    def merge_elsewhere(self) -> None:
        (answer,) = commit(self.elsewhere, self.merge())
        assert isinstance(answer, Outcome), answer

    def withdrawal(self, hours: float = 10) -> WithdrawRating:
        return WithdrawRating(
            user_id=self.user_id,
            movie_id=self.new,
            rating_stream=rating_stream_id(self.user_id, self.new),
            now=later(hours),
        )

    def move(self, times: int = 1) -> list[Answer]:
        moves = [move_rating(self.user_id, self.old, self.new)] * times
        return commit(self.here, *moves, principal=Console())

    def log(self) -> list[Entry]:
        log = read_log(self.system.event_store(), self.system.key_wrap())
        assert_unbroken(log)
        return log

    def last(self, movie_id: MovieId) -> object:
        stream_id = rating_stream_id(self.user_id, movie_id)
        return [entry.event for entry in self.log() if entry.stream_id == stream_id][-1]


def subject(answer: Answer) -> Any:
    assert isinstance(answer, Outcome), answer
    return answer.subject


def fields(command: Any) -> dict[str, Any]:
    return {name: getattr(command, name) for name in command.__struct_fields__}


@pytest.fixture
def pair(system: System) -> Pair:
    return Pair(system)


def test_a_process_that_knows_a_movie_refuses_ratings_once_it_is_merged_elsewhere(
    pair: Pair,
) -> None:
    """Also the same opinion again, which records nothing."""
    pair.merge_elsewhere()
    for half_stars in (6, 7):
        (answer,) = commit(pair.here, pair.rating(pair.old, half_stars, hours=1))
        assert isinstance(answer, Moved)
        assert answer.into == pair.new
    (answer,) = commit(pair.here, pair.rating(pair.new, 8, hours=1))
    assert isinstance(answer, Outcome)


def test_a_rating_that_was_decided_before_the_merge_is_not_appended_after_it(pair: Pair) -> None:
    pair.store.interfere = pair.merge_elsewhere
    (answer,) = commit(pair.here, pair.rating(pair.old, 7, hours=1))
    assert isinstance(answer, Moved)


def test_a_rating_of_the_same_batch_as_the_merge_has_moved(pair: Pair) -> None:
    before, merged, after = commit(
        pair.here,
        pair.rating(pair.old, 7, hours=1),
        pair.merge(),
        pair.rating(pair.old, 8, hours=2),
    )
    assert isinstance(before, Outcome)
    assert isinstance(merged, Outcome)
    assert isinstance(after, Moved)


def test_the_id_of_a_user_is_no_movie(pair: Pair) -> None:
    user = MovieId(pair.user_id)
    answers = commit(
        pair.here,
        pair.rating(user, 7),
        merge_movie(movie_id=pair.old, into=user),
        merge_movie(movie_id=user, into=pair.old),
    )
    assert [type(answer) for answer in answers] == [NotFound] * 3


def test_two_movies_are_not_merged_into_each_other(pair: Pair) -> None:
    pair.store.interfere = pair.merge_elsewhere
    (answer,) = commit(pair.here, merge_movie(movie_id=pair.new, into=pair.old))
    assert isinstance(answer, Moved)


def test_a_rating_moves_once_however_often_it_is_asked_for(pair: Pair) -> None:
    pair.merge_elsewhere()
    first, *others = [*pair.move(times=3), *pair.move()]
    assert isinstance(first, Outcome)
    assert [one.status for one in others if isinstance(one, Outcome)] == ["unchanged"] * 3
    events = [entry.event for entry in pair.log()]
    assert sum(isinstance(event, RatingMoved) for event in events) == 1
    given = pair.last(pair.new)
    assert isinstance(given, RatingSubmitted)
    assert (given.half_stars, given.rated_at, given.previous_half_stars) == (6, NOON, 4)


def test_a_rating_does_not_move_into_a_movie_that_was_merged_meanwhile(pair: Pair) -> None:
    (third,) = commit(pair.here, a_movie())
    pair.merge_elsewhere()
    further = merge_movie(movie_id=pair.new, into=MovieId(subject(third)))
    pair.store.interfere = lambda: commit(pair.elsewhere, further)
    (answer,) = pair.move()
    assert isinstance(answer, Moved)
    absorbed = [e.event.absorbed for e in pair.log() if isinstance(e.event, MovieAbsorbed)]
    assert absorbed == [(pair.old,), (pair.new, pair.old)]


def test_a_withdrawal_takes_back_what_is_still_to_move(pair: Pair) -> None:
    pair.merge_elsewhere()
    (withdrawn,) = commit(pair.here, pair.withdrawal())
    assert isinstance(withdrawn, Outcome)
    assert [getattr(answer, "status", None) for answer in pair.move()] == ["unchanged"]
    for movie_id in (pair.old, pair.new):
        assert isinstance(pair.last(movie_id), RatingWithdrawn)


def test_a_withdrawal_meets_a_rating_that_moves_meanwhile(pair: Pair) -> None:
    """It is loaded in two rounds; a rating between them would be seen on neither movie."""
    commit(pair.here, pair.withdrawal(hours=-0.5))
    pair.merge_elsewhere()
    moves = [move_rating(pair.user_id, pair.old, pair.new)]
    pair.store.interfere = lambda: commit(pair.elsewhere, *moves, principal=Console())
    (answer,) = commit(pair.here, pair.withdrawal())
    assert isinstance(answer, Outcome)
    assert isinstance(pair.last(pair.new), RatingWithdrawn)


def test_a_user_who_is_erased_meanwhile_keeps_no_words(pair: Pair) -> None:
    words = pair.rating(pair.old, 6, hours=1)
    commit(pair.here, type(words)(**{**fields(words), "review": "personal words"}))
    pair.merge_elsewhere()
    erase = EraseUser(user_id=pair.user_id, email_stream=None, now=NOON)
    pair.store.interfere = lambda: commit(pair.elsewhere, erase)
    (answer,) = pair.move()
    assert isinstance(answer, Outcome)
    moved = pair.last(pair.new)
    assert isinstance(moved, RatingSubmitted)
    assert (moved.half_stars, moved.review) == (6, None)
