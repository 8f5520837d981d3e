"""The event store for requests and upkeep, beside the committer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg.rows import TupleRow

from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.store.load import LOAD, parameters, result_of
from command_api.store.pool import Pool
from command_api.store.server import Server, StoreConnection
from shared.ids import Position, UserId

CONNECTIONS_MAX = 8
DELETED_AT_ONCE_MAX = 10_000

_HEAD = b"SELECT coalesce(max(notification_id), 0) FROM events"
_HOLD_APPEND_LOCK = b"SELECT hold_append_lock()"
_HOLD_USER = b"SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class Store:
    """Reads and statements on pooled connections; raises what `Pool.connection` raises."""

    def __init__(self, server: Server, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._pool = Pool(server, size=connections_max)

    async def load(
        self, wanted: LoadRequest, connection: StoreConnection | None = None
    ) -> LoadResult:
        """Return the requested data in one snapshot, in the given transaction if any."""
        return result_of(await self.rows(LOAD, parameters(wanted), connection))

    async def head(self) -> Position:
        """Return the last position of the log, 0 when it is empty."""
        ((head,),) = await self.rows(_HEAD)
        return Position(head)

    async def rows(
        self,
        statement: bytes,
        parameters: Sequence[Any] | dict[str, Any] = (),
        connection: StoreConnection | None = None,
    ) -> list[TupleRow]:
        """Return the rows of a statement."""
        if connection is None:
            async with self._pool.connection() as pooled:
                return await self.rows(statement, parameters, pooled)
        cursor = connection.cursor(binary=True)
        await cursor.execute(statement, parameters, prepare=True)
        return await cursor.fetchall()

    async def execute(self, statement: bytes, parameters: Sequence[Any]) -> int:
        """Execute a statement without result rows, and return the number of changed rows."""
        async with self._pool.connection() as connection:
            return (await connection.execute(statement, parameters)).rowcount

    async def delete_all(self, statement: bytes, parameters: Sequence[Any] = ()) -> int:
        """Repeat a deletion, whose last parameter limits it, until nothing is left.

        Return the number of deleted rows. Several processes may do so at once.
        """
        total = 0
        while True:
            deleted = await self.execute(statement, [*parameters, DELETED_AT_ONCE_MAX])
            total += deleted
            if deleted < DELETED_AT_ONCE_MAX:
                return total

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[StoreConnection]:
        """Yield a transaction without other appends; commit on leaving."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_HOLD_APPEND_LOCK)
            yield connection

    @asynccontextmanager
    async def alone(self, user_id: UserId) -> AsyncIterator[StoreConnection]:
        """Yield a transaction that no other one of the user is in; commit on leaving."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_HOLD_USER, [str(user_id)])
            yield connection

    async def close(self) -> None:
        await self._pool.close()
