"""Pace of refusals: an address that is refused repeatedly gets each refusal a little later.

A refusal costs the event loop as much as a command. A client that retries at once, over many
connections, would take the event loop away from others; this delay makes its connections wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from starlette.types import Scope

from shared.web.addresses import address_of

# Maximum refusals of one address at once, and per second.
AT_ONCE_MAX = 20
A_SECOND_MAX = 100
DELAY_MAX_S = 1.0
ADDRESSES_MAX = 10_000


class RefusalPace:
    """Counts the refusals of one process, by address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        # By address: when all refusals so far are paid for, at `A_SECOND_MAX`.
        self._paid_at: dict[str, float] = {}

    async def wait(self, scope: Scope) -> None:
        """Wait for the turn of a refusal, at most `DELAY_MAX_S`."""
        delay_s = self.delay_s(address_of(scope))
        if delay_s > 0:
            await asyncio.sleep(delay_s)

    def delay_s(self, address: str) -> float:
        """Count a refusal, and return its delay."""
        now_s = self._clock()
        paid_at = max(self._paid_at.get(address, now_s), now_s)
        delay_s = paid_at - now_s - (AT_ONCE_MAX - 1) / A_SECOND_MAX
        if delay_s >= DELAY_MAX_S:
            return DELAY_MAX_S
        if len(self._paid_at) >= ADDRESSES_MAX:
            self._paid_at.clear()
        self._paid_at[address] = paid_at + 1 / A_SECOND_MAX
        return max(0.0, delay_s)
