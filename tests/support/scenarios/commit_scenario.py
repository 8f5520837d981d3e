"""A rated movie to commit to, and a store in which somebody else always commits first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from command_api.commit.pending_command import Outcome
from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.store.commit_store import CommitStore
from shared.ids import MovieId, UserId
from shared.log.events import (
    ImdbIdReleased,
    ImdbIdReserved,
    RatingSubmitted,
)
from tests.support.builders import (
    a_movie,
    a_rating,
    a_user,
    id_stream,
)
from tests.support.commits import commit
from tests.support.log import Entry, assert_unbroken, read_log
from tests.support.system import System


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
                case ImdbIdReserved() if entry.stream_id == id_stream("imdb_id", imdb_id):
                    assert owners[-1] is None
                    owners.append(entry.event.movie_id)
                case ImdbIdReleased() if entry.stream_id == id_stream("imdb_id", imdb_id):
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
