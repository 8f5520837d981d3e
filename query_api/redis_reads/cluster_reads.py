"""Reads of partitions that are spread over the nodes of a cluster.

Each node's reads are coalesced separately: a node that hangs delays only its own partitions.
"""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import AskError, MovedError, RedisClusterException

from query_api.redis_reads.coalescing import TIMEOUT_S, CoalescedReads, Read, Reads, Redirected
from shared.errors import Unavailable
from shared.read_model.clients import AsyncClient, AsyncCluster, async_redis_client, slot_of
from shared.read_model.keys import PartitionKeys

# While slots move, a node refuses a read whose keys are on two nodes.
RETRY_AFTER_S = 0.02
RETRIES_FOR_S = 1.0
# Longer than a refresh may take, so that there is one at a time.
REFRESH_EVERY_S = 1.0

log = structlog.get_logger()


def reads_of(client: AsyncClient) -> Reads:
    """Return coalesced reads of a server, or of a cluster's nodes."""
    if isinstance(client, AsyncCluster):
        return ClusterReads(client)
    assert isinstance(client, redis.asyncio.Redis)
    return CoalescedReads(client)


class ClusterReads(Reads):
    """The same reads as of one server, each from the node that serves the partition."""

    def __init__(self, cluster: AsyncCluster) -> None:
        self._cluster = cluster
        self._servers: dict[str, CoalescedReads] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._refresh_again_at = 0.0

    async def read(self, read: Read) -> Any:
        """Read from the partition's node, and from where it redirects to."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + RETRIES_FOR_S
        asked: CoalescedReads | None = None
        while True:
            server = asked or await self._server_of(read.keys)
            try:
                return await server.read(read, asking=asked is not None)
            except Redirected as redirected:
                if loop.time() >= give_up_at:
                    raise
                asked = await self._followed(redirected.error)
            except Unavailable:
                self._refresh()
                raise

    async def close(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
        for server in self._servers.values():
            await server.close()

    async def _followed(self, error: Exception) -> CoalescedReads | None:
        """Note where a slot has moved; return the server to ask for keys that are moving."""
        if isinstance(error, MovedError):
            await self._cluster.nodes_manager.move_slot(error)
            return None
        if isinstance(error, AskError):
            return self._server(error.host, error.port)
        await asyncio.sleep(RETRY_AFTER_S)
        return None

    async def _server_of(self, keys: PartitionKeys) -> CoalescedReads:
        slot = slot_of(keys.prefix)
        nodes = self._cluster.nodes_manager.slots_cache.get(slot)
        if not nodes:
            await self._find_nodes()
            nodes = self._cluster.nodes_manager.slots_cache.get(slot)
        if not nodes:
            raise Unavailable("no node serves a part of the read models")
        return self._server(nodes[0].host, nodes[0].port)

    def _server(self, host: str, port: int | str) -> CoalescedReads:
        url = self._cluster.address.url_of(host, int(port))
        server = self._servers.get(url)
        if server is None:
            client = async_redis_client(url, connect_within_s=TIMEOUT_S)
            assert isinstance(client, redis.asyncio.Redis)
            server = self._servers[url] = CoalescedReads(client)
        return server

    async def _find_nodes(self) -> None:
        """Connect to the cluster for the first time; raise `Unavailable` if none answers."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._cluster.initialize()
        except (redis.RedisError, RedisClusterException, TimeoutError, OSError) as error:
            raise Unavailable("the read models do not answer") from error

    def _refresh(self) -> None:
        """Find out which nodes serve which slots: another one may have taken over."""
        loop = asyncio.get_running_loop()
        if loop.time() >= self._refresh_again_at:
            self._refresh_again_at = loop.time() + REFRESH_EVERY_S
            self._refreshing = loop.create_task(self._find_again())

    async def _find_again(self) -> None:
        try:
            async with asyncio.timeout(0.9 * REFRESH_EVERY_S):
                await self._cluster.nodes_manager.initialize()
        except (redis.RedisError, RedisClusterException, TimeoutError, OSError) as error:
            log.warning("read_models_unavailable", error=f"{type(error).__name__}: {error}")
