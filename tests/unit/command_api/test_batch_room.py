"""Places of bulk requests, and the bytes of bodies that are still coming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack
from uuid import UUID

import pytest

from command_api.bulk.room import (
    BULK_REQUESTS_MAX,
    BULK_REQUESTS_PER_CALLER_MAX,
    COMING_BYTES_MAX,
    COMING_BYTES_PER_CALLER_MAX,
    BulkRoom,
)
from shared.errors import Overloaded

CALLERS = [UUID(int=n) for n in range(1, 10)]
PART = b"x" * 1_024


async def parts(count: int, until: asyncio.Event) -> AsyncIterator[bytes]:
    """Yield some parts at once, and end when it is set."""
    for _ in range(count):
        yield PART
    await until.wait()


def test_a_caller_has_four_places_and_all_have_sixteen() -> None:
    room = BulkRoom()
    with ExitStack() as taken:
        for caller in CALLERS[: BULK_REQUESTS_MAX // BULK_REQUESTS_PER_CALLER_MAX]:
            for _ in range(BULK_REQUESTS_PER_CALLER_MAX):
                taken.enter_context(room.entered(caller))
            with pytest.raises(Overloaded, match="this caller"):
                room.require_place(caller)
        with pytest.raises(Overloaded, match="16"):
            room.require_place(CALLERS[-1])
    room.require_place(CALLERS[0])


def test_bodies_that_are_coming_have_so_many_bytes_of_a_caller_and_of_all() -> None:
    """At the bound they come, one part more is refused, and what has ended counts no longer."""

    async def run() -> None:
        room, ended = BulkRoom(), asyncio.Event()
        each = COMING_BYTES_PER_CALLER_MAX // len(PART)
        callers = CALLERS[: COMING_BYTES_MAX // COMING_BYTES_PER_CALLER_MAX]
        coming = [asyncio.create_task(room.received(one, parts(each, ended))) for one in callers]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="this caller"):
            await room.received(callers[0], parts(1, ended))
        with pytest.raises(Overloaded, match="already"):
            await room.received(CALLERS[-1], parts(1, ended))
        coming[0].cancel()
        await asyncio.wait(coming[:1])
        again = asyncio.create_task(room.received(callers[0], parts(each, ended)))
        ended.set()
        bodies = await asyncio.gather(*coming[1:], again)
        assert {len(body) for body in bodies} == {COMING_BYTES_PER_CALLER_MAX}

    asyncio.run(run())
