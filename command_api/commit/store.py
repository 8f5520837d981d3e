"""The event store as who commits sees it: one connection, on the event loop.

No thread: between two of them Python's lock changed hands several times a commit, and each waited
for the other while PostgreSQL was waited for. The statements are those of
`shared/log/event_store.py`, which serves all else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from shared.ids import Position, StreamId, Version
from shared.log.append import APPEND, Append
from shared.log.arrays import ADAPTERS, BigintArray, UuidArray
from shared.log.connections import PREPARE_THRESHOLD, AsyncConnection, NoAnswer, conninfo
from shared.log.load import LOAD, Loaded, Wanted, loaded

# What a transaction that holds the append lock may be silent for, before the server ends it.
IDLE_IN_TRANSACTION_MAX_S = 5

# A server that was demoted refuses to write: as good as away, and nothing was written.
CONNECTION_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
)

_STORED = (
    "SELECT e.originator_id, e.originator_version, e.notification_id, e.state"
    " FROM unnest(%s::uuid[], %s::bigint[]) AS wanted (stream_id, version)"
    " JOIN events e ON e.originator_id = wanted.stream_id AND e.originator_version = wanted.version"
)

_HOLD_APPEND_LOCK = (
    "SELECT set_config('idle_in_transaction_session_timeout', %s, true), hold_append_lock()"
)

Place = tuple[StreamId, Version]


class CommitStore:
    """For one caller at a time. Connects when it is first needed, and anew after any error but a
    duplicate; nothing is ever retried here. Errors are psycopg's.
    """

    def __init__(self, dsn: str, *, schema: str = "starfold", pooler: bool = False) -> None:
        self._conninfo = conninfo(dsn, schema=schema, pooler=pooler)
        self._prepare_threshold = None if pooler else PREPARE_THRESHOLD
        self._connection: AsyncConnection[TupleRow] | None = None
        # The last statement, or the last attempt to connect, got no answer at all.
        self.silent = False
        # The server has said that its disk is full, and nothing was written since. It may have
        # ended over that, and end again at each start.
        self.full = False

    async def append(self, append: Append) -> Position:
        """Write all events in order and return the first one's position, 0 for none; the others
        follow without a gap.

        Raises `AppendRefused` when a guard has moved on, `IntegrityError` for a duplicate, and one
        of `CONNECTION_LOST` when the outcome is unknown.
        """
        (row,) = await self._rows(APPEND, append.parameters())
        self.full = False
        return append.first_position(*row)

    async def load(self, wanted: Wanted) -> Loaded:
        """What is wanted, all at one moment."""
        return loaded(await self._rows(LOAD, wanted.parameters()))

    async def stored_at(self, places: Sequence[Place]) -> dict[Place, tuple[Position, bytes]]:
        """Position and state of what stands at the given places of streams; absent places are left
        out.
        """
        streams = UuidArray.of([stream_id for stream_id, _ in places])
        versions = BigintArray.of([version for _, version in places])
        rows = await self._rows(_STORED, [streams, versions])
        return {
            (StreamId(stream_id), Version(version)): (Position(position), state)
            for stream_id, version, position, state in rows
        }

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[None]:
        """What is loaded and appended within is one transaction, in which nobody else appends;
        committed on leaving.
        """
        connection = await self._connected()
        try:
            async with connection.transaction():
                await connection.execute(_HOLD_APPEND_LOCK, [f"{IDLE_IN_TRANSACTION_MAX_S}s"])
                yield
        except psycopg.Error as error:
            self._note_full(error)
            await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection; the next use makes a new one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _rows(self, statement: bytes | str, parameters: Any) -> list[TupleRow]:
        connection = await self._connected()
        try:
            cursor = connection.cursor(binary=True)
            await cursor.execute(statement, parameters, prepare=True)
            rows = await cursor.fetchall()
        except psycopg.IntegrityError:
            raise
        except psycopg.Error as error:
            self.silent = isinstance(error, NoAnswer)
            self._note_full(error)
            await self.close()
            raise
        self.silent = False
        return rows

    def _note_full(self, error: psycopg.Error) -> None:
        self.full = self.full or isinstance(error, psycopg.errors.DiskFull)

    async def _connected(self) -> AsyncConnection[TupleRow]:
        if self._connection is None:
            try:
                self._connection = await AsyncConnection.connect(
                    self._conninfo,
                    autocommit=True,
                    context=ADAPTERS,
                    prepare_threshold=self._prepare_threshold,
                )
            except psycopg.errors.ConnectionTimeout:
                self.silent = True
                raise
        return self._connection
