"""A look-up that many ask for at once."""

from __future__ import annotations

import asyncio

import pytest

from command_api.store.shared_look_up import SharedLookUp


class Held:
    """Counts its calls, the first of which waits until it is let go."""

    def __init__(self) -> None:
        self.calls = 0
        self.entered = asyncio.Event()
        self.let_go = asyncio.Event()

    async def __call__(self) -> int:
        self.calls += 1
        number = self.calls
        self.entered.set()
        await self.let_go.wait()
        return number


def test_whoever_asks_during_a_look_up_shares_the_next_one() -> None:
    async def run() -> None:
        held = Held()
        look_up = SharedLookUp(held)
        first = asyncio.create_task(look_up())
        await held.entered.wait()
        later = [asyncio.create_task(look_up()) for _ in range(100)]
        await asyncio.sleep(0)
        later[0].cancel()
        held.let_go.set()
        assert await first == 1
        assert await asyncio.gather(*later[1:]) == [2] * 99
        assert await look_up() == 3

    asyncio.run(run())


def test_a_look_up_that_fails_spoils_no_later_one() -> None:
    async def run() -> None:
        failures = [ValueError("away"), None]

        async def look_up() -> int:
            failure = failures.pop(0)
            if failure is not None:
                raise failure
            return 7

        shared = SharedLookUp(look_up)
        with pytest.raises(ValueError, match="away"):
            await shared()
        assert await shared() == 7

    asyncio.run(run())
