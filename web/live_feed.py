"""One stream of the query API for all visitors of this process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from uuid import UUID

import structlog

from starfold_client import AsyncStarfold
from starfold_client.answers import LiveReset, LiveUpdate, Movie
from starfold_client.errors import ClientError, TooManyRequests

SILENCE_MAX_S = 15.0
# Streams of one address: each open page of a browser has one.
LISTENERS_PER_ADDRESS_MAX = 100
# Films that streams read at once, so that they leave connections and time to the pages.
READS_AT_ONCE_MAX = 4

log = structlog.get_logger()


class Listener:
    """A visitor's films; only the newest update of each waits to be sent."""

    def __init__(self, movies: Iterable[UUID]) -> None:
        self.movies = frozenset(movies)
        self._pending: dict[UUID, LiveUpdate] = {}
        self._woken = asyncio.Event()
        self._has_ended = False

    def take(self, update: LiveUpdate) -> None:
        if update.movie_id in self.movies:
            self._pending[update.movie_id] = update
            self._woken.set()

    def end(self) -> None:
        self._has_ended = True
        self._woken.set()

    async def updates(self) -> AsyncGenerator[LiveUpdate | None, None]:
        """Yield updates until the feed ends, and the browser connects again; None after a silence.

        What is then sent keeps proxies from closing the connection.
        """
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(SILENCE_MAX_S):
                    await self._woken.wait()
            if not self._woken.is_set():
                yield None
            self._woken.clear()
            pending, self._pending = self._pending, {}
            for update in pending.values():
                yield update
            if self._has_ended:
                return


class ShownMovie:
    """The newest state of a film that its listeners have read; one of them reads at a time."""

    def __init__(self) -> None:
        self.reading = asyncio.Lock()
        self.movie: Movie | None = None

    @property
    def position(self) -> int:
        return max(self.movie.position, self.movie.ratings.position) if self.movie else 0


class LiveFeed:
    """Follows all films while somebody listens.

    An update that is newer than the start of `listening` reaches the listener.
    """

    def __init__(self, client: AsyncStarfold) -> None:
        self._client = client
        self._listeners: set[Listener] = set()
        self._addresses: Counter[str] = Counter()
        self._shown: dict[UUID, ShownMovie] = {}
        self._reads = asyncio.Semaphore(READS_AT_ONCE_MAX)
        self._following: asyncio.Task[None] | None = None
        self._started: asyncio.Future[None] | None = None

    def require_place(self, address: str) -> None:
        """Raise `TooManyRequests` if an address has all the streams that it may have."""
        if self._addresses[address] >= LISTENERS_PER_ADDRESS_MAX:
            raise TooManyRequests("too-many-requests", 429)

    @asynccontextmanager
    async def listening(self, movies: Iterable[UUID], address: str) -> AsyncIterator[Listener]:
        """Raise a `ClientError` if the query API does not answer, or there is no place any more.

        Requests that came at the same time have all found a place.
        """
        self.require_place(address)
        listener = Listener(movies)
        self._listeners.add(listener)
        self._addresses[address] += 1
        try:
            if self._following is None or self._started is None:
                self._started = asyncio.get_running_loop().create_future()
                self._following = asyncio.create_task(self._follow(self._started))
            await asyncio.shield(self._started)
            yield listener
        finally:
            self._listeners.discard(listener)
            self._addresses[address] -= 1
            self._addresses += Counter()  # Forgets addresses without a stream.
            for movie_id in self._shown.keys() & listener.movies:
                if not any(movie_id in other.movies for other in self._listeners):
                    del self._shown[movie_id]
            if not self._listeners:
                self._stop()

    async def movie(self, client: AsyncStarfold, movie_id: UUID, position: int) -> Movie:
        """Return a film as of a position or later: its listeners share the reads.

        Raises the `ClientError` of a read.
        """
        shown = self._shown.setdefault(movie_id, ShownMovie())
        async with shown.reading:
            if shown.movie is None or shown.position < position:
                client.caller.note(position)
                async with self._reads:
                    shown.movie = await client.get_movie(movie_id)
            return shown.movie

    def end(self) -> None:
        """End every listener; the process stops."""
        for listener in self._listeners:
            listener.end()

    async def _follow(self, started: asyncio.Future[None]) -> None:
        try:
            position = (await self._client.query_ready()).index_position
            started.set_result(None)
            async with aclosing(self._client.stream(after=position)) as updates:
                async for update in updates:
                    if isinstance(update, LiveReset):
                        break  # Listeners read again when they come back.
                    for listener in self._listeners:
                        listener.take(update)
        except ClientError as error:
            log.warning("live_feed_lost", reason=str(error))
            if not started.done():
                started.set_exception(error)
        finally:
            if not started.done():
                started.cancel()
            with suppress(asyncio.InvalidStateError, asyncio.CancelledError):
                started.exception()
            # Else another feed has begun, whose listeners it serves.
            if self._started is started:
                self._following = self._started = None
                self.end()

    def _stop(self) -> None:
        if self._following is not None:
            self._following.cancel()
            self._following = self._started = None
