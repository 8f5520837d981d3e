"""Clients of Redis for every process, with their timeouts: of one server, or of a cluster.

All keys of a partition have one hash tag, so that each command has its keys in one slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any, cast

import redis
import redis.asyncio
from hiredis import pack_command
from redis.asyncio.cluster import ClusterNode as AsyncClusterNode
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterDownError,
    MovedError,
    RedisClusterException,
    TryAgainError,
)
from redis.retry import Retry

from shared.errors import Misconfigured
from shared.process.cluster_address import ClusterAddress, cluster_address

CONNECT_WITHIN_S = 5.0
# The projector writes half a megabyte at once.
ANSWER_WITHIN_S = 10.0
# A connection that was idle for this long is checked before use.
TRIED_AFTER_IDLE_S = 15

# Replies of a cluster's node that does not serve the key now.
REDIRECTIONS = (MovedError, AskError, TryAgainError, ClusterDownError)

Command = Sequence[str | int | bytes]
# A client for one thread at a time.
Client = redis.Redis | redis.RedisCluster
AsyncClient = redis.asyncio.Redis | redis.asyncio.RedisCluster

WRITE_CLUSTER = "write it as redis+cluster://HOST:PORT,HOST:PORT"
NO_CLUSTER = "give the address of a single server, which may have replicas"

# Encode a command for the wire; hiredis types its argument too narrowly.
packed = cast("Callable[[Sequence[int | str | bytes]], bytes]", pack_command)


class Cluster(redis.RedisCluster):
    """Client of a whole cluster; raises the errors of a client of one server."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().execute_command(*args, **kwargs)  # type: ignore[no-untyped-call]  # redis-py's decorators drop the types.
        except RedisClusterException as error:
            raise redis.ConnectionError(str(error)) from error


class AsyncCluster(redis.asyncio.RedisCluster):
    """Client of a whole cluster for an event loop; `address` makes the URL of each node."""

    address: ClusterAddress

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().execute_command(*args, **kwargs)
        except RedisClusterException as error:
            raise redis.ConnectionError(str(error)) from error


def cluster_client(address: ClusterAddress, options: dict[str, Any]) -> Cluster:
    """Connect to a cluster. Raises Redis's errors."""
    first_host, first_port = address.nodes[0]
    try:
        return Cluster(
            url=address.url_of(first_host, first_port),
            startup_nodes=[ClusterNode(host, port) for host, port in address.nodes],
            retry=Retry(NoBackoff(), 1),
            **options,
        )
    except RedisClusterException as error:
        raise redis.ConnectionError(str(error)) from error


def async_cluster_client(address: ClusterAddress, options: dict[str, Any]) -> AsyncCluster:
    """Return a client that connects when it is first needed."""
    url = address.url_of(*address.nodes[0])
    parsed: dict[str, Any] = dict(redis.asyncio.connection.parse_url(url))
    if parsed.pop("connection_class", None) is redis.asyncio.SSLConnection:
        parsed["ssl"] = True
    for one in ("host", "port"):
        parsed.pop(one, None)
    nodes = [AsyncClusterNode(host, port) for host, port in address.nodes]
    retry = redis.asyncio.retry.Retry(NoBackoff(), 1)
    client = AsyncCluster(startup_nodes=nodes, retry=retry, **options, **parsed)
    client.address = address
    return client


@lru_cache(maxsize=8_192)
def slot_of(prefix: str) -> int:
    """Return the slot of the keys that begin with a partition's prefix, or of one whole key."""
    return int(key_slot(prefix.encode()))


def prefix_of(command: Command) -> str:
    """Return what `slot_of` takes for a command: its first key up to the end of the hash tag."""
    key = str(command[3] if str(command[0]).startswith("EVALSHA") else command[1])
    end = key.find("}:")
    return key if end < 0 else key[: end + 2]


def redis_client(url: str) -> Client:
    """Return a client for one thread at a time, which never retries on one server.

    It connects on first use to a server, and at once to a cluster. Raises Redis's errors.
    """
    options = _options(url, CONNECT_WITHIN_S) | {"socket_timeout": ANSWER_WITHIN_S}
    address = cluster_address(url)
    return cluster_client(address, options) if address else server_client(url)


def server_client(url: str) -> redis.Redis:
    """Return a client of one server; it connects on first use and never retries."""
    options = _options(url, CONNECT_WITHIN_S) | {"socket_timeout": ANSWER_WITHIN_S}
    return redis.Redis.from_url(url, **options)


def async_redis_client(url: str, *, connect_within_s: float) -> AsyncClient:
    """Return the client for an event loop; it connects on first use."""
    options = _options(url, connect_within_s) | {"socket_timeout": ANSWER_WITHIN_S}
    address = cluster_address(url)
    if address is not None:
        return async_cluster_client(address, options)
    return redis.asyncio.Redis.from_url(url, **options)


@asynccontextmanager
async def subscription(client: AsyncClient, channel: str) -> AsyncIterator[Any]:
    """Subscribe to a channel, which every node of a cluster passes on. Raises Redis's errors."""
    try:
        if isinstance(client, redis.asyncio.RedisCluster):
            await client.initialize()
        async with client.pubsub() as subscribed:
            await subscribed.subscribe(channel)
            yield subscribed
    except RedisClusterException as error:
        raise redis.ConnectionError(str(error)) from error


def primaries(client: Client) -> list[redis.Redis]:
    """Return a client for each server that holds keys of its own."""
    if isinstance(client, redis.RedisCluster):
        return [client.get_redis_connection(node) for node in client.get_primaries()]
    return [client]


def require_no_cluster(client: redis.Redis, variable: str, wanted: str = WRITE_CLUSTER) -> None:
    """Raise `Misconfigured` if the server is a cluster's node; `wanted` says what to give instead.

    Raises Redis's errors if it does not answer. A server that does not tell counts as no cluster.
    """
    try:
        found: Mapping[str, Any] = client.info("cluster")
    except redis.exceptions.NoPermissionError:
        return
    except redis.ResponseError as error:
        # Most clusters have one database, so they refuse the connection.
        if "DB index is out of range" in str(error):
            raise Misconfigured(f"{variable} names a database that its server lacks") from None
        if "cluster mode" not in str(error):
            raise
        found = {"cluster_enabled": 1}
    if found.get("cluster_enabled"):
        raise Misconfigured(f"{variable} leads to a node of a Redis or Valkey cluster: {wanted}")


def is_wrong_type(error: Exception) -> bool:
    """Whether the error is about a key's type, even inside a script."""
    return "WRONGTYPE" in str(error)


def _options(url: str, connect_within_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_connect_timeout": connect_within_s,
        "health_check_interval": TRIED_AFTER_IDLE_S,
    }
    if not url.startswith("unix:"):  # A Unix socket has no keep-alive.
        options["socket_keepalive"] = True
    return options
