"""Live updates of movies' ratings, as server-sent events."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

from query_api.feed.index_feed import IndexFeed
from query_api.http.parameters import After, MovieIds, movie_ids
from query_api.http.shapes import STREAM
from query_api.redis_reads.freshness import Freshness
from query_api.views.live_updates import BEFORE_ALL, LiveUpdates, LiveUpdatesResponse, Subscription
from shared.errors import InvalidInput, ProjectionBehind
from shared.ids import START, Position
from shared.web.answer import Answer, AnswerKind
from shared.web.operation import Header, Parameters, Request, operation
from shared.web.parameter_types import whole
from shared.web.problems import POSITION_HEADER


class LiveUpdatesRead(Parameters):
    movies: MovieIds = None
    after: After = None
    last_event_id: Annotated[
        str | None,
        Header("Last-Event-ID"),
        Field(
            description="The last event's id, which takes precedence over `after`",
            json_schema_extra={"pattern": "^[0-9]{1,19}$"},
        ),
    ] = None


class _Current(NamedTuple):
    position: Position


class Live:
    def __init__(self, live_updates: LiveUpdates, feed: IndexFeed, freshness: Freshness) -> None:
        self._live_updates = live_updates
        self._feed = feed
        self._freshness = freshness

    @operation(
        "GET",
        "/v1/stream",
        tag="stream",
        access="anyone",
        parameters=LiveUpdatesRead,
        answers={
            200: AnswerKind(
                "Events for as long as the connection lasts",
                headers=(POSITION_HEADER, "Cache-Control"),
                example=STREAM,
                media_type="text/event-stream",
            )
        },
    )
    async def stream(self, request: Request[LiveUpdatesRead, None]) -> Answer:
        """Send a movie's count and average whenever they change, with the log position as event id.

        An event shows the movie's current state: several changes may arrive as one event. `reset`
        means that the changes since the given id are no longer known: read again what you show, and
        continue. Events do not say who rated. To start from a page, pass its `Starfold-Position` as
        `after`.
        """
        asked = request.parameters
        chosen = (
            None
            if asked.movies is None
            else frozenset(movie_ids(asked.movies, pointer="/query/movies"))
        )
        resumed = asked.after if asked.last_event_id is None else _position(asked.last_event_id)
        current = await self._current(Position(resumed or START))
        if resumed is None:
            begin = current
        else:
            begin = Position(resumed) if resumed <= current else BEFORE_ALL
        return Answer(
            200,
            [],
            stream=LiveUpdatesResponse(self._live_updates, Subscription(chosen, begin), current),
        )

    async def _current(self, wanted: Position) -> Position:
        """Return the position of the index, waiting for `wanted` up to the usual limit.

        A position that is never reached belongs to another log: a backup was restored.
        """

        async def read() -> _Current:
            self._feed.require(wanted)
            return _Current(self._feed.position)

        try:
            return (await self._freshness.at_least(wanted, read)).position
        except ProjectionBehind:
            return self._feed.position


def _position(last_event_id: str) -> int:
    position = whole(last_event_id)
    if position is None:
        raise InvalidInput("the id is not one of this API", pointer="/header/last-event-id")
    return position
