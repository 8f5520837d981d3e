"""Settings of a process that uses the read models; the command API must not import them."""

from __future__ import annotations

import re
from typing import Annotated

import redis
from pydantic import AfterValidator, SecretStr

from shared.process.cluster_address import cluster_address
from shared.process.setting_types import require_host, split_url
from shared.process.settings import Settings


def _redis_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    address = cluster_address(text)
    if address is None:
        _require_server(text)
    else:
        for host, port in address.nodes:
            _require_server(address.url_of(host, port))
    return value


def _single_redis_url(value: SecretStr) -> SecretStr:
    if cluster_address(value.get_secret_value()) is not None:
        raise ValueError("names a cluster, and must name a single server")
    return _redis_url(value)


def _require_server(text: str) -> None:
    url = split_url(text)
    if url.scheme not in ("redis", "rediss", "unix"):
        raise ValueError("does not start with redis://, rediss://, unix:// or redis+cluster://")
    if url.scheme == "unix":
        if len(url.path) < 2:
            raise ValueError("names no socket after unix://")
    else:
        require_host(url.hostname or "")
        if not re.fullmatch(r"(/\d{0,5})?", url.path):
            raise ValueError("has a path that is not the number of a database")
    if url.fragment:
        raise ValueError("has a # in it: write it as %23")
    try:
        # Creates a connection without connecting: that checks the parameters.
        redis.Redis.from_url(text).connection_pool.make_connection()
    except (TypeError, ValueError, redis.RedisError):
        raise ValueError("has an unknown parameter, or an invalid value of one") from None


# A server, or a cluster.
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
SingleRedisUrl = Annotated[SecretStr, AfterValidator(_single_redis_url)]


class RedisSettings(Settings):
    """Settings of a process that uses the read models."""

    redis_url: RedisUrl
