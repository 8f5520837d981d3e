"""The event store as requests and upkeep use it, beside the committer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from psycopg.rows import TupleRow

from command_api.deciding.load_result import LoadRequest, LoadResult
from command_api.store.load import LOAD, parameters, result_of
from command_api.store.pool import Pool
from command_api.store.server import Server, StoreConnection
from shared.ids import Position

CONNECTIONS_MAX = 8
DELETED_AT_ONCE_MAX = 10_000

_HEAD = b"SELECT coalesce(max(notification_id), 0) FROM events"
_HOLD_APPEND_LOCK = b"SELECT hold_append_lock()"


class Store:
    """Raises what `Pool.connection` says."""

    def __init__(self, server: Server, *, connections_max: int = CONNECTIONS_MAX) -> None:
        self._pool = Pool(server, size=connections_max)

    async def load(
        self, wanted: LoadRequest, connection: StoreConnection | None = None
    ) -> LoadResult:
        """Return what is wanted, all at one moment, in the transaction of the connection if one is
        given.
        """
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
        """Execute a statement that returns no rows, and return how many it changed."""
        async with self._pool.connection() as connection:
            return (await connection.execute(statement, parameters)).rowcount

    async def delete_all(self, statement: bytes, parameters: Sequence[Any] = ()) -> int:
        """Repeat a deletion whose last parameter limits it until nothing is left, and return how
        many rows it deleted. Several processes may do so.
        """
        total = 0
        while True:
            deleted = await self.execute(statement, [*parameters, DELETED_AT_ONCE_MAX])
            total += deleted
            if deleted < DELETED_AT_ONCE_MAX:
                return total

    @asynccontextmanager
    async def holding_append_lock(self) -> AsyncIterator[StoreConnection]:
        """A transaction in which nobody else appends; committed on leaving."""
        async with self._pool.connection() as connection, connection.transaction():
            await connection.execute(_HOLD_APPEND_LOCK)
            yield connection

    async def close(self) -> None:
        await self._pool.close()
