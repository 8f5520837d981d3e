"""Live updates as server-sent events: what each connection is sent, and how many there may be.

A connection remembers only how far it is. When a movie of its own has changed, it is sent that
movie as it is by then, so that a slow client gets fewer and newer events and nothing piles up for
it; one that takes nothing at all is cut off by the server (`shared/web/protocol.py`).
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

from query_api.catalogue.changes import Changes
from query_api.catalogue.index_feed import IndexFeed
from query_api.read_limits import OpenPlaces
from shared.errors import Overloaded
from shared.ids import START, Position
from shared.web.problems import POSITION_HEADER

HEARTBEAT_S = 15.0
# When a client that was cut off comes back.
RETRY_MS = 2_000
# What is handed to the server at a time: some 50 KB.
EVENTS_A_CHUNK = 500
# Nothing is known after it: who resumes here is told to read anew.
BEFORE_ALL = Position(START - 1)

STREAMS = Gauge("starfold_streams", "Open streams of changes.")

_json = msgspec.json.Encoder().encode


class Wanted(NamedTuple):
    """What a client asks for: changes after a position, of some movies or of all (None)."""

    movies: frozenset[bytes] | None
    after: Position


class _Encoded(NamedTuple):
    """Events of all movies; connections that are equally far share them."""

    after: Position
    position: Position
    chunks: Sequence[bytes] | None


class Streams:
    """All connections of this process; they share the feed's reads of Redis."""

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
        """Taken by a connection while it is open; raises `Overloaded` when there is none, and
        `TooManyRequests` where its caller holds too many.
        """
        if self._open >= self._open_max:
            raise Overloaded(f"{self._open} streams are open already")
        with self._places.place():
            self._open += 1
            STREAMS.inc()
            try:
                yield
            finally:
                self._open -= 1
                STREAMS.dec()

    def end(self) -> None:
        """The server stops: every stream ends now, and its client will connect elsewhere."""
        if not self._ended:
            self._ended = True
            self._changes.wake_all()

    async def events(self, wanted: Wanted) -> AsyncIterator[bytes]:
        """The stream, in chunks of whole events. Ends when the server stops."""
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
                    await asyncio.sleep(0)  # Only then is it known that the client is slow.
                after = max(after, position)
                if not await _set_in_time(woken):
                    # With an id, so that a client whose movies rest does not fall behind.
                    yield format_sse_event(comment="still here", id=str(after))

    def _encoded(
        self, movies: frozenset[bytes] | None, after: Position, position: Position
    ) -> Sequence[bytes] | None:
        """What changed after a position, up to the feed's own; None if that is not known."""
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


class StreamResponse(EventSourceResponse):
    """Takes its place for as long as it is sent."""

    def __init__(self, streams: Streams, wanted: Wanted, position: Position) -> None:
        headers = {
            "Cache-Control": "no-cache",
            POSITION_HEADER: str(position),
            # Else proxies may hold back what is sent.
            "X-Accel-Buffering": "no",
        }
        super().__init__(streams.events(wanted), headers=headers)
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.place():
            await super().__call__(scope, receive, send)


async def _set_in_time(woken: asyncio.Event) -> bool:
    """Wait for it; False after `HEARTBEAT_S`."""
    try:
        async with asyncio.timeout(HEARTBEAT_S):
            await woken.wait()
    except TimeoutError:
        return False
    return True
