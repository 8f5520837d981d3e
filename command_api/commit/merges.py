"""Moves the ratings of merged movies, one command each, until none stands on any.

Nothing is remembered that the log does not say: a crash, or another process at the same work, makes
some commands find nothing to move. A merged movie takes no ratings any more, so that one walk over
all users who had signed up by then meets every rating.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

import structlog

from command_api.commit.dispatcher import Dispatcher
from command_api.commit.pending_command import Answer
from command_api.deciding.load_result import LoadRequest
from command_api.deciding.movie import CompleteMerge
from command_api.deciding.principal import Console
from command_api.deciding.rating import MoveRating
from command_api.deciding.use_cases import Command
from command_api.store.store import Store
from command_api.store.subjects import subject_pages
from shared.errors import Moved
from shared.ids import CLOSURES, NO_VERSION, MovieId, StreamId, UserId, new_uuid7, rating_stream_id
from shared.log.codec import Codec
from shared.log.events import MovieClosed, MovieMergeCompleted, MovieMerged, RatingSubmitted
from shared.log.stored_row import StoredRow
from shared.process.clock import utc_now
from shared.process.tasks import TaskHealth, Tasks

# What another process has left unfinished is looked for this often.
EVERY_S = 60.0
CLOSURES_A_PAGE = 1_000

_RATED = RatingSubmitted.__name__

_CLOSED = (
    b"SELECT originator_version, topic, state FROM events"
    b" WHERE originator_id = %s AND originator_version > %s ORDER BY originator_version LIMIT %s"
)

log = structlog.get_logger()


class Merges:
    """Works through the merges of the log, at start, when `hurry` is called, and now and then."""

    def __init__(self, store: Store, dispatcher: Dispatcher, codec: Codec) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._codec = codec
        self._merged = asyncio.Event()
        self._seen = NO_VERSION
        # Closed movies that were not known to be without ratings when last looked at.
        self._open: dict[MovieId, None] = {}

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        health = tasks.health("merges", stale_after_s=3 * EVERY_S, needed=False)
        return tasks.start(health, partial(self._step, health))

    def hurry(self) -> None:
        """A movie has just been merged."""
        self._merged.set()

    async def _step(self, health: TaskHealth) -> None:
        self._merged.clear()
        await self._look()
        for movie_id in list(self._open):
            await self._complete(movie_id, health)
            del self._open[movie_id]
        health.succeeded()
        try:
            async with asyncio.timeout(EVERY_S):
                await self._merged.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """Note the movies that were closed since the last time."""
        while True:
            wanted = [CLOSURES, self._seen, CLOSURES_A_PAGE]
            page = await self._store.rows(_CLOSED, wanted)
            for version, topic, state in page:
                event = self._codec.decode(topic, state, {}).event
                assert isinstance(event, MovieClosed)
                self._open[event.movie_id] = None
                self._seen = version
            if len(page) < CLOSURES_A_PAGE:
                return

    async def _complete(self, movie_id: MovieId, health: TaskHealth) -> None:
        """Move every rating of a movie, if it is merged and that is not done."""
        row = await self._last(StreamId(movie_id))
        if row is None or row.topic != MovieMerged.__name__:
            return
        moved = 0
        async for page in subject_pages(self._store, "UserCreated"):
            users = [UserId(stream_id) for _, stream_id in page]
            moved += await self._move(movie_id, users)
            health.succeeded()
        await self._committed([CompleteMerge(movie_id=movie_id, now=utc_now())])
        log.info("merge_completed", movie_id=str(movie_id), ratings=moved)

    async def _move(self, movie_id: MovieId, users: Sequence[UserId]) -> int:
        """Move the ratings of some users; returns how many stood."""
        streams = {rating_stream_id(user_id, movie_id): user_id for user_id in users}
        while True:
            found = (await self._store.load(LoadRequest(latest=list(streams)))).streams
            rated = [one for one, rows in found.items() if rows[-1].topic == _RATED]
            if not rated:
                return 0
            into = await self._staying(movie_id)
            answers = await self._committed(
                [
                    MoveRating(
                        user_id=streams[stream_id],
                        movie_id=movie_id,
                        into=into,
                        rating_stream=stream_id,
                        into_stream=rating_stream_id(streams[stream_id], into),
                        now=utc_now(),
                    )
                    for stream_id in rated
                ]
            )
            if not any(isinstance(answer, Moved) for answer in answers):
                return len(rated)

    async def _staying(self, movie_id: MovieId) -> MovieId:
        """The last movie of the chain that a merged one begins."""
        while (row := await self._last(StreamId(movie_id))) is not None:
            event = self._codec.decode(row.topic, row.state, {}).event
            if not isinstance(event, MovieMerged | MovieMergeCompleted):
                break
            movie_id = event.into
        return movie_id

    async def _committed(self, commands: Sequence[Command]) -> list[Answer]:
        """Commit commands; raises what is wrong, but for a movie that was merged meanwhile."""
        answers = await self._dispatcher.dispatch_bulk(commands, Console(), request_id=new_uuid7())
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, Moved):
                raise answer
        return answers

    async def _last(self, stream_id: StreamId) -> StoredRow | None:
        rows = (await self._store.load(LoadRequest(latest=[stream_id]))).streams.get(stream_id)
        return rows[-1] if rows else None
