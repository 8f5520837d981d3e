"""What a request reaches of the query API: made once in `app.py`, handed to the routes."""

from __future__ import annotations

from typing import Annotated, NamedTuple

import redis.asyncio
from fastapi import Depends, Header, Request

from query_api.catalogue.index_feed import IndexFeed
from query_api.read_limits import ReadLimits
from query_api.redis_reads.access import CallerAccess
from query_api.redis_reads.damage import Damage
from query_api.redis_reads.freshness import Freshness, parse_position
from query_api.redis_reads.generations import ActiveGenerations
from query_api.redis_reads.reader import Reader
from query_api.views.cursors import Cursors
from query_api.views.live_updates import Streams
from query_api.views.movie_ratings import Raters
from query_api.views.pages import Pages
from query_api.views.profiles import Profiles
from shared.errors import InvalidInput
from shared.ids import Position
from shared.process.tasks import Tasks
from shared.web.problems import json_pointer
from shared.web.tokens import Claims, TokenVerifier

NAME_CHARS_SHOWN = 100


class Wiring(NamedTuple):
    """The parts that routes use."""

    client: redis.asyncio.Redis
    tasks: Tasks
    damage: Damage
    generations: ActiveGenerations
    freshness: Freshness
    reader: Reader
    feed: IndexFeed
    cursors: Cursors
    pages: Pages
    profiles: Profiles
    raters: Raters
    streams: Streams
    verifier: TokenVerifier
    limits: ReadLimits
    access: CallerAccess


async def wiring_of(request: Request) -> Wiring:
    wiring = request.app.state.wiring
    assert isinstance(wiring, Wiring)
    return wiring


async def caller_of(request: Request) -> Claims | None:
    """The bearer of an access token, None without one. The route looks at the token, see
    `query_api/http/caller_route.py`; the role in it may be an old one.
    """
    caller: Claims | None = getattr(request.state, "caller", None)
    return caller


async def at_least(
    request: Request,
    _documented: Annotated[
        str | None,
        Header(
            alias="Starfold-At-Least",
            description="Wait until the read model has applied this position",
            examples=["42"],
        ),
    ] = None,
) -> Position:
    return wanted_position(request)


def wanted_position(request: Request) -> Position:
    """What comes twice is no position: which of them is meant?"""
    given = request.headers.getlist("starfold-at-least")
    return parse_position(", ".join(given) if given else None)


async def known_parameters(request: Request) -> None:
    """Refuses what no parameter of the route is, and what comes twice.

    A misspelt filter would be no filter, and of two genres only one would count.
    """
    known = {parameter.alias for parameter in request.scope["route"].dependant.query_params}
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        shown = name[:NAME_CHARS_SHOWN]
        pointer = json_pointer(("query", shown))
        if name not in known:
            raise InvalidInput(f"there is no parameter {shown!r}", pointer=pointer)
        if given.count(name) > 1:
            raise InvalidInput(f"{name} is given more than once", pointer=pointer)


Wired = Annotated[Wiring, Depends(wiring_of)]
Caller = Annotated[Claims | None, Depends(caller_of)]
AtLeast = Annotated[Position, Depends(at_least)]
