"""Behind a transaction pooler, and what is said where one is not expected."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from projector.log.wakeup import WakeUp
from shared.errors import Misconfigured
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, require_database
from tests.conftest import Starfold, Work, wait_ready
from tests.support.api import Api
from tests.support.builders import a_movie
from tests.support.commits import commit
from tests.support.pgbouncer import Pooled, pgbouncer
from tests.support.processes import Process
from tests.support.read_models import active, wait_until_applied
from tests.support.system import System, eventually

USERS = 8


@pytest.fixture
def pooled(system: System) -> Iterator[Pooled]:
    with pgbouncer(system) as running:
        yield running


def through(pooled: Pooled, role: str) -> dict[str, Any]:
    return {"database_url": pooled.dsn(role), "database_pooler": True}


@pytest.fixture
def api(system: System, pooled: Pooled) -> Iterator[Api]:
    command = system.start_command_api(**through(pooled, COMMAND_ROLE))
    query = system.start_query_api()
    system.start_projector(**through(pooled, PROJECTOR_ROLE))
    with Api(command.url, query.url, system.service_key()) as client:
        wait_ready(client)
        yield client


def test_all_works_through_a_transaction_pooler(system: System, api: Api, pooled: Pooled) -> None:
    """With more clients than the pooler has connections, and two command APIs."""
    other = system.start_command_api(**through(pooled, COMMAND_ROLE))
    movie_id = api.movie(imdb_id="tt0079944")
    users = [api.sign_up() for _ in range(USERS)]
    with (
        Api(other.url, str(api.query.base_url), system.service_key()) as second,
        ThreadPoolExecutor(USERS) as pool,
    ):
        rated = pool.map(
            lambda at: (api, second)[at % 2].rate(users[at % USERS], movie_id, 1 + at % 4),
            range(6 * USERS),
        )
        assert {answer.status_code for answer in rated} <= {200, 201}
    key = {"Idempotency-Key": "once", **users[0].headers}
    path = f"/v1/movies/{movie_id}/rating"
    first, again = (api.command.put(path, json={"score": 5}, headers=key) for _ in range(2))
    assert first.headers["Starfold-Position"] == again.headers["Starfold-Position"]
    api.note(again)
    eventually(lambda: api.query.get(f"/v1/movies/{movie_id}").json()["ratings"]["count"] == USERS)
    assert api.command.get("/ready").status_code == 200


def test_operators_commands_and_a_workers_job_work_through_it(
    system: System,
    api: Api,
    pooled: Pooled,
    starfold: Starfold,
    work: Work,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STARFOLD_DATABASE_URL", pooled.dsn(PROJECTOR_ROLE))
    monkeypatch.setenv("STARFOLD_DATABASE_POOLER", "true")
    api.rate(api.sign_up(), api.movie(), 4)
    assert starfold("replay", "movies", "--detach").exit_code == 0
    work()
    wait_until_applied(system.projector_wiring())
    eventually(lambda: active(system.projector_wiring(), "movies").number == 2)
    assert starfold("verify").exit_code == 0
    assert starfold("status").exit_code == 0


def test_a_projector_behind_a_pooler_hears_of_events_over_a_direct_connection(
    system: System, pooled: Pooled
) -> None:
    polling = system.projector_settings(**through(pooled, PROJECTOR_ROLE))
    assert polling.listen_dsn is None
    settings = system.projector_settings(
        **through(pooled, PROJECTOR_ROLE), listen_database_url=system.dsn(PROJECTOR_ROLE)
    )
    wake_up = WakeUp(settings.listen_dsn)
    wake_up.listen()
    commit(system.committer(), a_movie())
    # Without a notification this would take an hour.
    wake_up.wait(3_600)
    wake_up.close()


@pytest.mark.parametrize("module", ["command_api", "projector", "ops.worker"])
def test_a_process_behind_a_pooler_without_the_setting_says_so_and_ends(
    system: System, module: str
) -> None:
    role = COMMAND_ROLE if module == "command_api" else PROJECTOR_ROLE
    environment = {**system.servers.home.environment(role), **system.command_environment()}
    with refusing("unsupported startup parameter: options") as port:
        dsn = f"host=127.0.0.1 port={port} user=u dbname=d password=hidden gssencmode=disable"
        process = Process(system, module, environment | {"STARFOLD_DATABASE_URL": dsn})
        assert process.wait_stopped() == 1
    (said,) = (line for line in process.output.read_text().splitlines() if "starfold" in line)
    assert "STARFOLD_DATABASE_POOLER=true" in said
    assert "hidden" not in process.output.read_text()


def test_a_process_is_told_of_a_pooler_that_drops_what_a_session_begins_with(
    system: System,
) -> None:
    # Another schema than the role's own, as before the migrations.
    system.owner().execute(
        f"ALTER ROLE {COMMAND_ROLE} IN DATABASE starfold SET search_path = nowhere"
    )
    require_database(system.dsn(COMMAND_ROLE), schema=system.schema, pooler=False)
    with (
        pgbouncer(system, ignored="extra_float_digits, options") as pooled,
        pytest.raises(Misconfigured, match="STARFOLD_DATABASE_POOLER"),
    ):
        require_database(pooled.dsn(COMMAND_ROLE), schema=system.schema, pooler=True)


@contextmanager
def refusing(message: str) -> Iterator[int]:
    """A port at which every connection is refused as PgBouncer and PostgreSQL do it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                (length,) = struct.unpack("!I", client.recv(4))
                request = client.recv(length - 4)
                if length == 8:  # Asks for TLS first.
                    client.sendall(b"N")
                    (length,) = struct.unpack("!I", client.recv(4))
                    request = client.recv(length - 4)
                assert request
                fields = f"SFATAL\0C08P01\0M{message}\0\0".encode()
                client.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)

    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def test_a_pooler_that_refuses_what_a_session_begins_with_is_named() -> None:
    with refusing("unsupported startup parameter: options") as port:
        dsn = f"host=127.0.0.1 port={port} user=u dbname=d password=hidden gssencmode=disable"
        with pytest.raises(Misconfigured, match="STARFOLD_DATABASE_POOLER=true") as refused:
            require_database(dsn, schema="starfold", pooler=False)
    assert "hidden" not in str(refused.value)
