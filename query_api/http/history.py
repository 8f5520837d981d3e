"""A movie's statistics in the past: at the end of a day, and day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import msgspec
from fastapi import APIRouter, Request, Response

from query_api.http import shapes
from query_api.http.absent import no_movie
from query_api.http.caller_route import CallerRoute
from query_api.http.dependencies import AtLeast, Wired, Wiring
from query_api.http.examples import HISTORY_PAGE, STATS
from query_api.http.parameters import LIMIT_DEFAULT, AsOf, Cursor, Limit
from query_api.http.responses import (
    CALLER_PROBLEMS,
    PROBLEMS,
    document,
    documented,
    listing,
)
from query_api.redis_reads.reader import Documents
from query_api.views.history import FIRST_YEAR, days, histogram_at
from query_api.views.rendering import with_ratings
from shared.errors import InvalidInput
from shared.ids import Position
from shared.read_model.layout import MOVIES, PARKED, HistoryYear, RatingStatistics, statistics_of

router = APIRouter(
    prefix="/v1/movies",
    tags=["movies"],
    responses=PROBLEMS | CALLER_PROBLEMS,
    route_class=CallerRoute,
)

_decode_statistics = msgspec.json.Decoder(RatingStatistics).decode
_decode_year = msgspec.msgpack.Decoder(HistoryYear).decode
_json = msgspec.json.Encoder().encode


class _Past(NamedTuple):
    """`rated_at_position` is of the movie's last rating, so that what others do changes no tag."""

    position: Position
    rated_at_position: Position
    parked: bytes | None
    years: dict[int, HistoryYear]


@router.get(
    "/{movie_id}/stats",
    responses=documented(STATS, shapes.PastStatistics, description="As of that day"),
)
async def get_stats(
    movie_id: UUID,
    request: Request,
    wiring: Wired,
    wanted_position: AtLeast,
    as_of: AsOf = None,
) -> Response:
    """A movie's rating statistics at the end of any past day, exact, by the time of rating.

    `position` is of the last rating that is known, whatever day it is of.
    """
    today = datetime.now(UTC).date()
    if as_of is not None and as_of > today:
        raise InvalidInput(f"as_of is after {today}, which is today", pointer="/query/as_of")
    past = await _past(wiring, movie_id, wanted_position)
    at = as_of or today
    statistics = statistics_of(histogram_at(past.years, at), past.rated_at_position)
    details = _json({"movie_id": movie_id, "as_of": at})
    body = with_ratings(details, _json(statistics), past.parked)
    return document(request, body, past.position)


@router.get(
    "/{movie_id}/history",
    responses=documented(HISTORY_PAGE, shapes.HistoryPage, description="A page of days"),
)
async def list_history(
    movie_id: UUID,
    request: Request,
    wiring: Wired,
    wanted_position: AtLeast,
    cursor: Cursor = None,
    limit: Limit = LIMIT_DEFAULT,
) -> Response:
    """The days on which a movie's ratings changed, with count and average at the end of each."""
    of = f"history:{movie_id.hex}"
    after = wiring.cursors.open(of, cursor, date) if cursor else date.min
    past = await _past(wiring, movie_id, wanted_position)
    found = list(islice((day for day in days(past.years) if day.date > after), limit + 1))
    items = []
    for day in found[:limit]:
        statistics = statistics_of(day.histogram, past.position)
        item = {"date": day.date, "count": statistics.count, "average": statistics.average}
        items.append(_json(item))
    cursor = wiring.cursors.seal(of, found[limit - 1].date) if len(found) > limit else None
    return listing(request, items, cursor, past.position)


async def _past(wiring: Wiring, movie_id: UUID, wanted_position: Position) -> _Past:
    """Every year's changes, in one read; raises `NotFound`."""
    movie = movie_id.hex
    years = range(FIRST_YEAR, datetime.now(UTC).year + 1)
    kinds = ("movie", "stats", PARKED)
    names = [f"{kind}:{movie}" for kind in kinds]
    names += [f"history:{movie}:{year}" for year in years]

    async def read() -> Documents:
        return await wiring.reader.named(MOVIES, movie_id, names)

    found = await wiring.freshness.at_least(wanted_position, read)
    details, statistics, parked, *stored = found.values
    if details is None or statistics is None:
        raise await no_movie(wiring, movie_id, found.position, parked)
    decoded = {
        year: _decode_year(changes)
        for year, changes in zip(years, stored, strict=True)
        if changes is not None
    }
    return _Past(found.position, _decode_statistics(statistics).position, parked, decoded)
