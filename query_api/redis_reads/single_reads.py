"""Reads of keys outside all partitions: the active generations and the projector's status."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio

from shared.errors import Unavailable
from shared.read_model.clients import AsyncClient

TIMEOUT_S = 1.0


async def read_value(client: AsyncClient, key: str) -> bytes | None:
    """Return the value, None if there is none; raise `Unavailable` when Redis does not answer."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            # The library's type leaves open whether replies are decoded; they are not.
            value: Any = await client.get(key)
    except (redis.RedisError, TimeoutError, OSError) as error:
        raise Unavailable("the read models do not answer") from error
    return None if value is None else bytes(value)
