"""Which generation of each projection is active: the readers' copy, looked at again and again."""

from __future__ import annotations

import asyncio

import msgspec
import redis.asyncio
import structlog

from query_api.single_reads import read_value
from shared.errors import Unavailable
from shared.read_model import GENERATIONS_KEY, GenerationCopy

# So late at most a switch is seen.
REFRESH_EVERY_S = 0.1

log = structlog.get_logger()

_decode = msgspec.json.Decoder(dict[str, GenerationCopy]).decode


class ActiveGenerations:
    """A cache that may be a moment old: a generation that was switched away from goes on being
    followed.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._copy: dict[str, GenerationCopy] = {}
        self._refreshing: asyncio.Task[None] | None = None

    def get(self, projection: str) -> GenerationCopy | None:
        return self._copy.get(projection)

    async def require(self, projection: str) -> GenerationCopy:
        """The active generation; raises `Unavailable` while there is none."""
        generation = self._copy.get(projection)
        if generation is None:
            await self.refresh()
            generation = self._copy.get(projection)
        if generation is None:
            raise Unavailable(f"the read model {projection} is being built")
        return generation

    async def refresh(self) -> None:
        """Read the copy again; callers at the same time share one read."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._read())
        await asyncio.shield(self._refreshing)

    async def run(self) -> None:
        """Refresh for ever; a Redis that is away is waited for."""
        while True:
            try:
                await self.refresh()
            except Unavailable:
                log.debug("generations_unavailable")
            await asyncio.sleep(REFRESH_EVERY_S)

    async def _read(self) -> None:
        try:
            stored = await read_value(self._client, GENERATIONS_KEY)
        finally:
            self._refreshing = None
        self._copy = _decode(stored) if stored else {}
