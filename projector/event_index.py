"""The event index: which event has which time, actor, request, user and movie, for operators.

It is a projection into a table of the log's own database, kept up only where a setting asks for it.
It holds ids and no personal data, so that an erasure has nothing to do here. The rows and the
checkpoint are committed together: a kill loses a batch, and the next one starts where it did.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog
from psycopg.rows import DictRow, tuple_row

from shared.ids import START, Position
from shared.log.event_store import Datastore
from shared.log.events import Metadata
from shared.log.stored_row import StoredRow

# Small batches with a pause between them: at most 5,000 events a second, beside all other work.
BATCH_EVENTS = 1_000
BATCH_EVERY_S = 0.2

# The lock makes two followers take turns.
_LOCK = "SELECT position FROM event_index_checkpoint FOR UPDATE"
_START = "INSERT INTO event_index_checkpoint (position) VALUES (0) ON CONFLICT DO NOTHING"
_ADVANCE = "UPDATE event_index_checkpoint SET position = %s"
_CHECKPOINT = "SELECT position FROM event_index_checkpoint"
_NEXT = (
    "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
    " WHERE notification_id > %s ORDER BY notification_id LIMIT %s"
)
_OF_ENTITY = (
    "SELECT count(*) AS events FROM (SELECT FROM event_index"
    " WHERE position >= %(start)s AND (user_id = %(entity)s OR movie_id = %(entity)s)"
    " LIMIT %(limit)s) AS counted"
)
_COPY = (
    "COPY event_index (position, recorded_at, topic, stream, actor, correlation, causation,"
    " user_id, movie_id) FROM STDIN"
)

log = structlog.get_logger()


class _Ids(msgspec.Struct, frozen=True):
    """The ids among an event's fields; `subject_id` is the user or service of an ended session."""

    user_id: UUID | None = None
    movie_id: UUID | None = None
    subject_id: UUID | None = None


class _State(msgspec.Struct, array_like=True, frozen=True):
    """A stored state of any schema version, without its other fields."""

    schema_version: int
    metadata: Metadata
    fields: _Ids


class EventIndexStatus(NamedTuple):
    """`lag_s` is the age of the first event that is not in the index."""

    checkpoint: Position
    lag_events: int
    lag_s: float


class EventIndex:
    """The table, accessed through the event store's connections."""

    def __init__(self, datastore: Datastore, *, batch_events: int = BATCH_EVENTS) -> None:
        self._datastore = datastore
        self._batch_events = batch_events

    def advance(self) -> int:
        """Index the next events in the log's order, and return their number."""
        with self._datastore.get_connection() as connection, connection.transaction():
            locked = connection.execute(_LOCK).fetchone()
            start = locked["position"] if locked is not None else START
            rows = self._next(connection, start)
            if not rows:
                return 0
            # Another follower that was as early has inserted the checkpoint, and these events.
            if locked is None and not connection.execute(_START).rowcount:
                return 0
            with connection.cursor().copy(_COPY) as copy:
                for row in rows:
                    copy.write_row(_indexed(row))
            connection.execute(_ADVANCE, [rows[-1].position])
        return len(rows)

    def checkpoint(self) -> Position | None:
        """Return the last position in the index; None without an index."""
        with self._datastore.get_connection() as connection:
            row = connection.execute(_CHECKPOINT).fetchone()
        return None if row is None else Position(row["position"])

    def status(self, head: Position) -> EventIndexStatus | None:
        """Return how far the index is behind the head of the log; None without an index."""
        with self._datastore.get_connection() as connection:
            row = connection.execute(_CHECKPOINT).fetchone()
            if row is None:
                return None
            checkpoint = Position(row["position"])
            lag_s = 0.0
            if head > checkpoint and (late := self._next(connection, checkpoint, 1)):
                recorded_at = _indexed(late[0])[1]
                if isinstance(recorded_at, datetime):
                    lag_s = max((datetime.now(UTC) - recorded_at).total_seconds(), 0.0)
        return EventIndexStatus(checkpoint, max(head - checkpoint, 0), round(lag_s, 3))

    def events_of(self, entity: UUID, start: Position, limit: int) -> int | None:
        """Count a movie's or user's events from a position on; None without an index."""
        asked = {"entity": entity, "start": start, "limit": limit}
        with self._datastore.get_connection() as connection:
            if connection.execute(_CHECKPOINT).fetchone() is None:
                return None
            row = connection.execute(_OF_ENTITY, asked).fetchone()
        assert row is not None
        events: int = row["events"]
        return events

    def drop(self) -> None:
        """Empty the index; a projector that keeps one up then fills it from the log's start."""
        with self._datastore.get_connection() as connection, connection.transaction():
            # In the follower's order of locks.
            connection.execute("DELETE FROM event_index_checkpoint")
            connection.execute("TRUNCATE event_index")

    def _next(
        self,
        connection: psycopg.Connection[DictRow],
        after: Position,
        limit: int | None = None,
    ) -> list[StoredRow]:
        cursor = connection.cursor(row_factory=tuple_row, binary=True)
        cursor.execute(_NEXT, [after, limit or self._batch_events])
        return [StoredRow(*row) for row in cursor.fetchall()]


def _indexed(row: StoredRow) -> tuple[object, ...]:
    """Return an event's row of the index; only its place for an event that cannot be read."""
    place = row.position, None, row.topic, row.stream_id, None, None, None, None, None
    try:
        state = msgspec.msgpack.decode(row.state, type=_State)
    except msgspec.DecodeError as error:
        log.warning("event_unindexed", position=row.position, error=type(error).__name__)
        return place
    metadata, ids = state.metadata, state.fields
    return (
        row.position,
        metadata.recorded_at,
        row.topic,
        row.stream_id,
        metadata.actor,
        metadata.correlation_id,
        metadata.causation_id,
        ids.user_id or ids.subject_id,
        ids.movie_id,
    )
