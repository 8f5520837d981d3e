"""Group commit under races, refusals and lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest

from command_api.commit import committer as commit_module
from command_api.commit.committer import REFUSALS_MAX
from command_api.commit.pending_command import Outcome
from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.deciding.movie import CreateMovie
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
from shared.ids import MovieId, Position, StreamId, UserId
from shared.log.events import (
    ImdbIdReleased,
    ImdbIdReserved,
    MovieDetailsChanged,
    RatingSubmitted,
)
from shared.log.schema import COMMAND_ROLE
from tests.support.builders import (
    NOON,
    a_movie,
    a_rating,
    a_sign_up,
    a_user,
    an_imdb_change,
    imdb_stream,
    movie_details_changed,
    movie_fields,
)
from tests.support.commits import commit, pending
from tests.support.log import Entry, append_raw, assert_unbroken, read_log
from tests.support.lossy_store import LossyStore
from tests.support.system import System

COMMITTERS = 4
COMMANDS_EACH = 32


class InterferingStore(CommitStore):
    """After each of the first loads that hold no lock, somebody else commits."""

    interfere: Callable[[], object]
    times = 0
    holds_lock = False

    async def load(self, wanted: LoadRequest) -> LoadResult:
        loaded = await super().load(wanted)
        if not self.holds_lock and self.times > 0:
            self.times -= 1
            await asyncio.to_thread(self.interfere)
        return loaded

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[None]:
        async with super().holding_append_lock():
            self.holds_lock = True
            yield


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


class Rated:
    """A user, a movie, and a committer of one's own."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.store = system.event_store()
        self.committer = system.committer()
        user, movie = commit(self.committer, a_user(), a_movie())
        assert isinstance(user, Outcome)
        assert isinstance(movie, Outcome)
        self.user_id, self.movie_id = UserId(user.subject), MovieId(movie.subject)

    def rating(self, half_stars: int) -> Any:
        return a_rating(self.user_id, self.movie_id, half_stars)

    def owners(self, imdb_id: str) -> list[UUID | None]:
        """The movies that had an IMDb id one after another, None while it was free.

        Fails if one took it from another, or gave up what it did not have.
        """
        owners: list[UUID | None] = [None]
        for entry in self.log():
            match entry.event:
                case ImdbIdReserved() if entry.stream_id == imdb_stream(imdb_id):
                    assert owners[-1] is None
                    owners.append(entry.event.movie_id)
                case ImdbIdReleased() if entry.stream_id == imdb_stream(imdb_id):
                    assert owners[-1] == entry.event.movie_id
                    owners.append(None)
                case _:
                    pass
        return owners

    def recorded(self) -> list[RatingSubmitted]:
        events = [entry.event for entry in self.log()]
        return [event for event in events if isinstance(event, RatingSubmitted)]

    def assert_unbroken(self) -> None:
        assert_unbroken(self.log())

    def log(self) -> list[Entry]:
        return read_log(self.store, self.system.key_wrap())


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
    user, fault, movie = commit(rated.committer, a_user(), broken, a_movie())
    assert isinstance(user, Outcome)
    assert isinstance(fault, OverflowError)
    assert isinstance(movie, Outcome)


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
