"""The event store for the committer: one connection of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.store.append import APPEND, Append
from command_api.store.arrays import BigintArray, UuidArray
from command_api.store.load import LOAD, parameters, result_of
from command_api.store.server import Server, StoreConnection
from shared.errors import AppendRefused, StorageFull, StoreAway
from shared.ids import Position, StreamId, Version

# Maximum idle time of a transaction with the append lock before the server ends it.
IDLE_IN_TRANSACTION_MAX_S = 5

_STORED = (
    b"SELECT e.originator_id, e.originator_version, e.notification_id, e.state"
    b" FROM unnest(%s::uuid[], %s::bigint[]) AS wanted (stream_id, version)"
    b" JOIN events e"
    b" ON e.originator_id = wanted.stream_id AND e.originator_version = wanted.version"
)

_HOLD_APPEND_LOCK = (
    "SELECT set_config('idle_in_transaction_session_timeout', %s, true), hold_append_lock()"
)

Place = tuple[StreamId, Version]


class CommitStore:
    """The committer's connection, for one caller at a time.

    Connects on first use, and again after any error but a duplicate. Raises what
    `Server.translating` raises.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        self._connection: StoreConnection | None = None
        # Whether the last statement or connection attempt got no answer at all.
        self.silent = False

    async def append(self, append: Append) -> Position:
        """Write all events in order and return the first one's position, 0 for none.

        The others follow without a gap. Raises `AppendRefused` for a changed guard and for a
        duplicate, and `StoreAway` when the outcome is unknown.
        """
        (row,) = await self._rows(APPEND, append.parameters())
        self.server.full = False
        return append.first_position(*row)

    async def load(self, wanted: LoadRequest) -> LoadResult:
        """Return the requested data in one snapshot."""
        return result_of(await self._rows(LOAD, parameters(wanted)))

    async def stored_at(self, places: Sequence[Place]) -> dict[Place, tuple[Position, bytes]]:
        """Return position and state of the existing events at the given places of streams."""
        streams = UuidArray.of([stream_id for stream_id, _ in places])
        versions = BigintArray.of([version for _, version in places])
        rows = await self._rows(_STORED, [streams, versions])
        return {
            (StreamId(stream_id), Version(version)): (Position(position), state)
            for stream_id, version, position, state in rows
        }

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[None]:
        """Run loads and appends in one transaction, without other appends; commit on leaving."""
        try:
            with self.server.translating():
                connection = await self._connected()
                async with connection.transaction():
                    await connection.execute(_HOLD_APPEND_LOCK, [f"{IDLE_IN_TRANSACTION_MAX_S}s"])
                    yield
        except (psycopg.Error, StoreAway, StorageFull):
            await self.close()
            raise

    async def close(self) -> None:
        """Drop the connection; the next use opens a new one."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()

    async def _rows(self, statement: bytes, parameters: Any) -> list[TupleRow]:
        try:
            with self.server.translating():
                cursor = (await self._connected()).cursor(binary=True)
                await cursor.execute(statement, parameters, prepare=True)
                rows = await cursor.fetchall()
        except AppendRefused:
            raise
        except (psycopg.Error, StoreAway, StorageFull) as error:
            self.silent = isinstance(error, StoreAway) and error.silent
            await self.close()
            raise
        self.silent = False
        return rows

    async def _connected(self) -> StoreConnection:
        if self._connection is None:
            self._connection = await self.server.connect()
        return self._connection
