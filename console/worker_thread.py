"""A thread that has the read models' connections, for reads that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import redis
import structlog
from eventsourcing.persistence import PersistenceError

from ops.failures import failure_text
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.errors import Overloaded, Unavailable

Value = TypeVar("Value")

# The errors of a server that does not answer.
SERVER_ERRORS = (PersistenceError, psycopg.Error, redis.RedisError, OSError)
# Functions that run or wait.
WAITING_MAX = 32

log = structlog.get_logger()


class WiredThread:
    """Runs one function at a time on its thread, with connections that it opens at first use."""

    def __init__(self, settings: ProjectorSettings, name: str) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._waiting = 0
        self._wiring: Wiring | None = None

    async def run(self, function: Callable[[Wiring], Value]) -> Value:
        """Return the function's value.

        Raises `Overloaded` if too many wait, and `Unavailable` if a server does not answer.
        """
        if self._waiting >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} requests wait for the log or the read models already")
        self._waiting += 1
        try:
            return await self._on_thread(self._run, function)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Wait for the functions that were asked for, and close the connections."""
        await self._on_thread(self._close)
        self._thread.shutdown()

    async def _on_thread(self, function: Callable[..., Value], *arguments: object) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, function, *arguments)

    def _run(self, function: Callable[[Wiring], Value]) -> Value:
        try:
            if self._wiring is None:
                self._wiring = wire(self._settings)
            return function(self._wiring)
        except SERVER_ERRORS as error:
            # The text of an error may name hosts, roles and databases.
            log.warning("read_failed", error=failure_text(error))
            raise Unavailable("the log or the read models do not answer") from error

    def _close(self) -> None:
        if self._wiring is not None:
            self._wiring.close()
