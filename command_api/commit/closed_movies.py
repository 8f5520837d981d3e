"""Finish the merges and withdrawals that curators have started.

The log alone says what remains to be done: after a crash, or while another process does the same
work, some commands find nothing to change. A closed movie takes no ratings, so one pass over all
users who had signed up by then finds every rating.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import structlog

from command_api.commit.dispatcher import Dispatcher
from command_api.commit.pending_command import Answer, Outcome
from command_api.deciding.load_result import LoadRequest
from command_api.deciding.movie import CompleteMerge, EndWithdrawal, StreamOf
from command_api.deciding.principal import Console
from command_api.deciding.rating import MoveRating
from command_api.deciding.use_cases import Command
from command_api.store.store import Store
from command_api.store.subjects import subject_pages
from shared.errors import Conflict, Moved
from shared.ids import CLOSURES, NO_VERSION, MovieId, StreamId, UserId, new_uuid7, rating_stream_id
from shared.log.codec import Codec
from shared.log.events import (
    MovieClosed,
    MovieMergeCompleted,
    MovieMerged,
    MovieWithdrawalStarted,
    MovieWithdrawn,
    RatingSubmitted,
)
from shared.log.stored_row import StoredRow
from shared.process.clock import utc_now
from shared.process.tasks import TaskHealth, Tasks

# How often to look for work that another process has left unfinished.
EVERY_S = 60.0
CLOSURES_A_PAGE = 1_000

_RATED = RatingSubmitted.__name__

_CLOSED = (
    b"SELECT originator_version, topic, state FROM events"
    b" WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version LIMIT %s"
)

log = structlog.get_logger()


class ClosedMovies:
    """Works through the closed movies of the log: at start, after `hurry`, and once a minute."""

    def __init__(
        self, store: Store, dispatcher: Dispatcher, codec: Codec, stream_of: StreamOf
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._codec = codec
        self._stream_of = stream_of
        self._closed = asyncio.Event()
        self._seen = NO_VERSION
        self._unfinished: dict[MovieId, None] = {}

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        health = tasks.health("closed_movies", stale_after_s=3 * EVERY_S, needed=False)
        return tasks.start(health, partial(self._step, health))

    def hurry(self) -> None:
        """Look at once: a movie has just been merged."""
        self._closed.set()

    async def is_rated(self, movie_id: MovieId) -> bool:
        """Whether the movie has ratings; reads the last event of one stream for each user."""
        row = await self._last(StreamId(movie_id))
        if row is None or row.topic == MovieWithdrawn.__name__:
            return False
        async for page in subject_pages(self._store, "UserCreated"):
            users = [UserId(stream_id) for _, stream_id in page]
            if await self._rated(movie_id, users):
                return True
        return False

    async def end_withdrawal(self, movie_id: MovieId) -> Outcome:
        """Withdraw a closed movie, or reopen it and raise `Conflict` if it has ratings."""
        command = EndWithdrawal(
            movie_id=movie_id,
            rated=await self.is_rated(movie_id),
            stream_of=self._stream_of,
            now=utc_now(),
        )
        outcome = await self._dispatcher.dispatch(command, Console(), request_id=new_uuid7())
        if command.rated:
            raise rated(movie_id)
        return outcome

    async def _step(self, health: TaskHealth) -> None:
        self._closed.clear()
        await self._look()
        for movie_id in list(self._unfinished):
            await self._finish(movie_id, health)
            del self._unfinished[movie_id]
        health.succeeded()
        try:
            async with asyncio.timeout(EVERY_S):
                await self._closed.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Collect the movies that were closed since the last look."""
        while True:
            wanted = [CLOSURES, self._seen, CLOSURES_A_PAGE]
            page = await self._store.rows(_CLOSED, wanted)
            for version, topic, state in page:
                event = self._codec.decode(topic, state, {}).event
                assert isinstance(event, MovieClosed)
                self._unfinished[event.movie_id] = None
                self._seen = version
            if len(page) < CLOSURES_A_PAGE:
                return

    async def _finish(self, movie_id: MovieId, health: TaskHealth) -> None:
        row = await self._last(StreamId(movie_id))
        if row is None:
            return
        if row.topic == MovieMerged.__name__:
            await self._complete_merge(movie_id, health)
        elif row.topic == MovieWithdrawalStarted.__name__:
            with suppress(Conflict):  # The movie was reopened.
                await self.end_withdrawal(movie_id)

    async def _complete_merge(self, movie_id: MovieId, health: TaskHealth) -> None:
        """Move every rating of a merged movie."""
        moved = 0
        async for page in subject_pages(self._store, "UserCreated"):
            users = [UserId(stream_id) for _, stream_id in page]
            moved += await self._move(movie_id, users)
            health.succeeded()
        await self._committed([CompleteMerge(movie_id=movie_id, now=utc_now())])
        log.info("merge_completed", movie_id=str(movie_id), ratings=moved)

    async def _move(self, movie_id: MovieId, users: Sequence[UserId]) -> int:
        """Move the ratings of some users, and return their number."""
        while True:
            rated = await self._rated(movie_id, users)
            if not rated:
                return 0
            into = await self._remaining_movie(movie_id)
            answers = await self._committed(
                [
                    MoveRating(
                        user_id=user_id,
                        movie_id=movie_id,
                        into=into,
                        rating_stream=rating_stream_id(user_id, movie_id),
                        into_stream=rating_stream_id(user_id, into),
                        now=utc_now(),
                    )
                    for user_id in rated
                ]
            )
            if not any(isinstance(answer, Moved) for answer in answers):
                return len(rated)

    async def _rated(self, movie_id: MovieId, users: Sequence[UserId]) -> list[UserId]:
        """Return the users who have a rating of the movie."""
        streams = {rating_stream_id(user_id, movie_id): user_id for user_id in users}
        found = (await self._store.load(LoadRequest(latest=list(streams)))).streams
        return [streams[one] for one, rows in found.items() if rows[-1].topic == _RATED]

    async def _remaining_movie(self, movie_id: MovieId) -> MovieId:
        """Return the last movie in the chain of merges that starts with a merged movie."""
        while (row := await self._last(StreamId(movie_id))) is not None:
            event = self._codec.decode(row.topic, row.state, {}).event
            if not isinstance(event, MovieMerged | MovieMergeCompleted):
                break
            movie_id = event.into
        return movie_id

    async def _committed(self, commands: Sequence[Command]) -> list[Answer]:
        """Commit commands; raise any error except for a movie that was merged meanwhile."""
        answers = await self._dispatcher.dispatch_bulk(commands, Console(), request_id=new_uuid7())
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, Moved):
                raise answer
        return answers

    async def _last(self, stream_id: StreamId) -> StoredRow | None:
        rows = (await self._store.load(LoadRequest(latest=[stream_id]))).streams.get(stream_id)
        return rows[-1] if rows else None


def rated(movie_id: MovieId) -> Conflict:
    """Return the error of withdrawing a movie that has ratings."""
    return Conflict(f"movie {movie_id} has ratings: merge it into another one instead")
