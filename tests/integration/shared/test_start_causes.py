"""A process that cannot start, or serve, says why: the cause in one line, without a secret."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from eventsourcing.persistence import OperationalError
from psycopg.conninfo import make_conninfo

from ops.local.child import ChildSpec
from ops.local.servers import valkey_spec
from shared.errors import Misconfigured
from shared.log.event_store import EventStore
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, require_database
from shared.read_model.clients import require_no_cluster, server_client
from tests.support.ports import free_port
from tests.support.servers import Server
from tests.support.system import System

WRONG = "wRoNg"


def wrong(dsn: str, **changes: str) -> str:
    return make_conninfo(dsn, **changes)


@pytest.fixture(
    params=[
        ({"password": WRONG}, "password authentication failed"),
        ({"user": "nobody_here"}, "nobody_here"),
        ({"dbname": "not_there"}, "not_there"),
        ({"host": "127.0.0.1", "port": "1"}, "Connection refused"),
        ({"host": "nowhere.invalid"}, "resolve host"),
        ({"host": "/nonexistent"}, "/nonexistent"),
    ],
    ids=["password", "role", "database", "refused", "name", "socket"],
)
def fault(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_the_cause_is_named_where_a_process_starts(system: System, fault: Any) -> None:
    changes, cause = fault
    with pytest.raises(Misconfigured, match=f"STARFOLD_DATABASE_URL: .*{cause}") as error:
        require_database(
            wrong(system.dsn(COMMAND_ROLE), **changes), schema=system.schema, pooler=False
        )
    assert_no_secret(system, str(error.value))


def test_the_cause_is_named_where_a_pool_gets_no_connection(
    system: System, fault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.log.event_store.CONNECT_WITHIN_S", 0.8)
    changes, cause = fault
    store = EventStore(wrong(system.dsn(COMMAND_ROLE), **changes), schema=system.schema)
    with pytest.raises(OperationalError, match=cause) as error:
        store.head()
    with pytest.raises(OperationalError, match=cause):
        store.head()
    store.close()
    assert "couldn't get a connection" not in str(error.value)
    assert_no_secret(system, str(error.value))


def assert_no_secret(system: System, said: str) -> None:
    passwords = system.servers.home.secrets().role_passwords.values()
    assert not any(secret in said for secret in (WRONG, *passwords))
    assert "\n" not in said


def test_a_schema_that_was_not_made_is_named(system: System) -> None:
    with pytest.raises(Misconfigured, match="STARFOLD_DATABASE_SCHEMA"):
        require_database(system.dsn(COMMAND_ROLE), schema="not_made", pooler=False)


def started(module: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def assert_one_line(done: subprocess.CompletedProcess[str], cause: str) -> None:
    said = done.stderr.strip().splitlines()
    assert done.returncode == 1
    assert len(said) == 1
    assert cause in said[0]


def test_a_command_api_with_a_wrong_password_says_so_and_ends(system: System) -> None:
    dsn = wrong(system.dsn(COMMAND_ROLE), password=WRONG)
    done = started("command_api", {**system.command_environment(), "STARFOLD_DATABASE_URL": dsn})
    assert_one_line(done, "password authentication failed")
    assert_no_secret(system, done.stderr.strip())


def test_a_port_in_use_is_named(system: System) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = started("command_api", {**system.command_environment(), "STARFOLD_PORT": port})
    assert_one_line(done, f"port {port}")


@pytest.fixture(scope="module")
def cluster(servers: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a node of a cluster."""
    spec: ChildSpec = valkey_spec(servers.home)
    folder = tmp_path_factory.mktemp("c")
    address = f"/tmp/sf-cluster-{os.getpid()}.sock"
    argv = [spec.argv[0]]
    for name, value in (
        ("port", "0"),
        ("unixsocket", address),
        ("dir", str(folder)),
        ("save", ""),
        ("cluster-enabled", "yes"),
        ("cluster-port", str(free_port())),
    ):
        argv += [f"--{name}", value]
    if "--port" in argv:
        argv[argv.index("--port") + 1] = str(free_port())
    url = f"unix://{address}"

    def ready() -> bool:
        try:
            return bool(redis.Redis.from_url(url).ping())
        except redis.RedisError:
            return False

    node = Server(spec._replace(name="cluster", argv=argv, ready=ready, prepare=lambda: None))
    node.start()
    yield url
    node.stop()


@pytest.mark.parametrize("database", [0, 1])
def test_a_node_of_a_cluster_is_refused(cluster: str, database: int) -> None:
    client = server_client(f"{cluster}?db={database}")
    said = "STARFOLD_REDIS_URL (leads to a node of a|names a database)"
    with pytest.raises(Misconfigured, match=said):
        require_no_cluster(client, "STARFOLD_REDIS_URL")
    client.close()


@pytest.mark.parametrize(
    ("module", "variable"),
    [
        ("projector", "REDIS_URL"),
        ("query_api", "REDIS_URL"),
        ("ops.worker", "JOBS_REDIS_URL"),
    ],
)
def test_every_process_refuses_a_cluster_in_one_line(
    system: System, cluster: str, module: str, variable: str
) -> None:
    environment = system.servers.home.environment(PROJECTOR_ROLE)
    environment["STARFOLD_DATABASE_SCHEMA"] = system.schema
    done = started(module, {**environment, f"STARFOLD_{variable}": cluster})
    assert_one_line(done, f"STARFOLD_{variable} leads to a node of a Redis or Valkey cluster")
