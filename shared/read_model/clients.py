"""Clients of Redis for every process, with their timeouts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import redis
import redis.asyncio
from hiredis import pack_command

from shared.errors import Misconfigured

CONNECT_WITHIN_S = 5.0
# The projector writes half a megabyte at once.
ANSWER_WITHIN_S = 10.0
# A connection that was idle for this long is checked before use.
TRIED_AFTER_IDLE_S = 15

# Encode a command for the wire; hiredis types its argument too narrowly.
packed = cast("Callable[[Sequence[int | str | bytes]], bytes]", pack_command)


def redis_client(url: str) -> redis.Redis:
    """Return a client for one thread at a time; it connects on first use and never retries."""
    return redis.Redis.from_url(
        url, **_options(url, CONNECT_WITHIN_S), socket_timeout=ANSWER_WITHIN_S
    )


def async_redis_client(url: str, *, connect_within_s: float) -> redis.asyncio.Redis:
    """Return the client for an event loop."""
    return redis.asyncio.Redis.from_url(
        url, **_options(url, connect_within_s), socket_timeout=ANSWER_WITHIN_S
    )


def require_no_cluster(client: redis.Redis, variable: str) -> None:
    """Raise `Misconfigured` if the server is a cluster's node.

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
        raise Misconfigured(
            f"{variable} leads to a node of a Redis or Valkey cluster, and clusters are not"
            " supported: give the address of a single server, which may have replicas"
        )


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
