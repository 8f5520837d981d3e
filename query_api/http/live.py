"""Live updates of movies' ratings, as server-sent events."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from pydantic import Field

from query_api.catalogue.index_feed import IndexFeed
from query_api.http.parameters import After, movie_ids, whole
from query_api.http.shapes import STREAM
from query_api.redis_reads.freshness import Freshness
from query_api.views.live_updates import BEFORE_ALL, StreamResponse, Streams, Wanted
from shared.errors import InvalidInput, ProjectionBehind
from shared.ids import START, Position
from shared.web.answer import Answer, AnswerKind
from shared.web.operation import Header, Parameters, Request, operation
from shared.web.problems import POSITION_HEADER

MOVIES_MAX = 100
MOVIES_CHARS_MAX = 37 * MOVIES_MAX


class StreamRead(Parameters):
    movies: Annotated[
        str | None,
        Field(
            max_length=MOVIES_CHARS_MAX,
            description=f"Ids of up to {MOVIES_MAX} movies, separated by commas; left out, all",
        ),
    ] = None
    after: After = None
    last_event_id: Annotated[
        str | None,
        Header("Last-Event-ID"),
        Field(
            description="The last event's id, which goes before `after`",
            json_schema_extra={"pattern": "^[0-9]{1,19}$"},
        ),
    ] = None


class _Current(NamedTuple):
    position: Position


class Live:
    def __init__(self, streams: Streams, feed: IndexFeed, freshness: Freshness) -> None:
        self._streams = streams
        self._feed = feed
        self._freshness = freshness

    @operation(
        "GET",
        "/v1/stream",
        tag="stream",
        access="anyone",
        parameters=StreamRead,
        answers={
            200: AnswerKind(
                "Events for as long as the connection lasts",
                headers=(POSITION_HEADER, "Cache-Control"),
                example=STREAM,
                media_type="text/event-stream",
            )
        },
    )
    async def stream(self, request: Request[StreamRead, None]) -> Answer:
        """A movie's count and average whenever it has changed, with the log position as the id.

        An event states the movie as it is by then: several changes may come as one. `reset` says
        that what happened since the id is not known any more: read again what is shown, and go on.
        Nothing says who rated. To begin where a page was read, give its `Starfold-Position` as
        `after`.
        """
        asked = request.parameters
        chosen = None if asked.movies is None else movie_ids(asked.movies, ids_max=MOVIES_MAX)
        resumed = asked.after if asked.last_event_id is None else _position(asked.last_event_id)
        current = await self._current(Position(resumed or START))
        if resumed is None:
            begin = current
        else:
            begin = Position(resumed) if resumed <= current else BEFORE_ALL
        return Answer(200, [], stream=StreamResponse(self._streams, Wanted(chosen, begin), current))

    async def _current(self, wanted: Position) -> Position:
        """The position of the index, once it is the wanted one; else soon enough, as it is.

        A position that is not reached is of another log: a backup was restored.
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
        raise InvalidInput("the id is not one that this API gave", pointer="/header/last-event-id")
    return position
