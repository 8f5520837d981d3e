"""Live updates as server-sent events: the events of each connection, and their number.

A connection stores only its position. When one of its movies changes, it gets the movie's current
state, so that a slow client receives fewer and newer events and nothing accumulates for it; the
server closes a connection that takes no data at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

import msgspec
from fastapi.sse import EventSourceResponse, format_sse_event
from prometheus_client import Gauge
from starlette.types import Receive, Scope, Send

from query_api.feed.changes import Changes
from query_api.feed.index_feed import IndexFeed
from query_api.read_limits import OpenPlaces
from shared.errors import Overloaded
from shared.ids import START, Position
from shared.web.problems import POSITION_HEADER

HEARTBEAT_S = 15.0
# Delay before a disconnected client reconnects.
RETRY_MS = 2_000
# Events handed to the server at a time: about 50 KB.
EVENTS_A_CHUNK = 500
# No change is known after it: a client that resumes here gets a `reset`.
BEFORE_ALL = Position(START - 1)

STREAMS = Gauge("starfold_streams", "Open live-update connections.")

_json = msgspec.json.Encoder().encode


class Subscription(NamedTuple):
    """The changes that a client requests: after a position, of some movies or all (None)."""

    movies: frozenset[bytes] | None
    after: Position


class _Encoded(NamedTuple):
    """Encoded events of all movies, shared by the connections at the same position."""

    after: Position
    position: Position
    chunks: Sequence[bytes] | None


class LiveUpdates:
    """All live-update connections of this process; they share the feed's reads of Redis."""

    def __init__(
        self, feed: IndexFeed, changes: Changes, *, open_max: int, places: OpenPlaces
    ) -> None:
        self._feed = feed
        self._changes = changes
        self._open_max = open_max
        self._places = places
        self._open = 0
        self._ended = False
        self._of_all = _Encoded(START, START, ())

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while a connection is open.

        Raises `Overloaded` if no place is free, and `TooManyRequests` if the caller holds too many.
        """
        if self._open >= self._open_max:
            raise Overloaded(f"{self._open} live-update connections are open already")
        with self._places.place():
            self._open += 1
            STREAMS.inc()
            try:
                yield
            finally:
                self._open -= 1
                STREAMS.dec()

    def end(self) -> None:
        """End every connection, since the server stops; clients reconnect elsewhere."""
        if not self._ended:
            self._ended = True
            self._changes.wake_all()

    async def events(self, wanted: Subscription) -> AsyncIterator[bytes]:
        """Yield the events in chunks of whole events, until the server stops."""
        after = wanted.after
        yield format_sse_event(retry=RETRY_MS, id=None if after < START else str(after))
        with self._changes.watch(wanted.movies) as woken:
            while not self._ended:
                woken.clear()
                position = self._feed.position
                chunks = self._encoded(wanted.movies, after, position)
                if chunks is None:
                    chunks = [format_sse_event(event="reset", data_str="{}", id=str(position))]
                for chunk in chunks:
                    yield chunk
                    await asyncio.sleep(0)  # Let the server notice that a client is slow.
                after = max(after, position)
                if not await _set_in_time(woken):
                    # The id lets clients whose movies do not change keep up with the log.
                    yield format_sse_event(comment="still here", id=str(after))

    def _encoded(
        self, movies: frozenset[bytes] | None, after: Position, position: Position
    ) -> Sequence[bytes] | None:
        """Return the encoded changes after a position, up to the feed's; None if unknown."""
        if movies is not None:
            return self._chunks(movies, after)
        if (self._of_all.after, self._of_all.position) != (after, position):
            self._of_all = _Encoded(after, position, self._chunks(None, after))
        return self._of_all.chunks

    def _chunks(self, movies: frozenset[bytes] | None, after: Position) -> list[bytes] | None:
        changes = self._changes.after(after, movies)
        if changes is None:
            return None
        there = self._feed.require().entries
        events = [self._event(movie, at) for at, movie in changes if movie in there]
        return [
            b"".join(events[start : start + EVENTS_A_CHUNK])
            for start in range(0, len(events), EVENTS_A_CHUNK)
        ]

    def _event(self, movie: bytes, position: Position) -> bytes:
        ratings = self._feed.require().entries[movie].ratings
        shown = {
            "movie_id": UUID(bytes=movie),
            "count": ratings.count,
            "average": ratings.average,
        }
        return format_sse_event(data_str=_json(shown).decode(), id=str(position))


class LiveUpdatesResponse(EventSourceResponse):
    """Holds its place for as long as the response lasts."""

    def __init__(self, live_updates: LiveUpdates, wanted: Subscription, position: Position) -> None:
        headers = {
            "Cache-Control": "no-cache",
            POSITION_HEADER: str(position),
            # Proxies may buffer the events otherwise.
            "X-Accel-Buffering": "no",
        }
        super().__init__(live_updates.events(wanted), headers=headers)
        self._live_updates = live_updates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._live_updates.place():
            await super().__call__(scope, receive, send)


async def _set_in_time(woken: asyncio.Event) -> bool:
    """Wait for the event; return False after `HEARTBEAT_S`."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await woken.wait()
    except TimeoutError:
        return False
    return True
