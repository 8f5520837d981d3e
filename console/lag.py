"""The lag of each projection over time, for the console's charts.

The console measures, because it is there when the projector is not. What it measures goes into
rings of intervals in PostgreSQL, so that it outlives every process; their size is bounded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from console.system import WriteRate
from console.worker_thread import WiredThread
from projector.status import Sampler
from projector.wiring import Wiring
from shared.log.event_store import Datastore
from shared.process.clock import utc_now
from shared.process.tasks import Tasks
from shared.read_model.status import Status

EVERY_S = 5.0
STALE_AFTER_S = 60.0

SpanName = Literal["15m", "24h"]

# The highest lag counts, and an older interval never replaces a newer one: clocks may differ.
_NOTE = """
INSERT INTO projection_lag AS kept (projection, every_s, slot, at, lag_events, lag_s)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (projection, every_s, slot) DO UPDATE SET
    at = excluded.at,
    lag_events = CASE WHEN kept.at = excluded.at
        THEN greatest(kept.lag_events, excluded.lag_events) ELSE excluded.lag_events END,
    lag_s = CASE WHEN kept.at = excluded.at
        THEN greatest(kept.lag_s, excluded.lag_s) ELSE excluded.lag_s END
WHERE kept.at <= excluded.at
"""
_SINCE = (
    "SELECT at, lag_events, lag_s FROM projection_lag"
    " WHERE projection = %s AND every_s = %s AND at > %s ORDER BY at"
)


class Span(NamedTuple):
    """A time that ends now, in intervals."""

    length_s: int
    every_s: int

    @property
    def slots(self) -> int:
        return self.length_s // self.every_s


SPANS: dict[SpanName, Span] = {"15m": Span(900, 10), "24h": Span(86_400, 600)}


class LagPoint(NamedTuple):
    """The highest lag in the interval that starts `at`."""

    at: datetime
    lag_events: int
    lag_s: float


class LagHistory:
    """The table, accessed through the event store's connections."""

    def __init__(self, datastore: Datastore) -> None:
        self._datastore = datastore

    def note(self, status: Status) -> None:
        """Store the lag of each live generation; one that has lost a checkpoint has none."""
        rows = [
            (one.projection, span.every_s, *_place(status.at, span), one.lag_events, one.lag_s)
            for one in status.generations
            if one.state == "active" and one.lag_events is not None
            for span in SPANS.values()
        ]
        with self._datastore.get_connection() as connection, connection.transaction():
            for row in rows:
                connection.execute(_NOTE, row)

    def points(self, projection: str, name: SpanName) -> list[LagPoint]:
        """Return the intervals that were measured, oldest first."""
        span = SPANS[name]
        since = utc_now() - timedelta(seconds=span.length_s)
        with self._datastore.get_connection() as connection:
            rows: Sequence[Any] = connection.execute(
                _SINCE, [projection, span.every_s, since]
            ).fetchall()
        return [LagPoint(row["at"], row["lag_events"], row["lag_s"]) for row in rows]


class LagTask:
    """Measures periodically, on a thread of its own; notes the head of the log too."""

    def __init__(self, thread: WiredThread, rate: WriteRate) -> None:
        self._thread = thread
        self._rate = rate
        self._sampler: Sampler | None = None

    def start(self, tasks: Tasks) -> asyncio.Task[None]:
        """Start the task; return it, to be cancelled."""
        health = tasks.health("lag", stale_after_s=STALE_AFTER_S, needed=False)
        return tasks.start(health, lambda: self._thread.run(self._measure), every_s=EVERY_S)

    def _measure(self, wiring: Wiring) -> None:
        self._rate.note(wiring.reader.head())
        if self._sampler is None:
            self._sampler = Sampler(wiring)
        LagHistory(wiring.events.connections).note(self._sampler.sample())


def _place(at: datetime, span: Span) -> tuple[int, datetime]:
    """Return the slot of a moment's interval, and the interval's start."""
    interval = int(at.timestamp()) // span.every_s
    return interval % span.slots, datetime.fromtimestamp(interval * span.every_s, UTC)
