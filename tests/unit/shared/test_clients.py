"""Addresses of clusters, and the slots of keys."""

from __future__ import annotations

import pytest
from pydantic import SecretStr
from redis.crc import key_slot

from ops.settings import JobsSettings
from shared.process.cluster_address import cluster_address
from shared.read_model.clients import prefix_of, slot_of
from shared.read_model.keys import GENERATIONS_KEY, PartitionKeys

KEYS = PartitionKeys("movies", 3, 7)


def test_a_cluster_is_named_by_some_of_its_nodes() -> None:
    address = cluster_address(
        "rediss+cluster://u:p%40@one:7001,[::1]:7002,three?ssl_cert_reqs=none"
    )
    assert address is not None
    assert address.nodes == (("one", 7001), ("::1", 7002), ("three", 6379))
    assert address.url_of("::1", 7002) == "rediss://u:p%40@[::1]:7002?ssl_cert_reqs=none"
    plain = cluster_address("redis+cluster://one:7001")
    assert plain is not None
    assert plain.url_of("one", 7001) == "redis://one:7001"


@pytest.mark.parametrize("url", ["redis://one:7001", "unix:///run/redis.sock"])
def test_another_address_names_no_cluster(url: str) -> None:
    assert cluster_address(url) is None


@pytest.mark.parametrize("url", ["redis+cluster://", "redis+cluster://h:x", "redis+cluster://h/1"])
def test_an_address_that_cannot_be_read_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address|invalid port"):
        cluster_address(url)


def test_the_jobs_need_a_single_server() -> None:
    with pytest.raises(ValueError, match="names a cluster"):
        JobsSettings(jobs_redis_url=SecretStr("redis+cluster://one:7001"))


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("GET", GENERATIONS_KEY), GENERATIONS_KEY),
        (("MGET", KEYS.checkpoint, KEYS.document("movie", "a")), KEYS.document("movie", "a")),
        (("EVALSHA", "0" * 40, 1, KEYS.checkpoint, b"new"), KEYS.checkpoint),
        (("EVALSHA_RO", "0" * 40, 1, KEYS.checkpoint), KEYS.document("raters", "b")),
    ],
)
def test_a_command_goes_to_the_slot_of_its_keys(
    command: tuple[str | int | bytes, ...], key: str
) -> None:
    assert slot_of(prefix_of(command)) == key_slot(key.encode())
