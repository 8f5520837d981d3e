"""A thread that has the read models' connections, for reads that block."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
import redis
from eventsourcing.persistence import PersistenceError

from ops.failures import failure_text
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.errors import Unavailable

Value = TypeVar("Value")

# The errors of a server that does not answer.
SERVER_ERRORS = (PersistenceError, psycopg.Error, redis.RedisError, OSError)


class WiredThread:
    """Runs one function at a time on its thread, with connections that it opens at first use."""

    def __init__(self, settings: ProjectorSettings, name: str) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._wiring: Wiring | None = None

    async def run(self, function: Callable[[Wiring], Value]) -> Value:
        """Return the function's value; raise `Unavailable` if a server does not answer."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, function)

    def close(self) -> None:
        """Wait for the current function, and close the connections."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _run(self, function: Callable[[Wiring], Value]) -> Value:
        try:
            if self._wiring is None:
                self._wiring = wire(self._settings)
            return function(self._wiring)
        except SERVER_ERRORS as error:
            raise Unavailable(failure_text(error)) from error

    def _close(self) -> None:
        if self._wiring is not None:
            self._wiring.close()
