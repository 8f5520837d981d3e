"""A few connections to PostgreSQL that requests share, on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import structlog
from psycopg.pq import TransactionStatus

from command_api.store.server import Server, StoreConnection
from shared.errors import StoreAway
from shared.log import connections
from shared.log.connections import cause_of

log = structlog.get_logger()


class Pool:
    """Connects on demand, and keeps working connections.

    While the server does not answer, one caller at a time probes it, and all others are refused
    without waiting.
    """

    def __init__(self, server: Server, *, size: int) -> None:
        self._server = server
        self._idle: list[StoreConnection] = []
        self._places = asyncio.Semaphore(size)
        self._silent = False
        self._on_trial = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[StoreConnection]:
        """Yield a connection; raise what `Server.translating` raises.

        It also raises `StorageFull` if the server may have exited because of a full disk.
        """
        on_trial = self._silent
        if on_trial and self._on_trial:
            raise StoreAway("the event store does not answer", silent=True)
        self._on_trial = self._on_trial or on_trial
        try:
            with self._server.translating():
                async with self._place(), self._usable() as connection:
                    yield connection
            self._silent = False
        except StoreAway as error:
            self._silent = error.silent
            log.warning("store_unavailable", error=cause_of(error.__cause__ or error))
            raise self._server.answer_of(error) from error
        finally:
            if on_trial:
                self._on_trial = False

    async def close(self) -> None:
        while self._idle:
            await self._idle.pop().close()

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(connections.CONNECT_WITHIN_S):
                await self._places.acquire()
        except TimeoutError:
            raise StoreAway("no connection to the event store became free", silent=True) from None
        try:
            yield
        finally:
            self._places.release()

    @asynccontextmanager
    async def _usable(self) -> AsyncIterator[StoreConnection]:
        connection = self._idle.pop() if self._idle else await self._server.connect()
        try:
            yield connection
        except psycopg.Error:
            # The fault that broke one connection has broken the idle ones.
            await connection.close()
            await self.close()
            raise
        finally:
            if connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await connection.close()
