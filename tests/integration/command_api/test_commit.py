"""Group commit under races, refusals and lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from command_api.commit import committer as commit_module
from command_api.commit.committer import REFUSALS_MAX
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import Anyone, Member
from command_api.deciding.user import ChangeRole, EraseUser
from command_api.store.append import Append
from command_api.store.commit_store import CommitStore
from command_api.store.server import Server
from shared.errors import (
    AppendOutcomeUnknown,
    Conflict,
    Forbidden,
    NotFound,
    StoreAway,
    Unavailable,
)
from shared.ids import Position, StreamId
from shared.log.schema import COMMAND_ROLE
from tests.support.builders import (
    NOON,
    a_movie,
    a_rating,
    a_sign_up,
    a_user,
)
from tests.support.commits import commit, pending
from tests.support.faults.lossy_store import LossyStore
from tests.support.scenarios.commit_scenario import InterferingStore, Rated
from tests.support.system import System

COMMITTERS = 4
COMMANDS_EACH = 32


class LosingLock(InterferingStore):
    """Loses the connection under the append lock, before or after what is committed there."""

    after_commit = False

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[None]:
        async with super().holding_append_lock():
            yield
            if not self.after_commit:
                raise StoreAway("the connection was lost")
        raise StoreAway("the connection was lost")


@pytest.fixture
def rated(system: System) -> Rated:
    return Rated(system)


def test_commands_of_one_batch_see_each_other(rated: Rated) -> None:
    answers = commit(rated.committer, rated.rating(6), rated.rating(10), rated.rating(10))
    assert [a.status for a in answers if isinstance(a, Outcome)] == [
        "created",
        "changed",
        "unchanged",
    ]
    rated.assert_unbroken()
    assert len(rated.recorded()) == 2


@pytest.mark.parametrize("times", [1, 2, 5])
def test_a_refused_batch_is_decided_again_as_a_whole(rated: Rated, times: int) -> None:
    """After two refusals it runs under the append lock, where nobody interferes any more."""
    store = rated.system.commit_store(InterferingStore)
    scores = iter(range(1, 10))
    store.interfere = lambda: commit(rated.committer, rated.rating(next(scores)))
    store.times = times
    other = a_user()
    answers = commit(rated.system.committer(store), rated.rating(10), other, rated.rating(9))
    assert store.times == max(0, times - REFUSALS_MAX), "there is no end to optimism"
    assert all(isinstance(answer, Outcome) for answer in answers)
    rated.assert_unbroken()
    assert rated.recorded()[-1].half_stars == 9


def test_a_user_erased_meanwhile_cannot_rate(rated: Rated) -> None:
    """What can be revoked is guarded: the rating was decided while the user still was there."""
    store = rated.system.commit_store(InterferingStore)
    erase = EraseUser(user_id=rated.user_id, email_stream=None, now=NOON)
    store.interfere = lambda: commit(rated.committer, erase)
    store.times = 1
    (answer,) = commit(rated.system.committer(store), rated.rating(8))
    assert isinstance(answer, NotFound)
    assert rated.recorded() == []


def test_a_curator_demoted_meanwhile_makes_no_movie(rated: Rated) -> None:
    """So is a role: it was decided while the caller still had it."""
    store = rated.system.commit_store(InterferingStore)
    commit(rated.committer, ChangeRole(user_id=rated.user_id, role="curator", now=NOON))
    demote = ChangeRole(user_id=rated.user_id, role="member", now=NOON)
    store.interfere = lambda: commit(rated.committer, demote)
    store.times = 1
    (answer,) = commit(rated.system.committer(store), a_movie(), principal=Member(rated.user_id))
    assert isinstance(answer, Forbidden)


def test_an_address_reserved_meanwhile_is_taken(rated: Rated) -> None:
    """The neighbour of the one who came too late is committed."""
    store = rated.system.commit_store(InterferingStore)
    email_stream = StreamId(uuid4())
    first, late = a_sign_up(email_stream), a_sign_up(email_stream)
    store.interfere = lambda: commit(rated.committer, first, principal=Anyone())
    store.times = 1
    taken, movie = commit(rated.system.committer(store), late, a_movie())
    assert isinstance(taken, Conflict)
    assert isinstance(movie, Outcome)


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_lost_connection_records_each_command_once(rated: Rated, *, after_commit: bool) -> None:
    store = rated.system.commit_store(LossyStore)
    store.after_commit = after_commit
    (answer,) = commit(rated.system.committer(store), rated.rating(8))
    assert isinstance(answer, Outcome)
    assert answer.position == rated.store.head()
    assert [event.half_stars for event in rated.recorded()] == [8]


@pytest.mark.parametrize("after_commit", [True, False])
def test_a_connection_lost_under_the_lock_records_each_command_once(
    rated: Rated, *, after_commit: bool
) -> None:
    """The lock is gone with the connection; the events go in if they still can."""

    store = rated.system.commit_store(LosingLock)
    store.after_commit = after_commit
    scores = iter(range(1, 10))
    store.interfere = lambda: commit(rated.committer, rated.rating(next(scores)))
    store.times = REFUSALS_MAX
    (answer,) = commit(rated.system.committer(store), rated.rating(10))
    assert isinstance(answer, Outcome)
    assert answer.position == rated.store.head()
    assert [event.half_stars for event in rated.recorded()] == [1, 2, 10]
    rated.assert_unbroken()


def test_what_others_append_after_a_connection_was_lost_under_the_lock_is_decided_on(
    rated: Rated,
) -> None:
    class OvertakenLock(LosingLock):
        @asynccontextmanager
        async def holding_append_lock(self) -> AsyncIterator[None]:
            try:
                async with super().holding_append_lock():
                    yield
            except StoreAway:
                await asyncio.to_thread(commit, rated.committer, rated.rating(9))
                raise

    store = rated.system.commit_store(OvertakenLock)
    scores = iter(range(1, 9))
    store.interfere = lambda: commit(rated.committer, rated.rating(next(scores)))
    store.times = REFUSALS_MAX
    (answer,) = commit(rated.system.committer(store), rated.rating(10))
    assert isinstance(answer, Outcome)
    assert [event.half_stars for event in rated.recorded()] == [1, 2, 9, 10]
    rated.assert_unbroken()


def test_after_a_lost_append_what_others_appended_meanwhile_is_decided_on(rated: Rated) -> None:
    """At its place stands an event of another id: the batch was never committed."""

    class Overtaken(LossyStore):
        async def append(self, append: Append) -> Position:
            try:
                return await super().append(append)
            except StoreAway:
                await asyncio.to_thread(commit, rated.committer, rated.rating(3))
                raise

    store = rated.system.commit_store(Overtaken)
    store.after_commit = False
    (answer,) = commit(rated.system.committer(store), rated.rating(8))
    assert isinstance(answer, Outcome)
    assert [event.half_stars for event in rated.recorded()] == [3, 8]
    rated.assert_unbroken()


def test_a_server_that_stays_away_leaves_the_outcome_unknown(
    rated: Rated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commit_module, "RESOLVE_FOR_S", 0.2)
    store = rated.system.commit_store(LossyStore)
    store.after_commit = False
    store.times = 1_000
    (answer,) = commit(rated.system.committer(store), rated.rating(8))
    assert isinstance(answer, AppendOutcomeUnknown)


def test_without_a_server_nothing_was_sent(rated: Rated) -> None:
    store = CommitStore(Server("host=/nonexistent dbname=none", schema="none"))
    (answer,) = commit(rated.system.committer(store), rated.rating(8))
    assert isinstance(answer, Unavailable)


def test_a_connection_that_the_server_ended_meanwhile_is_made_anew(rated: Rated) -> None:
    """Nobody notices: an idle connection has nothing on its way."""
    ended = rated.system.owner().execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND usename LIKE %s AND pid <> pg_backend_pid()",
        [f"%{COMMAND_ROLE}%"],
    )
    assert ended.fetchall()
    (answer,) = commit(rated.committer, rated.rating(8))
    assert isinstance(answer, Outcome)


def test_one_commands_fault_is_no_neighbours(rated: Rated) -> None:
    """A score that the codec cannot store: it fails alone, and the others are committed."""
    broken = a_rating(rated.user_id, rated.movie_id, 2**70)
    with capture_logs() as lines:
        user, fault, movie = commit(rated.committer, a_user(), broken, a_movie())
    assert isinstance(user, Outcome)
    assert isinstance(fault, OverflowError)
    assert isinstance(movie, Outcome)
    (line,) = [one for one in lines if one["event"] == "command_failed"]
    assert UUID(line["request_id"])


def test_four_committers_on_one_hot_rating_lose_nothing(rated: Rated) -> None:
    async def submit_all(number: int) -> int:
        committer = rated.system.committer()
        recorded = 0
        for n in range(COMMANDS_EACH):
            (answer,) = await committer.commit([pending(rated.rating((n + number) % 10 + 1))])
            assert isinstance(answer, Outcome)
            recorded += answer.status != "unchanged"
        return recorded

    async def run() -> int:
        return sum(await asyncio.gather(*map(submit_all, range(COMMITTERS))))

    recorded = asyncio.run(run())
    assert len(rated.recorded()) == recorded
    rated.assert_unbroken()
