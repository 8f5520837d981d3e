"""The users of Redis: each service may do what it needs, and no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from ops.home import redis_users
from ops.home.folder import Home, write_private
from shared.read_model.damage import DAMAGED_KEY
from shared.read_model.keys import APPLIED_CHANNEL
from tests.support.servers import Servers

Connect = Callable[[str], Any]
ALL = (redis_users.QUERY_API, redis_users.PROJECTOR, redis_users.WORKER)
WRITERS = (redis_users.PROJECTOR, redis_users.WORKER)
READ_MODEL_KEY = "sf:{movies:1:0}:test"
JOB_KEY = "rq:test"


@pytest.fixture
def connect(servers: Servers) -> Iterator[Connect]:
    owner = redis.Redis.from_url(servers.home.redis_url())
    opened = [owner]

    def connect(user: str) -> Any:
        opened.append(redis.Redis.from_url(servers.home.redis_url(user)))
        return opened[-1]

    yield connect
    owner.delete(READ_MODEL_KEY, JOB_KEY, DAMAGED_KEY)
    for client in opened:
        client.close()


def test_the_query_api_reads_read_models_and_reports_damaged_ones(connect: Connect) -> None:
    client = connect(redis_users.QUERY_API)
    client.get(READ_MODEL_KEY)
    client.xrange(READ_MODEL_KEY)
    client.sadd(DAMAGED_KEY, "movies:1:0:")
    assert client.scard(DAMAGED_KEY) == 1
    with client.pubsub() as subscription:
        subscription.subscribe(APPLIED_CHANNEL)
        answer: Any = subscription.get_message(timeout=5)
        assert answer["type"] == "subscribe"
    refusals: tuple[Callable[[], Any], ...] = (
        lambda: client.set(READ_MODEL_KEY, "x"),
        lambda: client.delete(READ_MODEL_KEY),
        lambda: client.eval("return redis.call('SET', KEYS[1], 'x')", 1, READ_MODEL_KEY),
        lambda: client.publish(APPLIED_CHANNEL, "1"),
    )
    for refused in refusals:
        with pytest.raises(NoPermissionError):
            refused()


@pytest.mark.parametrize("user", WRITERS)
def test_projector_and_worker_write_read_models(connect: Connect, user: str) -> None:
    client = connect(user)
    client.set(READ_MODEL_KEY, "x")
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.info("persistence")
    client.publish(APPLIED_CHANNEL, "1")
    client.unlink(READ_MODEL_KEY)


def test_jobs_are_the_workers_alone(connect: Connect) -> None:
    connect(redis_users.WORKER).set(JOB_KEY, "x")
    for user in (redis_users.QUERY_API, redis_users.PROJECTOR):
        with pytest.raises(NoPermissionError):
            connect(user).get(JOB_KEY)


@pytest.mark.parametrize("user", ALL)
def test_no_service_may_empty_redis_or_change_it(connect: Connect, user: str) -> None:
    client = connect(user)
    for refused in (
        client.flushall,
        client.acl_list,
        client.shutdown,
        lambda: client.keys("*"),
        lambda: client.config_set("maxmemory", "1"),
        lambda: client.get("another"),
        lambda: client.replicaof("127.0.0.1", "1"),
    ):
        with pytest.raises(NoPermissionError):
            refused()


def test_who_gives_no_name_is_nobody_and_a_health_check_may_ping(servers: Servers) -> None:
    socket = str(servers.home.sockets() / "valkey.sock")
    password = servers.home.secrets().valkey_password
    once = Retry(NoBackoff(), 0)
    for unknown in (
        redis.Redis(unix_socket_path=socket, retry=once),
        redis.Redis(unix_socket_path=socket, password=password, retry=once),
    ):
        with unknown, pytest.raises(AuthenticationError):
            unknown.ping()
    with redis.Redis(
        unix_socket_path=socket, username=redis_users.HEALTH, password="any"
    ) as health:
        assert health.ping()
        with pytest.raises(NoPermissionError):
            health.get(READ_MODEL_KEY)


def test_the_secrets_of_an_earlier_release_are_kept_and_completed(tmp_path: Any) -> None:
    home = Home(tmp_path / "home")
    home.create()
    whole = msgspec.to_builtins(home.secrets())
    earlier = {name: value for name, value in whole.items() if not name.endswith("redis_password")}
    assert len(earlier) == len(whole) - 3
    write_private(home.secrets_file, msgspec.json.encode(earlier))
    completed = home.secrets()
    assert {name: getattr(completed, name) for name in earlier} == earlier
    assert home.secrets() == completed
