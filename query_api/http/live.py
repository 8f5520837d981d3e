"""Live updates of movies' ratings, as server-sent events."""

from __future__ import annotations

from typing import Annotated, NamedTuple

from fastapi import APIRouter, Header, Query, Response

from query_api.http.caller_route import CallerRoute
from query_api.http.dependencies import Wired, Wiring
from query_api.http.examples import STREAM
from query_api.http.parameters import After, movie_ids, whole
from query_api.http.responses import CALLER_PROBLEMS, PROBLEMS
from query_api.views.live_updates import BEFORE_ALL, StreamResponse, Wanted
from shared.errors import InvalidInput, ProjectionBehind
from shared.ids import START, Position

MOVIES_MAX = 100
MOVIES_CHARS_MAX = 37 * MOVIES_MAX

router = APIRouter(
    prefix="/v1/stream",
    tags=["stream"],
    responses=PROBLEMS | CALLER_PROBLEMS,
    route_class=CallerRoute,
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
    after: After = None,
    last_event_id: Annotated[
        str | None, Header(description="The last event's id, which goes before `after`")
    ] = None,
) -> Response:
    """A movie's count and average whenever it has changed, with the log position as the id.

    An event states the movie as it is by then: several changes may come as one. `reset` says that
    what happened since the id is not known any more: read again what is shown, and go on. Nothing
    says who rated. To begin where a page was read, give its `Starfold-Position` as `after`.
    """
    chosen = None if movies is None else movie_ids(movies, ids_max=MOVIES_MAX)
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
    position = whole(last_event_id)
    if position is None:
        raise InvalidInput("the id is not one that this API gave", pointer="/header/last-event-id")
    return position
