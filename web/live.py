"""Live numbers: the query API's stream, passed on to the visitor's browser."""

from __future__ import annotations

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
from starfold_client.answers import LiveReset
from starfold_client.errors import ClientError, InvalidInput
from web.drawing import spoken_average

MOVIES_MAX = 100
HEADERS = {"X-Accel-Buffering": "no"}


class LivePages:
    """Streams of server-sent events."""

    def __init__(self, site: Site) -> None:
        self._site = site

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
        return _stream(self._list(visitor, movies))

    async def movie_updates(self, request: Request, visitor: Visitor) -> Response:
        """Stream everything that a film's page shows of its ratings."""
        return _stream(self._movie(visitor, request.path_params["movie_id"]))

    async def _list(self, visitor: Visitor, movies: list[UUID]) -> AsyncIterator[bytes]:
        async with aclosing(visitor.client.stream(movies)) as updates:
            async for update in updates:
                if isinstance(update, LiveReset):
                    yield _event("reset", {})
                else:
                    yield _event(
                        "update",
                        {
                            "movie_id": update.movie_id,
                            "count": update.count,
                            "average": spoken_average(update.average),
                        },
                    )

    async def _movie(self, visitor: Visitor, movie_id: UUID) -> AsyncIterator[bytes]:
        async with aclosing(visitor.client.stream([movie_id])) as updates:
            async for update in updates:
                client = self._site.client.for_caller(position=update.position)
                movie = await client.get_movie(movie_id)
                ratings = movie.ratings
                yield _event(
                    "update",
                    {
                        "count": ratings.count,
                        "average": spoken_average(ratings.average),
                        "weighted": spoken_average(ratings.weighted_average),
                        "median": spoken_average(ratings.median),
                        "histogram": ratings.histogram,
                    },
                )


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


def _event(name: str, data: dict[str, Any]) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), msgspec.json.encode(data))
