"""Wait until the read models have applied a position: announced by the projector, or polled.

Under load, the projector announces its writes hundreds of times a second. The process therefore
listens only while a reader waits, and for a while after.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import redis.asyncio

from query_api.read_limits import OpenPlaces
from shared.errors import InvalidInput, Overloaded, ProjectionBehind
from shared.ids import POSITION_MAX, START, Position
from shared.read_model.clients import AsyncClient, subscription
from shared.read_model.keys import APPLIED_CHANNEL

WAIT_MAX_S = 2.0
POLL_S = 0.05
WAITERS_MAX = 2_000
LOOK_EVERY_S = 1.0
# Keep listening for this long: a new subscription would cost the next waiter some milliseconds.
LISTEN_ON_S = 5.0
# Probe a subscription that has been silent for this long.
SILENT_MAX_S = 3.0
DIGITS_MAX = 19


class Positioned(Protocol):
    """The result of a read: its position is the oldest checkpoint among its partitions."""

    @property
    def position(self) -> Position: ...


Read = TypeVar("Read", bound=Positioned)


def parse_position(header: str | None) -> Position:
    """Return the position in `Starfold-At-Least`; raise `InvalidInput` if it is not one."""
    if header is None:
        return START
    # Limit the length first: `int` takes quadratic time, and Python refuses very long texts.
    if len(header) <= DIGITS_MAX and header.isascii() and header.isdigit():
        position = int(header)
        if position <= POSITION_MAX:
            return Position(position)
    raise InvalidInput("Starfold-At-Least is not a position", pointer="/header/starfold-at-least")


class Freshness:
    """Repeats a read until it is fresh enough."""

    def __init__(self, client: AsyncClient, places: OpenPlaces) -> None:
        self._client = client
        self._places = places
        self._news = asyncio.Event()
        self._needed = asyncio.Event()
        self._needed_at = 0.0
        self._waiters = 0

    async def at_least(self, wanted: Position, read: Callable[[], Awaitable[Read]]) -> Read:
        """Return a read no older than `wanted`; raise `ProjectionBehind` after `WAIT_MAX_S`."""
        news = self.news
        result = await read()
        if result.position >= wanted:
            return result
        if self._waiters >= WAITERS_MAX:
            raise Overloaded(f"{self._waiters} readers are waiting for a position already")
        with self._places.place():
            self._waiters += 1
            try:
                return await self._wait(wanted, read, news)
            finally:
                self._waiters -= 1

    @property
    def news(self) -> asyncio.Event:
        """The event of the next write; take it before a read, so that no write is missed."""
        return self._news

    async def wait_for(self, news: asyncio.Event, seconds: float) -> None:
        """Return when the projector has written something, or after the given time."""
        self._needed_at = asyncio.get_running_loop().time()
        self._needed.set()
        # Not `asyncio.wait_for`: before Python 3.12 it may swallow the cancellation of its caller.
        try:
            async with asyncio.timeout(seconds):
                await news.wait()
        except TimeoutError:
            return

    def tell(self) -> None:
        """Wake the waiters; later readers wait for the next news."""
        self._news.set()
        self._news = asyncio.Event()

    async def step(self, alive: Callable[[], None]) -> None:
        """Listen to the projector while a reader waits, or wait a while for such a reader."""
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._needed.wait()
        except TimeoutError:
            return
        await self._listen(alive)

    async def _wait(
        self, wanted: Position, read: Callable[[], Awaitable[Read]], news: asyncio.Event
    ) -> Read:
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + WAIT_MAX_S
        while True:
            await self.wait_for(news, POLL_S)
            news = self.news
            result = await read()
            if result.position >= wanted:
                return result
            if loop.time() >= give_up_at:
                raise ProjectionBehind(
                    f"the read model is at position {result.position}, not yet at {wanted}"
                ).at(result.position)

    async def _listen(self, alive: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()
        async with subscription(self._client, APPLIED_CHANNEL) as subscribed:
            # The first message confirms the subscription: read what was written before it.
            heard_at_s, asked = loop.time(), False
            while loop.time() - self._needed_at <= LISTEN_ON_S:
                if await subscribed.get_message(timeout=LOOK_EVERY_S) is not None:
                    self.tell()
                    heard_at_s, asked = loop.time(), False
                elif loop.time() - heard_at_s > SILENT_MAX_S:
                    # Nothing was written, or the server vanished without closing the connection.
                    if asked:
                        raise redis.ConnectionError("the subscription does not answer")
                    await subscribed.ping()
                    heard_at_s, asked = loop.time(), True
                alive()
            self._needed.clear()
