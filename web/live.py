"""Live numbers: the process's one feed, passed on to the browsers of its visitors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import UUID

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from pages.application import Site
from pages.sessions import Visitor
from shared.web.addresses import address_of
from starfold_client.answers import ListedMovie, Movie
from starfold_client.errors import ClientError, InvalidInput
from web.drawing import spoken_average
from web.live_feed import LiveFeed

MOVIES_MAX = 100
# The least time between two updates of a film's page; the newest one is sent after it.
MOVIE_EVERY_S = 0.25
SILENCE = b":\n\n"
HEADERS = {"X-Accel-Buffering": "no"}


class LivePages:
    """Streams of server-sent events, each of which begins with the current state."""

    def __init__(self, site: Site, feed: LiveFeed) -> None:
        self._site = site
        self._feed = feed

    def routes(self) -> Sequence[Route]:
        page = self._site.page
        return [
            page("/live", self.list_updates),
            page("/movies/{movie_id:uuid}/live", self.movie_updates),
        ]

    async def list_updates(self, request: Request, visitor: Visitor) -> Response:
        """Stream count and average of the films of a list."""
        try:
            movies = [UUID(one) for one in request.query_params.get("movies", "").split(",")]
        except ValueError:
            movies = []
        if not 1 <= len(movies) <= MOVIES_MAX:
            raise InvalidInput("invalid-input", 422, detail="Name one to 100 films by their ids.")
        address = self._placed(request)
        return _stream(self._list(visitor, movies, address))

    async def movie_updates(self, request: Request, visitor: Visitor) -> Response:
        """Stream everything that a film's page shows of its ratings."""
        address = self._placed(request)
        return _stream(self._movie(visitor, request.path_params["movie_id"], address))

    def _placed(self, request: Request) -> str:
        """Return the address of a request, which has a place for another stream."""
        address = address_of(request.scope)
        self._feed.require_place(address)
        return address

    async def _list(
        self, visitor: Visitor, movies: list[UUID], address: str
    ) -> AsyncIterator[bytes]:
        async with self._feed.listening(movies, address) as listener:
            for movie in await visitor.client.get_movies(movies):
                if isinstance(movie, ListedMovie):
                    ratings = movie.ratings
                    yield _listed(movie.movie_id, ratings.count, ratings.average)
            async with aclosing(listener.updates()) as updates:
                async for update in updates:
                    if update is None:
                        yield SILENCE
                    else:
                        yield _listed(update.movie_id, update.count, update.average)

    async def _movie(self, visitor: Visitor, movie_id: UUID, address: str) -> AsyncIterator[bytes]:
        async with self._feed.listening([movie_id], address) as listener:
            yield _shown(await visitor.client.get_movie(movie_id))
            async with aclosing(listener.updates()) as updates:
                async for update in updates:
                    if update is None:
                        yield SILENCE
                        continue
                    yield _shown(await self._feed.movie(visitor.client, movie_id, update.position))
                    await asyncio.sleep(MOVIE_EVERY_S)


def _stream(events: AsyncIterator[bytes]) -> StreamingResponse:
    return StreamingResponse(_until_failure(events), 200, HEADERS, "text/event-stream")


async def _until_failure(events: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Pass events on, and end where the API does: the browser connects again."""
    yield b"retry: 3000\n: open\n\n"
    try:
        async for event in events:
            yield event
    except ClientError:
        return


def _listed(movie_id: UUID, count: int, average: float | None) -> bytes:
    values = {"movie_id": movie_id, "count": count, "average": spoken_average(average)}
    return _event("update", values)


def _shown(movie: Movie) -> bytes:
    ratings = movie.ratings
    values = {
        "count": ratings.count,
        "average": spoken_average(ratings.average),
        "weighted": spoken_average(ratings.weighted_average),
        "median": spoken_average(ratings.median),
        "histogram": ratings.histogram,
    }
    return _event("update", values)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
