"""PostgreSQL as the command API reaches it: how to connect, and what its errors mean."""

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

STORAGE_FULL = "the disk of the event store is full: nothing is recorded until there is room"

StoreConnection = AsyncConnection[TupleRow]

# A server that was demoted refuses to write: as good as away, and nothing was written.
_LOST = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.errors.ReadOnlySqlTransaction,
)
_SILENT = (NoAnswer, psycopg.errors.ConnectionTimeout)


class Server:
    """Makes connections, and translates psycopg's errors. Nothing is ever retried here."""

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
        # The server has said that its disk is full, and nothing was written since. It may have
        # ended over that, and end again at each start.
        self.full = False

    async def connect(self) -> StoreConnection:
        """Raise psycopg's errors."""
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
        """Raise `StoreAway` where the connection could not be made or was lost, `StorageFull` where
        the server has rolled back what did not fit, `AppendRefused` for a duplicate, and other
        errors of psycopg's as they are.
        """
        try:
            yield
        except psycopg.IntegrityError as error:
            raise AppendRefused(cause_of(error)) from error
        except _LOST as error:
            full = isinstance(error, psycopg.errors.DiskFull)
            self.full = self.full or full
            # With a severity above that of an error it has ended instead, perhaps after the commit.
            if full and error.diag.severity_nonlocalized == "ERROR":
                raise StorageFull(STORAGE_FULL) from error
            raise StoreAway(
                "the event store does not answer",
                silent=isinstance(error, _SILENT),
                retry=not full and not isinstance(error, psycopg.errors.ConnectionTimeout),
            ) from error

    def answer_of(self, error: StoreAway) -> StoreAway | StorageFull:
        """Return what to answer: a server whose disk was full may have ended over that."""
        if self.full or is_storage_full(error):
            return StorageFull(STORAGE_FULL)
        return error
