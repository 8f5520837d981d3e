"""Group commit under races, refusals and lost connections."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import OperationalError

from command_api import commit as commit_module
from command_api.commit import REFUSALS_MAX, Committer
from command_api.deciders.user import ChangeRole, EraseUser
from command_api.pending import Outcome
from command_api.principal import Anyone, Member
from shared.errors import AppendOutcomeUnknown, Conflict, Forbidden, NotFound, Unavailable
from shared.event_store import Append, EventStore, Loaded
from shared.events import RatingSubmitted
from shared.ids import MovieId, Position, StreamId, UserId
from tests.commands import NOW, a_movie, a_rating, a_sign_up, a_user, commit, pending
from tests.log import Entry, assert_unbroken, read_log
from tests.system import System

COMMITTERS = 4
COMMANDS_EACH = 32


class InterferingStore(EventStore):
    """After each of the first loads that hold no lock, somebody else commits."""

    interfere: Callable[[], object]
    times = 0

    def load(self, *, connection: psycopg.Connection[Any] | None = None, **wanted: Any) -> Loaded:
        loaded = super().load(connection=connection, **wanted)
        if connection is None and self.times > 0:
            self.times -= 1
            self.interfere()
        return loaded


class LosingStore(EventStore):
    """Loses the connection at the first appends, before or after they were committed."""

    after_commit = True
    times = 1

    def append(self, append: Append, connection: psycopg.Connection[Any] | None = None) -> Position:
        if self.times == 0:
            return super().append(append, connection)
        self.times -= 1
        if self.after_commit:
            super().append(append, connection)
        raise OperationalError("the connection was lost")


class Rated:
    """A user, a movie, and a committer of one's own."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.store = system.event_store()
        self.committer = self.committer_on(self.store)
        user, movie = commit(self.committer, a_user(), a_movie())
        assert isinstance(user, Outcome)
        assert isinstance(movie, Outcome)
        self.user_id, self.movie_id = UserId(user.subject), MovieId(movie.subject)

    def committer_on(self, store: EventStore) -> Committer:
        return Committer(store, self.system.codec(), self.system.key_wrap())

    def rating(self, half_stars: int) -> Any:
        return a_rating(self.user_id, self.movie_id, half_stars)

    def recorded(self) -> list[RatingSubmitted]:
        events = [entry.event for entry in self._log()]
        return [event for event in events if isinstance(event, RatingSubmitted)]

    def assert_unbroken(self) -> None:
        assert_unbroken(self._log())

    def _log(self) -> list[Entry]:
        return read_log(self.store, self.system.key_wrap())


@pytest.fixture
def rated(system: System) -> Rated:
    return Rated(system)


def test_commands_of_one_batch_see_each_other(rated: Rated) -> None:
    answers = commit(rated.committer, rated.rating(6), rated.rating(10), rated.rating(10))
    assert [a.status for a in answers if isinstance(a, Outcome)] == [
        *("created", "changed", "unchanged")
    ]
    rated.assert_unbroken()
    assert len(rated.recorded()) == 2


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_refused_batch_is_decided_again_as_a_whole(rated: Rated, times: int) -> None:
    """After two refusals it runs under the append lock, where nobody interferes any more."""
    store = InterferingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    scores = iter(range(1, 10))
    store.interfere = lambda: commit(rated.committer, rated.rating(next(scores)))
    store.times = times
    other = a_user()
    answers = commit(rated.committer_on(store), rated.rating(10), other, rated.rating(9))
    store.close()
    assert store.times == max(0, times - REFUSALS_MAX), "there is no end to optimism"
    assert all(isinstance(answer, Outcome) for answer in answers)
    rated.assert_unbroken()
    assert rated.recorded()[-1].half_stars == 9


def test_a_user_erased_meanwhile_cannot_rate(rated: Rated) -> None:
    """What can be revoked is guarded: the rating was decided while the user still was there."""
    store = InterferingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    erase = EraseUser(user_id=rated.user_id, email_stream=None, now=NOW)
    store.interfere = lambda: commit(rated.committer, erase)
    store.times = 1
    (answer,) = commit(rated.committer_on(store), rated.rating(8))
    store.close()
    assert isinstance(answer, NotFound)
    assert rated.recorded() == []


def test_a_curator_demoted_meanwhile_makes_no_movie(rated: Rated) -> None:
    """So is a role: it was decided while the caller still had it."""
    store = InterferingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    commit(rated.committer, ChangeRole(user_id=rated.user_id, role="curator", now=NOW))
    demote = ChangeRole(user_id=rated.user_id, role="member", now=NOW)
    store.interfere = lambda: commit(rated.committer, demote)
    store.times = 1
    (answer,) = commit(rated.committer_on(store), a_movie(), principal=Member(rated.user_id))
    store.close()
    assert isinstance(answer, Forbidden)


def test_an_address_reserved_meanwhile_is_taken(rated: Rated) -> None:
    """The neighbour of the one who came too late is committed."""
    store = InterferingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    email_stream = StreamId(uuid4())
    first, late = a_sign_up(email_stream), a_sign_up(email_stream)
    store.interfere = lambda: commit(rated.committer, first, principal=Anyone())
    store.times = 1
    taken, movie = commit(rated.committer_on(store), late, a_movie())
    store.close()
    assert isinstance(taken, Conflict)
    assert isinstance(movie, Outcome)


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_lost_connection_records_each_command_once(rated: Rated, *, after_commit: bool) -> None:
    store = LosingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    store.after_commit = after_commit
    (answer,) = commit(rated.committer_on(store), rated.rating(8))
    assert isinstance(answer, Outcome)
    assert answer.position == store.head()
    store.close()
    assert [event.half_stars for event in rated.recorded()] == [8]


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_connection_lost_under_the_lock_records_each_command_once(
    rated: Rated, *, after_commit: bool
) -> None:
    """The lock is gone with the connection; the events go in if they still can."""

    class LosingLock(InterferingStore):
        @contextmanager
        def holding_append_lock(self) -> Iterator[psycopg.Connection[Any]]:
            with super().holding_append_lock() as connection:
                yield connection
                if not after_commit:
                    raise OperationalError("the connection was lost")
            raise OperationalError("the connection was lost")

    store = LosingLock(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    scores = iter(range(1, 10))
    store.interfere = lambda: commit(rated.committer, rated.rating(next(scores)))
    store.times = REFUSALS_MAX
    (answer,) = commit(rated.committer_on(store), rated.rating(10))
    assert isinstance(answer, Outcome)
    assert answer.position == store.head()
    store.close()
    assert [event.half_stars for event in rated.recorded()] == [1, 2, 10]
    rated.assert_unbroken()


def test_after_a_lost_append_what_others_appended_meanwhile_is_decided_on(rated: Rated) -> None:
    """At its place stands an event of another id: the batch was never committed."""

    class Overtaken(LosingStore):
        def append(
            self, append: Append, connection: psycopg.Connection[Any] | None = None
        ) -> Position:
            try:
                return super().append(append, connection)
            except OperationalError:
                commit(rated.committer, rated.rating(3))
                raise

    store = Overtaken(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    store.after_commit = False
    (answer,) = commit(rated.committer_on(store), rated.rating(8))
    store.close()
    assert isinstance(answer, Outcome)
    assert [event.half_stars for event in rated.recorded()] == [3, 8]
    rated.assert_unbroken()


def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    rated: Rated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "RESOLVE_FOR_S", 0.2)
    store = LosingStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
    store.after_commit = False
    store.times = 1_000
    (answer,) = commit(rated.committer_on(store), rated.rating(8))
    store.close()
    assert isinstance(answer, AppendOutcomeUnknown)


def test_without_a_server_nothing_was_sent(rated: Rated) -> None:
    store = EventStore("host=/nonexistent dbname=none", schema="none")
    store.datastore.pool.timeout = 0.1
    (answer,) = commit(rated.committer_on(store), rated.rating(8))
    store.close()
    assert isinstance(answer, Unavailable)


def test_one_commands_fault_is_no_neighbours(rated: Rated) -> None:
    """A score that the codec cannot store: it fails alone, and the others are committed."""
    broken = a_rating(rated.user_id, rated.movie_id, 2**70)
    user, fault, movie = commit(rated.committer, a_user(), broken, a_movie())
    assert isinstance(user, Outcome)
    assert isinstance(fault, OverflowError)
    assert isinstance(movie, Outcome)


def test_four_committers_on_one_hot_rating_lose_nothing(rated: Rated) -> None:
    def submit_all(number: int) -> int:
        store = EventStore(rated.system.dsn("starfold_command"), schema=rated.system.schema)
        committer = rated.committer_on(store)
        recorded = 0
        for n in range(COMMANDS_EACH):
            (answer,) = committer.commit([pending(rated.rating((n + number) % 10 + 1))])
            assert isinstance(answer, Outcome)
            recorded += answer.status != "unchanged"
        store.close()
        return recorded

    with ThreadPoolExecutor(COMMITTERS) as pool:
        recorded = sum(pool.map(submit_all, range(COMMITTERS)))
    assert len(rated.recorded()) == recorded
    rated.assert_unbroken()
