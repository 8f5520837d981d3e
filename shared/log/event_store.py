"""The event store: the library's PostgreSQL recorder, with positions in commit order.

Services read the log with it; commands are recorded through `command_api/store`. Only this module
translates the library's words: originator_id is a stream id, originator_version a version,
notification_id a position. `append.sql` explains the design of the append.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any

import psycopg
from eventsourcing.persistence import OperationalError, StoredEvent
from eventsourcing.postgres import ConnectionPool, PostgresApplicationRecorder, PostgresDatastore
from psycopg.rows import DictRow, TupleRow, dict_row, tuple_row
from psycopg_pool import PoolTimeout

from shared.ids import Position, UserId
from shared.log.connections import (
    ANSWER_WITHIN_S,
    CONNECT_WITHIN_S,
    PREPARE_THRESHOLD,
    Connection,
    NoAnswer,
    cause_of,
    conninfo,
)
from shared.log.schema import require_durability, require_session
from shared.log.stored_row import StoredRow

EVENTS_TABLE = "events"
CHANNEL = "events"
# The pool's own back-off grows to minutes; after a short limit the next caller connects again.
RECONNECT_WITHIN_S = 0.5

_FETCH = (
    "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
    " WHERE notification_id >= %s ORDER BY notification_id LIMIT %s"
)
_APPEND = (
    "SELECT first_position FROM append_events(stream_ids => %(stream_ids)s::uuid[],"
    " versions => %(versions)s::bigint[], topics => %(topics)s::text[],"
    " states => %(states)s::bytea[])"
)
_HEAD = "SELECT coalesce(max(notification_id), 0) FROM events"
_WRAPPED_KEYS = "SELECT user_id, wrapped FROM subject_keys WHERE user_id = ANY (%s::uuid[])"
_LAST_WRAPPED_KEYS = "SELECT user_id, wrapped FROM subject_keys ORDER BY user_id DESC LIMIT %s"


class _Pool(ConnectionPool[psycopg.Connection[DictRow]]):
    """The library's pool; it remembers why the last connection attempt failed."""

    last_failure: str | None = None

    def _connect(self, timeout: float | None = None) -> psycopg.Connection[DictRow]:
        try:
            connection = super()._connect(timeout)
        except psycopg.Error as error:
            self.last_failure = cause_of(error)
            raise
        self.last_failure = None
        return connection


class Datastore(PostgresDatastore):
    """The library's datastore, with the connections of `connections.py` and a connection string.

    The string may name several hosts. While the server does not answer, one caller at a time probes
    it, and all others are refused without waiting.
    """

    def __init__(
        self, dsn: str, *, schema: str, pool_size: int, pooler: bool, answer_within_s: float
    ) -> None:
        super().__init__(dbname="", host="", port="", user="", password="", schema=schema)

        def configure(connection: psycopg.Connection[Any]) -> None:
            assert isinstance(connection, Connection)
            connection.answer_within_s = answer_within_s

        pool = _Pool(
            conninfo(dsn, schema=schema, pooler=pooler),
            connection_class=Connection[DictRow],
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "prepare_threshold": None if pooler else PREPARE_THRESHOLD,
            },
            min_size=1,
            max_size=pool_size,
            open=False,
            configure=configure,
            timeout=CONNECT_WITHIN_S,
            reconnect_timeout=RECONNECT_WITHIN_S,
        )
        self.pool = self._pool = pool
        # Behind a pooler, a connection belongs to this process only during a transaction.
        self.pooler = pooler
        self._silent = False
        self._trial = Lock()

    def register_type_adapters(self) -> None:
        """Register nothing: the append takes arrays, so that construction needs no server."""

    @contextmanager
    def get_connection(self) -> Iterator[psycopg.Connection[DictRow]]:
        on_trial = self._silent
        if on_trial and not self._trial.acquire(blocking=False):
            raise OperationalError(self._why("PostgreSQL does not answer"))
        try:
            with super().get_connection() as connection:
                yield connection
            self._silent = False
        except OperationalError as error:
            if not isinstance(error.__cause__, (NoAnswer, PoolTimeout)):
                raise
            self._silent = True
            # The fault that silenced one connection has silenced the idle ones too.
            self.pool.drain()
            raise OperationalError(self._why(cause_of(error))) from error
        finally:
            if on_trial:
                self._trial.release()

    def _why(self, otherwise: str) -> str:
        return self._pool.last_failure or otherwise


class EventStore(PostgresApplicationRecorder):
    """Appends in commit order, and reads the log from a position on.

    Thread-safe. Errors of the server are the library's `PersistenceError`s; a lost connection is
    its `OperationalError` or `InterfaceError`. The store never retries.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "starfold",
        pool_size: int = 4,
        pooler: bool = False,
        answer_within_s: float = ANSWER_WITHIN_S,
    ) -> None:
        self.connections = Datastore(
            dsn,
            schema=schema,
            pool_size=pool_size,
            pooler=pooler,
            answer_within_s=answer_within_s,
        )
        super().__init__(self.connections, events_table_name=EVENTS_TABLE)

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """Append all events or none, in order; raise `IntegrityError` for a duplicate."""
        if not stored_events:
            return []
        parameters = {
            "stream_ids": [event.originator_id for event in stored_events],
            "versions": [event.originator_version for event in stored_events],
            "topics": [event.topic for event in stored_events],
            "states": [event.state for event in stored_events],
        }
        with self._rows() as cursor:
            row = cursor.execute(_APPEND, parameters).fetchone()
        assert row is not None
        return list(range(row[0], row[0] + len(stored_events)))

    def fetch(self, start: Position, limit: int) -> list[StoredRow]:
        """Return at most `limit` events from position `start` on, inclusive, in log order."""
        with self._rows() as cursor:
            cursor.execute(_FETCH, [start, limit], prepare=True)
            return [StoredRow(*row) for row in cursor.fetchall()]

    def head(self) -> Position:
        """Return the last position of the log, 0 when it is empty."""
        with self._rows() as cursor:
            row = cursor.execute(_HEAD).fetchone()
        assert row is not None
        return Position(row[0])

    def wrapped_keys(self, users: Sequence[UserId]) -> dict[UserId, bytes]:
        """Return the stored keys of the given users; erased users have none."""
        with self._rows() as cursor:
            rows = cursor.execute(_WRAPPED_KEYS, [list(users)], prepare=True).fetchall()
        return {UserId(user_id): wrapped for user_id, wrapped in rows}

    def last_wrapped_keys(self, count: int) -> dict[UserId, bytes]:
        """Return the stored keys of the newest users."""
        with self._rows() as cursor:
            rows = cursor.execute(_LAST_WRAPPED_KEYS, [count]).fetchall()
        return {UserId(user_id): wrapped for user_id, wrapped in rows}

    def require_durability(self) -> None:
        """Raise `Misconfigured` if the server may lose commits, or a pooler hides the schema."""
        with self.datastore.get_connection() as connection:
            require_durability(connection)
            require_session(connection, self.datastore.schema)

    def close(self) -> None:
        self.datastore.close()

    @contextmanager
    def _rows(self) -> Iterator[psycopg.Cursor[TupleRow]]:
        """Yield a cursor with binary results on a connection of the pool."""
        with self.datastore.get_connection() as pooled:
            yield pooled.cursor(row_factory=tuple_row, binary=True)
