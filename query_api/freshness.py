"""Waiting until the read models have applied a position: pushed by the projector, polled as a
backstop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import redis.asyncio
import structlog

from shared.errors import InvalidInput, Overloaded, ProjectionBehind
from shared.ids import START, Position
from shared.read_model import APPLIED_CHANNEL

WAIT_MAX_S = 2.0
POLL_S = 0.05
WAITERS_MAX = 2_000
RECONNECT_S = 0.5
POSITION_MAX = 2**63 - 1

log = structlog.get_logger()


class Positioned(Protocol):
    """What a read says of itself: the oldest checkpoint among its partitions."""

    @property
    def position(self) -> Position: ...


Read = TypeVar("Read", bound=Positioned)


def parse_position(header: str | None) -> Position:
    """The value of `Starfold-At-Least`; raises `InvalidInput` unless it is a position."""
    if header is None:
        return START
    if not (header.isascii() and header.isdigit()) or int(header[:20]) > POSITION_MAX:
        raise InvalidInput("Starfold-At-Least is not a position", pointer="Starfold-At-Least")
    return Position(int(header))


class Freshness:
    """Repeats a read until it is new enough."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._applied = asyncio.Event()
        self._waiters = 0

    async def at_least(self, wanted: Position, read: Callable[[], Awaitable[Read]]) -> Read:
        """The read, no older than `wanted`; raises `ProjectionBehind` after `WAIT_MAX_S`."""
        result = await read()
        if result.position >= wanted:
            return result
        if self._waiters >= WAITERS_MAX:
            raise Overloaded(f"{self._waiters} readers are waiting for a position already")
        self._waiters += 1
        try:
            return await self._wait(wanted, read)
        finally:
            self._waiters -= 1

    async def wait_for_news(self, seconds: float) -> None:
        """Return when the projector has written something, or after the given time."""
        # Not `asyncio.wait_for`: before Python 3.12 it may swallow the cancellation of its caller.
        try:
            async with asyncio.timeout(seconds):
                await self._applied.wait()
        except TimeoutError:
            return

    async def run(self) -> None:
        """Listen to the projector for ever."""
        while True:
            try:
                await self._listen()
            except (redis.RedisError, OSError) as error:
                log.debug("listening_failed", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_S)

    async def _wait(self, wanted: Position, read: Callable[[], Awaitable[Read]]) -> Read:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + WAIT_MAX_S
        while True:
            await self.wait_for_news(POLL_S)
            result = await read()
            if result.position >= wanted:
                return result
            if loop.time() >= give_up_at:
                raise ProjectionBehind(
                    f"the read model stands at position {result.position}, not yet at {wanted}"
                )

    async def _listen(self) -> None:
        async with self._client.pubsub() as subscription:
            await subscription.subscribe(APPLIED_CHANNEL)
            async for _ in subscription.listen():
                # Whoever waits now is woken; whoever comes later waits for the next message.
                self._applied.set()
                self._applied = asyncio.Event()
