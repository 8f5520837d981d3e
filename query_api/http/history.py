"""A movie's statistics in the past: at the end of a day, and day by day."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import islice
from typing import NamedTuple
from uuid import UUID

import msgspec

from query_api.http import shapes
from query_api.http.absent import AbsentMovies
from query_api.http.parameters import AsOf, ListRead, Read
from query_api.http.responses import CLOSED, document, documented, listing
from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.reader import Documents, Reader
from query_api.views.cursors import Cursors
from query_api.views.history import FIRST_YEAR, Resolution, days, histogram_at, periods
from query_api.views.rendering import with_ratings
from shared.errors import InvalidInput
from shared.ids import Position
from shared.read_model.documents import HistoryYear
from shared.read_model.keys import MOVIES, document_name
from shared.read_model.kinds import HISTORY, MOVIE, PARKED_MARK, STATISTICS, year_suffix
from shared.read_model.statistics import statistics_of
from shared.web.answer import Answer
from shared.web.operation import Request, operation
from shared.web.parameter_types import CanonicalUuid

_json = msgspec.json.Encoder().encode


class StatsRead(Read):
    movie_id: CanonicalUuid
    as_of: AsOf = None


class HistoryRead(ListRead):
    movie_id: CanonicalUuid
    resolution: Resolution = "day"


class _MovieHistory(NamedTuple):
    """A movie's history.

    `rated_at_position` is the position of the movie's last rating, so that the ETag does not change
    with other movies.
    """

    position: Position
    rated_at_position: Position
    parked: bytes | None
    years: dict[int, HistoryYear]


class History:
    def __init__(
        self, reader: Reader, freshness: Freshness, cursors: Cursors, absent: AbsentMovies
    ) -> None:
        self._reader = reader
        self._freshness = freshness
        self._cursors = cursors
        self._absent = absent

    @operation(
        "GET",
        "/v1/movies/{movie_id}/stats",
        tag="movies",
        access="anyone",
        parameters=StatsRead,
        answers=documented(
            shapes.PastStatistics, description="The statistics at the end of that day"
        )
        | CLOSED,
    )
    async def get_movie_stats(self, request: Request[StatsRead, None]) -> Answer:
        """Return a movie's exact rating statistics at the end of a past day, by time of rating.

        `position` is the position of the last known rating, whatever its day.
        """
        asked = request.parameters
        today = datetime.now(UTC).date()
        if asked.as_of is not None and asked.as_of > today:
            raise InvalidInput(f"as_of is after {today}, which is today", pointer="/query/as_of")
        past = await self._past(asked.movie_id, asked.at_least)
        at = asked.as_of or today
        statistics = statistics_of(histogram_at(past.years, at), past.rated_at_position)
        details = _json({"movie_id": asked.movie_id, "as_of": at})
        body = with_ratings(details, _json(statistics), past.parked)
        return document(request, body, past.position)

    @operation(
        "GET",
        "/v1/movies/{movie_id}/history",
        tag="movies",
        access="anyone",
        parameters=HistoryRead,
        answers=documented(shapes.HistoryPage, description="A page of days") | CLOSED,
    )
    async def list_movie_history(self, request: Request[HistoryRead, None]) -> Answer:
        """List the days on which a movie's ratings changed, with count and average at day's end.

        `resolution` lists weeks (from Monday), months or years instead, each by its first date.
        """
        asked = request.parameters
        of = f"history:{asked.movie_id.hex}:{asked.resolution}"
        after = self._cursors.open(of, asked.cursor, date) if asked.cursor else date.min
        past = await self._past(asked.movie_id, asked.at_least)
        shown = periods(days(past.years), asked.resolution)
        later = (one for one in shown if one.date > after)
        found = list(islice(later, asked.limit + 1))
        items = []
        for day in found[: asked.limit]:
            statistics = statistics_of(day.histogram, past.position)
            item = {"date": day.date, "count": statistics.count, "average": statistics.average}
            items.append(_json(item))
        cursor = None
        if len(found) > asked.limit:
            cursor = self._cursors.seal(of, found[asked.limit - 1].date)
        return listing(request, items, cursor, past.position)

    async def _past(self, movie_id: UUID, wanted_position: Position) -> _MovieHistory:
        """Read the changes of every year in one round trip; raise `NotFound` without the movie."""
        movie = movie_id.hex
        years = range(FIRST_YEAR, datetime.now(UTC).year + 1)
        names = [document_name(kind.name, movie) for kind in (MOVIE, STATISTICS, PARKED_MARK)]
        names += [document_name(HISTORY.name, year_suffix(movie, year)) for year in years]

        async def read() -> Documents:
            return await self._reader.named(MOVIES, movie_id, names)

        found = await self._freshness.at_least(wanted_position, read)
        details, statistics, parked, *stored = found.values
        if details is None or statistics is None:
            raise await self._absent.error(movie_id, found.position, parked)
        decoded = {
            year: HISTORY.parse(changes)
            for year, changes in zip(years, stored, strict=True)
            if changes is not None
        }
        return _MovieHistory(found.position, STATISTICS.parse(statistics).position, parked, decoded)
