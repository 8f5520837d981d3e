"""Connecting to PostgreSQL for the command API, and translating its errors."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from psycopg.rows import TupleRow

from command_api.store.arrays import ADAPTERS
from shared.errors import AppendRefused, StorageFull, StoreAway
from shared.log.connections import (
    PREPARE_THRESHOLD,
    AsyncConnection,
    NoAnswer,
    cause_of,
    conninfo,
    is_storage_full,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

STORAGE_FULL = "the disk of the event store is full: nothing is recorded until there is space"

StoreConnection = AsyncConnection[TupleRow]

# A demoted server refuses to write: it counts as lost, and nothing was written.
_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
)
_SILENT = (NoAnswer, psycopg.errors.ConnectionTimeout)


class Server:
    """Opens connections, and translates psycopg's errors; it never retries."""

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "starfold",
        pooler: bool = False,
        answer_within_s: float | None = None,
    ) -> None:
        self._conninfo = conninfo(dsn, schema=schema, pooler=pooler)
        self._prepare_threshold = None if pooler else PREPARE_THRESHOLD
        self._answer_within_s = answer_within_s
        # The server has reported a full disk, and nothing was written since. It may have exited
        # because of that, and may exit again at each start.
        self.full = False

    async def connect(self) -> StoreConnection:
        """Open a connection; raise psycopg's errors."""
        connection: StoreConnection = await AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            context=ADAPTERS,
            prepare_threshold=self._prepare_threshold,
        )
        if self._answer_within_s is not None:
            connection.answer_within_s = self._answer_within_s
        return connection

    @contextmanager
    def translating(self) -> Iterator[None]:
        """Translate psycopg's errors.

        Raises `StoreAway` if the connection could not be made or was lost, `StorageFull` if the
        server has rolled back for lack of space, `AppendRefused` for a duplicate, and other errors
        unchanged.
        """
        try:
            yield
        except psycopg.IntegrityError as error:
            raise AppendRefused(cause_of(error)) from error
        except _LOST as error:
            full = isinstance(error, psycopg.errors.DiskFull)
            self.full = self.full or full
            # A severity above ERROR means that the server exited, perhaps after the commit.
            if full and error.diag.severity_nonlocalized == "ERROR":
                raise StorageFull(STORAGE_FULL) from error
            raise StoreAway(
                "the event store does not answer",
                silent=isinstance(error, _SILENT),
                retry=not full and not isinstance(error, psycopg.errors.ConnectionTimeout),
            ) from error

    def answer_of(self, error: StoreAway) -> StoreAway | StorageFull:
        """Return the error to answer with: a server with a full disk may have exited."""
        if self.full or is_storage_full(error):
            return StorageFull(STORAGE_FULL)
        return error
