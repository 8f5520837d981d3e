"""Bring the orders of the recently rated movies up to date when somebody asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import islice
from uuid import UUID

from query_api.catalogue.entry import Entry
from query_api.catalogue.index import Index
from query_api.catalogue.slicing import Slice
from query_api.catalogue.trends import WINDOWS
from query_api.read_limits import SLICE_TOKENS, charge_work
from query_api.redis_reads.coalescing import Values
from query_api.redis_reads.reader import Reader
from shared.errors import DocumentDamaged, Unavailable
from shared.ids import Position
from shared.process.clock import utc_now
from shared.read_model.documents import HISTORY_STEP
from shared.read_model.keys import MOVIES, document_name
from shared.read_model.kinds import HISTORY, year_suffix

# A request waits this long for the orders; the run that updates them continues without it.
WAIT_MAX_S = 2.0
# Their documents are parsed without a pause.
MOVIES_A_READ = 20


class Trending:
    """Reads the histories of the movies that were rated since somebody last asked.

    One run at a time serves all requests that came before it began, and outlives them.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._run: asyncio.Task[None] | None = None

    async def update(self, index: Index) -> None:
        """Bring the orders to today, and to the movies as the index has them now.

        Raises `Unavailable` if that takes longer than a request waits, mostly after a start.
        """
        try:
            async with asyncio.timeout(WAIT_MAX_S):
                while self._run is not None and not self._run.done():
                    await asyncio.wait([self._run])
                self._run = asyncio.create_task(self._update(index, utc_now().date()))
                # Nobody may be waiting any more when it fails.
                self._run.add_done_callback(lambda run: run.cancelled() or run.exception())
                await asyncio.shield(self._run)
        except TimeoutError:
            raise Unavailable("the histories of the rated movies are being read") from None

    async def close(self) -> None:
        """End the run."""
        if self._run is not None:
            self._run.cancel()
            await asyncio.wait([self._run])

    async def _update(self, index: Index, today: date) -> None:
        first = today - timedelta(days=max(WINDOWS) - 1)
        # A clock may be ahead of this one.
        years = range(first.year, (today + timedelta(days=1)).year + 1)
        rest = iter(await _rated(index))
        while movies := list(islice(rest, MOVIES_A_READ)):
            reads = (self._read(index, movie, years, first) for movie in movies)
            # All have ended before the next ones begin, whatever became of the first.
            for outcome in await asyncio.gather(*reads, return_exceptions=True):
                # A damaged history keeps its movie where it was, until it has been rebuilt.
                if outcome is not None and not isinstance(outcome, DocumentDamaged):
                    raise outcome
            charge_work(SLICE_TOKENS)
        for _ in index.trends.update(index.entries, today.toordinal()):
            charge_work(SLICE_TOKENS)
            await asyncio.sleep(0)

    async def _read(self, index: Index, movie: bytes, years: Sequence[int], first: date) -> None:
        trends, entry = index.trends, index.entries.get(movie)
        # A change from now on is not in what is read.
        trends.unread.discard(movie)
        if entry is None:
            trends.put(movie, {})
            return
        movie_id = UUID(bytes=movie)
        names = [document_name(HISTORY.name, year_suffix(movie_id.hex, year)) for year in years]
        is_read = False
        try:
            read = await self._reader.named(MOVIES, movie_id, names)
            _require_current(read.position, entry)
            trends.put(movie, _added(years, read.values, first.toordinal()))
            is_read = True
        finally:
            if not is_read:
                trends.unread.add(movie)


async def _rated(index: Index) -> list[bytes]:
    """Return the unread movies that have ratings; the others need no reading."""
    rated: list[bytes] = []
    slice_ = Slice()
    for movie in list(index.trends.unread):
        entry = index.entries.get(movie)
        if entry is not None and entry.ratings.count:
            rated.append(movie)
        else:
            index.trends.unread.discard(movie)
            index.trends.put(movie, {})
        for _ in slice_.pause():
            await asyncio.sleep(0)
    return rated


def _require_current(position: Position, entry: Entry) -> None:
    if position < entry.position:
        raise Unavailable("the history of a movie is older than its statistics")


def _added(years: Sequence[int], stored: Values, first: int) -> dict[int, int]:
    """Return what each day since the first added to the number of ratings, by its ordinal."""
    added: dict[int, int] = {}
    for year, history in zip(years, stored, strict=True):
        if history is None:
            continue
        last_day_before = date(year, 1, 1).toordinal() - 1
        for key, more in HISTORY.parse(history).added.items():
            day = last_day_before + key // HISTORY_STEP
            if day >= first:
                added[day] = added.get(day, 0) + more
    return {day: more for day, more in added.items() if more}
