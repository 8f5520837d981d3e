"""Live updates of movies' ratings, as server-sent events."""

from __future__ import annotations

from typing import Annotated, NamedTuple
from uuid import UUID

from fastapi import APIRouter, Header, Query, Response

from query_api.caller_route import CallerRoute
from query_api.freshness import POSITION_MAX
from query_api.routes.answers import PROBLEMS
from query_api.routes.examples import STREAM
from query_api.streams import BEFORE_ALL, StreamResponse, Wanted
from query_api.wiring import Wired, Wiring
from shared.errors import InvalidInput, ProjectionBehind
from shared.ids import START, Position

MOVIES_MAX = 100
MOVIES_CHARS_MAX = 37 * MOVIES_MAX
DIGITS_MAX = 19

router = APIRouter(
    prefix="/v1/stream", tags=["stream"], responses=PROBLEMS, route_class=CallerRoute
)


class _Standing(NamedTuple):
    position: Position


@router.get(
    "",
    responses={
        200: {
            "description": "Events for as long as the connection lasts",
            "content": {"text/event-stream": {"schema": {"type": "string"}, "example": STREAM}},
        }
    },
    response_class=Response,
)
async def stream(
    wiring: Wired,
    movies: Annotated[
        str | None,
        Query(
            max_length=MOVIES_CHARS_MAX,
            description=f"Ids of up to {MOVIES_MAX} movies, separated by commas; left out, all",
        ),
    ] = None,
    after: Annotated[
        int | None,
        Query(ge=0, le=POSITION_MAX, description="A position to go on from; left out, now"),
    ] = None,
    last_event_id: Annotated[
        str | None, Header(description="The last event's id, which goes before `after`")
    ] = None,
) -> Response:
    """A movie's count and average whenever it has changed, with the log position as the id.

    An event states the movie as it is by then: several changes may come as one. `reset` says that
    what happened since the id is not known any more: read again what is shown, and go on. Nothing
    says who rated. To begin where a page was read, give its `Starfold-Position` as `after`.
    """
    chosen = None if movies is None else _movie_ids(movies)
    resumed = after if last_event_id is None else _position(last_event_id)
    standing = await _standing(wiring, Position(resumed or START))
    if resumed is None:
        begin = standing
    else:
        begin = Position(resumed) if resumed <= standing else BEFORE_ALL
    return StreamResponse(wiring.streams, Wanted(chosen, begin), standing)


async def _standing(wiring: Wiring, wanted: Position) -> Position:
    """The position of the index, once it is the wanted one; else soon enough, as it is.

    A position that is not reached is of another log: a backup was restored.
    """

    async def read() -> _Standing:
        wiring.feed.require(wanted)
        return _Standing(wiring.feed.position)

    try:
        return (await wiring.freshness.at_least(wanted, read)).position
    except ProjectionBehind:
        return wiring.feed.position


def _position(last_event_id: str) -> int:
    if not (last_event_id.isascii() and last_event_id.isdigit()) or len(last_event_id) > DIGITS_MAX:
        raise InvalidInput("the id is not one that this API gave", pointer="/header/last-event-id")
    return int(last_event_id)


def _movie_ids(movies: str) -> frozenset[bytes]:
    try:
        ids = frozenset(UUID(one.strip()).bytes for one in movies.split(","))
    except ValueError as error:
        raise InvalidInput(
            "these are not ids separated by commas", pointer="/query/movies"
        ) from error
    if len(ids) > MOVIES_MAX:
        raise InvalidInput(f"{len(ids)} movies are more than {MOVIES_MAX}", pointer="/query/movies")
    return ids
