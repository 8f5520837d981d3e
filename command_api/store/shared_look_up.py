"""A database look-up shared by requests, for routes without a rate limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Result = TypeVar("Result")


class SharedLookUp(Generic[Result]):
    """A look-up that runs at most once at a time.

    Callers during a look-up get the result of the next one, which begins after their call: it is as
    recent as a look-up of their own.
    """

    def __init__(self, look_up: Callable[[], Awaitable[Result]]) -> None:
        self._look_up = look_up
        self._running: asyncio.Task[Result] | None = None
        self._next: asyncio.Task[Result] | None = None

    async def __call__(self) -> Result:
        """Return the shared result; raise what the look-up raises."""
        if self._next is None:
            self._next = asyncio.create_task(self._run(self._running), name="shared-look-up")
            self._next.add_done_callback(_retrieve)
        return await asyncio.shield(self._next)

    async def _run(self, before: asyncio.Task[Result] | None) -> Result:
        if before is not None:
            await asyncio.wait([before])
        self._running, self._next = self._next, None
        return await self._look_up()


def _retrieve(task: asyncio.Task[Result]) -> None:
    """Retrieve the exception even if every caller has been cancelled."""
    if not task.cancelled():
        task.exception()
