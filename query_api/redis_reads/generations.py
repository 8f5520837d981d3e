"""The active generation of each projection: the readers' copy, read whenever it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from query_api.redis_reads.single_reads import read_value
from shared.errors import DocumentDamaged, Unavailable
from shared.read_model.clients import AsyncClient, subscription
from shared.read_model.generations import GenerationCopy, generation_copy
from shared.read_model.keys import GENERATIONS_CHANNEL, GENERATIONS_KEY

# Backstop for a missed announcement of a switch.
REFRESH_EVERY_S = 1.0
PARTITIONS_MAX = 16_384

_decode = msgspec.json.Decoder(dict[str, GenerationCopy]).decode

# The readers' copy by projection.
Copy = dict[str, GenerationCopy]


class ActiveGenerations:
    """A cache that may be a moment old: the projector keeps following a retired generation.

    A damaged copy leaves the cache unchanged; the projector writes another within a second.
    """

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._copy: Copy = {}
        self._refreshing: asyncio.Task[None] | None = None

    def get(self, projection: str) -> GenerationCopy | None:
        return self._copy.get(projection)

    async def require(self, projection: str) -> GenerationCopy:
        """Return the active generation; raise `Unavailable` while there is none."""
        generation = self._copy.get(projection)
        if generation is None:
            await self.refresh()
            generation = self._copy.get(projection)
        if generation is None:
            raise Unavailable(f"the read model {projection} is being built")
        return generation

    async def refresh(self) -> None:
        """Read the copy again; simultaneous callers share one read."""
        if self._refreshing is None:
            self._refreshing = asyncio.get_running_loop().create_task(self._read())
            # All of its callers may have left by then.
            self._refreshing.add_done_callback(_retrieve)
        await asyncio.shield(self._refreshing)

    async def step(self, alive: Callable[[], None]) -> None:
        """Refresh whenever a new copy is announced, and every `REFRESH_EVERY_S`."""
        async with subscription(self._client, GENERATIONS_CHANNEL) as subscribed:
            while True:
                # The first message confirms the subscription: read the copy then.
                await subscribed.get_message(timeout=REFRESH_EVERY_S)
                await self.refresh()
                alive()

    async def _read(self) -> None:
        try:
            stored = await read_value(self._client, GENERATIONS_KEY)
        finally:
            self._refreshing = None
        self._copy = {} if stored is None else _decoded(stored)


def _decoded(stored: bytes) -> Copy:
    """Decode the copy; raise `DocumentDamaged` for a damaged one."""
    try:
        found: Copy = _decode(stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DocumentDamaged("the readers' copy of the generations cannot be decoded") from error
    for projection, copy in found.items():
        whole = generation_copy(projection, copy.number, copy.definition_version, copy.partitions)
        if copy.checksum not in (0, whole.checksum) or not 0 < copy.partitions <= PARTITIONS_MAX:
            raise DocumentDamaged("the readers' copy of the generations is damaged")
    return found


def _retrieve(ended: asyncio.Task[Any]) -> None:
    if not ended.cancelled():
        ended.exception()
