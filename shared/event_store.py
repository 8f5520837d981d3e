"""The event store: the library's PostgreSQL recorder with an append that keeps positions in commit
order.

Here, and only here, the library's words are translated: originator_id is a stream id,
originator_version a version, notification_id a position. `shared/append.sql` says why the append is
as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import IntegrityError, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow, tuple_row

from shared.answers import AnswerKey, KeptAnswer, NewAnswer, answer_columns, read_answer
from shared.arrays import ADAPTERS, BigintArray, ByteaArray, TextArray, UuidArray
from shared.errors import AppendRefused
from shared.ids import START, Position, StreamId, UserId, Version
from shared.schema import require_durability

EVENTS_TABLE = "events"
CHANNEL = "events"
CONNECT_TIMEOUT_S = 5
# What a row of `load.sql` without a topic is, by its version; else a subject's key.
_IS_SESSION, _IS_ANSWER = -1, -2
# The pool's own back-off grows to minutes; given up soon, the next caller connects afresh.
RECONNECT_WITHIN_S = 0.5

_APPEND = (
    "SELECT first_position, last_position, refused_by FROM append_events("
    "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::bigint[],"
    " %s::uuid[], %s::bytea[], %s::uuid[], %s::uuid[], %s::uuid[],"
    " %s::uuid[], %s::uuid[], %s::bytea[], %s::text[], %s::uuid[], %s::bigint[], %s::bigint[])"
)
_FETCH = (
    "SELECT notification_id, originator_id, originator_version, topic, state FROM events"
    " WHERE notification_id >= %s ORDER BY notification_id LIMIT %s"
)
_HEAD = "SELECT coalesce(max(notification_id), 0) FROM events"
_WRAPPED_KEYS = "SELECT user_id, wrapped FROM subject_keys WHERE user_id = ANY (%s::uuid[])"
_LAST_WRAPPED_KEYS = "SELECT user_id, wrapped FROM subject_keys ORDER BY user_id DESC LIMIT %s"
_STORED = (
    "SELECT e.originator_id, e.originator_version, e.notification_id, e.state"
    " FROM unnest(%s::uuid[], %s::bigint[]) AS wanted (stream_id, version)"
    " JOIN events e ON e.originator_id = wanted.stream_id AND e.originator_version = wanted.version"
)


class StoredRow(NamedTuple):
    """One event as stored; the state is still encoded."""

    position: Position
    stream_id: StreamId
    version: Version
    topic: str
    state: bytes


class Append(NamedTuple):
    """All that one append writes or refuses as a whole.

    `guards` are the versions decided on, of streams written to and of streams only read. All
    sessions of `new_password_users` but the `kept_sessions` end.
    """

    events: Sequence[StoredEvent]
    guards: Mapping[StreamId, Version]
    new_keys: Mapping[UserId, bytes]
    erased_users: Sequence[UserId]
    new_password_users: Sequence[UserId] = ()
    kept_sessions: Sequence[UUID] = ()
    answers: Sequence[NewAnswer] = ()


class Loaded(NamedTuple):
    """What `load` found: stored rows by stream in version order, wrapped keys by user, the sessions
    that have not ended, and the answers kept.
    """

    streams: dict[StreamId, list[StoredRow]]
    wrapped_keys: dict[UserId, bytes]
    sessions: frozenset[UUID] = frozenset()
    answers: Mapping[AnswerKey, KeptAnswer] = MappingProxyType({})


class Datastore(PostgresDatastore):
    """The library's connection pool, opened by a connection string so that a multi-host one works
    too.
    """

    def __init__(self, dsn: str, *, schema: str, pool_size: int) -> None:
        parameters = conninfo_to_dict(dsn)
        super().__init__(
            dbname=str(parameters.pop("dbname", "")),
            host=str(parameters.pop("host", "")),
            port=str(parameters.pop("port", "5432")),
            user=str(parameters.pop("user", "")),
            password=str(parameters.pop("password", "")),
            pool_size=1,
            max_overflow=pool_size - 1,
            connect_timeout=CONNECT_TIMEOUT_S,
            schema=schema,
        )
        self.pool.reconnect_timeout = RECONNECT_WITHIN_S
        assert isinstance(self.pool.kwargs, dict)
        # Every statement here reads by an index; a plan made on a small table must not outlive it.
        options = f"-c search_path={schema} -c enable_seqscan=off -c jit=off"
        parameters.setdefault("connect_timeout", CONNECT_TIMEOUT_S)
        self.pool.kwargs.update(parameters, options=options, context=ADAPTERS)

    def register_type_adapters(self) -> None:
        """Nothing: the append takes arrays, so that construction needs no server."""


class EventStore(PostgresApplicationRecorder):
    """Appends in commit order, loads streams, and reads the log from a position on.

    Usable from several threads. Errors of the server are the library's `PersistenceError`s; a lost
    connection is its `OperationalError` or `InterfaceError`, and nothing is ever retried here.
    """

    def __init__(self, dsn: str, *, schema: str = "starfold", pool_size: int = 4) -> None:
        super().__init__(
            Datastore(dsn, schema=schema, pool_size=pool_size), events_table_name=EVENTS_TABLE
        )

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        """The library's append: all or nothing, positions in order; `IntegrityError` for a
        duplicate.
        """
        if not stored_events:
            return []
        try:
            first = self.append(Append(stored_events, {}, {}, ()))
        except AppendRefused as error:
            raise IntegrityError(str(error)) from error
        return list(range(first, first + len(stored_events)))

    def append(self, append: Append, connection: psycopg.Connection[Any] | None = None) -> Position:
        """Write all events in order and return the first one's position, 0 for none; the others
        follow without a gap.

        Raises `AppendRefused` when a guard has moved on, the library's `IntegrityError` for a
        duplicate, and its `OperationalError` or `InterfaceError` when the outcome is unknown.
        """
        parameters = [
            UuidArray.of([_uuid(event.originator_id) for event in append.events]),
            BigintArray.of([event.originator_version for event in append.events]),
            TextArray.of([event.topic for event in append.events]),
            ByteaArray.of([event.state for event in append.events]),
            UuidArray.of(list(append.guards.keys())),
            BigintArray.of(list(append.guards.values())),
            UuidArray.of(list(append.new_keys.keys())),
            ByteaArray.of(list(append.new_keys.values())),
            UuidArray.of(append.erased_users),
            UuidArray.of(append.new_password_users),
            UuidArray.of(append.kept_sessions),
            *answer_columns(append.answers),
        ]
        with self._rows(connection) as cursor:
            row = cursor.execute(_APPEND, parameters, prepare=True).fetchone()
        assert row is not None
        first, _last, refused_by = row
        if refused_by in append.guards:
            raise AppendRefused(
                f"stream {refused_by} is no longer at version {append.guards[refused_by]}"
            )
        if refused_by is not None:
            raise AppendRefused(f"idempotency key {refused_by} has been answered meanwhile")
        return Position(first or START)

    def load(
        self,
        *,
        latest: Sequence[StreamId],
        whole: Sequence[StreamId],
        subjects: Sequence[UserId],
        sessions: Sequence[UUID] = (),
        answers: Sequence[AnswerKey] = (),
        connection: psycopg.Connection[Any] | None = None,
    ) -> Loaded:
        """The last event of the streams `latest`, all of the streams `whole`, subjects' wrapped
        keys, which of the sessions have not ended, and the answers kept under the given keys.
        """
        parameters = {
            "latest": UuidArray.of(latest),
            "whole": UuidArray.of(whole),
            "subjects": UuidArray.of(subjects),
            "sessions": UuidArray.of(sessions),
            "principals": UuidArray.of([key.principal for key in answers]),
            "key_ids": UuidArray.of([key.key_id for key in answers]),
        }
        with self._rows(connection) as cursor:
            rows = cursor.execute(_load_statement(), parameters, prepare=True).fetchall()
        return _loaded(rows)

    def fetch(self, start: Position, limit: int) -> list[StoredRow]:
        """At most `limit` events from position `start` on, inclusive, in log order."""
        with self._rows() as cursor:
            cursor.execute(_FETCH, [start, limit], prepare=True)
            return [StoredRow(*row) for row in cursor.fetchall()]

    def head(self) -> Position:
        """The last position of the log; 0 when it is empty."""
        with self._rows() as cursor:
            row = cursor.execute(_HEAD).fetchone()
        assert row is not None
        return Position(row[0])

    def stored_at(
        self, places: Sequence[tuple[StreamId, Version]]
    ) -> dict[tuple[StreamId, Version], StoredRow]:
        """What stands at the given places of streams; absent places are left out."""
        with self._rows() as cursor:
            cursor.execute(_STORED, [[p[0] for p in places], [p[1] for p in places]])
            rows = cursor.fetchall()
        return {
            (StreamId(stream_id), Version(version)): StoredRow(
                Position(position), StreamId(stream_id), Version(version), "", state
            )
            for stream_id, version, position, state in rows
        }

    def wrapped_keys(self, users: Sequence[UserId]) -> dict[UserId, bytes]:
        """The stored keys of the given users; erased users have none."""
        with self._rows() as cursor:
            rows = cursor.execute(_WRAPPED_KEYS, [list(users)], prepare=True).fetchall()
        return {UserId(user_id): wrapped for user_id, wrapped in rows}

    def last_wrapped_keys(self, count: int) -> dict[UserId, bytes]:
        """The stored keys of the users who came last."""
        with self._rows() as cursor:
            rows = cursor.execute(_LAST_WRAPPED_KEYS, [count]).fetchall()
        return {UserId(user_id): wrapped for user_id, wrapped in rows}

    @contextmanager
    def holding_append_lock(self) -> Iterator[psycopg.Connection[Any]]:
        """A transaction in which nobody else appends; committed on leaving."""
        with self.datastore.get_connection() as connection, connection.transaction():
            connection.execute("SELECT hold_append_lock()")
            yield connection

    def require_durability(self) -> None:
        """Raise `Misconfigured` where the server may lose what it acknowledged."""
        with self.datastore.get_connection() as connection:
            require_durability(connection)

    def close(self) -> None:
        self.datastore.close()

    @contextmanager
    def _rows(
        self, connection: psycopg.Connection[Any] | None = None
    ) -> Iterator[psycopg.Cursor[TupleRow]]:
        """A cursor with binary results on the given connection, or on one of the pool."""
        if connection is not None:
            yield connection.cursor(row_factory=tuple_row, binary=True)
            return
        with self.datastore.get_connection() as pooled:
            yield pooled.cursor(row_factory=tuple_row, binary=True)


def _uuid(originator_id: UUID | str) -> UUID:
    """The library lets a stream's id be text."""
    return originator_id if isinstance(originator_id, UUID) else UUID(originator_id)


@cache
def _load_statement() -> bytes:
    return files("shared").joinpath("load.sql").read_bytes()


def _loaded(rows: Sequence[TupleRow]) -> Loaded:
    """Rows of `load.sql`, sorted by what they are."""
    streams: dict[StreamId, list[StoredRow]] = {}
    wrapped_keys: dict[UserId, bytes] = {}
    sessions: set[UUID] = set()
    answers: dict[AnswerKey, KeptAnswer] = {}
    for row_id, version, position, topic, state in rows:
        if topic:
            row = StoredRow(Position(position), StreamId(row_id), Version(version), topic, state)
            streams.setdefault(row.stream_id, []).append(row)
        elif version == _IS_SESSION:
            sessions.add(row_id)
        elif version == _IS_ANSWER:
            principal, answer = read_answer(state, Position(position))
            answers[AnswerKey(principal, row_id)] = answer
        else:
            wrapped_keys[UserId(row_id)] = state
    for stored in streams.values():
        stored.sort(key=lambda row: row.version)
    return Loaded(streams, wrapped_keys, frozenset(sessions), answers)
