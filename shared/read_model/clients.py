"""Clients of Redis: every process makes them here, with their deadlines."""

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
# A connection that was idle for this time is tried before it is used.
TRIED_AFTER_IDLE_S = 15

# A command as the wire has it. hiredis types its argument as a tuple of one value, and takes any.
packed = cast("Callable[[Sequence[int | str | bytes]], bytes]", pack_command)


def redis_client(url: str) -> redis.Redis:
    """A client for one thread at a time. Connects when it is first needed; retries nothing."""
    return redis.Redis.from_url(
        url, **_options(url, CONNECT_WITHIN_S), socket_timeout=ANSWER_WITHIN_S
    )


def async_redis_client(url: str, *, connect_within_s: float) -> redis.asyncio.Redis:
    """The same for an event loop."""
    return redis.asyncio.Redis.from_url(
        url, **_options(url, connect_within_s), socket_timeout=ANSWER_WITHIN_S
    )


def require_no_cluster(client: redis.Redis, variable: str) -> None:
    """Raise `Misconfigured` where the server is a cluster's node.

    Raises Redis's errors if it does not answer. A server that tells nothing is believed to be none.
    """
    try:
        found: Mapping[str, Any] = client.info("cluster")
    except redis.exceptions.NoPermissionError:
        return
    except redis.ResponseError as error:
        # Most clusters have one database: the connection is refused.
        if "DB index is out of range" in str(error):
            raise Misconfigured(f"{variable} names a database that its server has not") from None
        if "cluster mode" not in str(error):
            raise
        found = {"cluster_enabled": 1}
    if found.get("cluster_enabled"):
        raise Misconfigured(
            f"{variable} leads to a node of a Redis or Valkey cluster, and clusters are not"
            " supported: give the address of one server, with replicas if you like"
        )


def is_wrong_type(error: Exception) -> bool:
    """Whether a command met a key of another type, inside a script too."""
    return "WRONGTYPE" in str(error)


def _options(url: str, connect_within_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_connect_timeout": connect_within_s,
        "health_check_interval": TRIED_AFTER_IDLE_S,
    }
    if not url.startswith("unix:"):  # A Unix socket has no keep-alive.
        options["socket_keepalive"] = True
    return options
