"""Exports read a replica of the database while it has all that the user may have written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from command_api.store.replica import Replica
from command_api.store.server import Server
from command_api.store.store import Store
from shared.errors import Misconfigured
from shared.ids import START
from shared.log.schema import COMMAND_ROLE
from tests.support.api import Api
from tests.support.faults.standby import Pair, started_pair
from tests.support.system import System

EXPORT = "/v1/users/me/export"
LAST_READS = "SELECT query FROM pg_stat_activity WHERE usename = %s"


@pytest.fixture(scope="module")
def servers() -> Iterator[Pair]:
    """Replace the session's servers."""
    with started_pair() as pair:
        yield pair


def last_reads(system: System, pair: Pair) -> str:
    """Return the last statement of each connection of the command API to the replica."""
    with psycopg.connect(pair.replica_dsn(COMMAND_ROLE)) as connection:
        role = connection.info.user
        return " ".join(query for (query,) in connection.execute(LAST_READS, (role,)))


def test_exports_read_the_replica_and_never_lack_the_last_write(
    system: System, servers: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_api.store.replica.CAUGHT_UP_WITHIN_S", 0.2)
    command = system.start_command_api(log_replica_url=servers.replica_dsn(COMMAND_ROLE))
    with Api(command.url, command.url, system.service_key()) as api:
        ann, heat = api.sign_up(), api.movie("Heat", 1995)
        api.rate(ann, heat, 4, review="Downtown.")

        def exported(kind: str = "json") -> Any:
            answer = api.command.get(EXPORT, params={"format": kind}, headers=ann.headers)
            assert answer.status_code == 200, answer.text
            return answer.json() if kind == "json" else answer.text

        by_primary = exported()
        assert by_primary["behind"] == 0
        assert [one["title"] for one in by_primary["ratings"]] == ["Heat"]
        servers.start_standby()
        servers.cut_standby_off()
        assert exported() == by_primary
        assert "FROM sessions" in last_reads(system, servers)
        csv = exported("csv")
        assert "Downtown." in csv
        assert "FROM events" in last_reads(system, servers)
        api.rate(ann, heat, 2, review="Once more.")
        after = exported()
        assert after["position"] > by_primary["position"]
        assert [one["score"] for one in after["ratings"][0]["history"]] == [4, 2]
        assert "Once more." in exported("csv")


def test_a_replica_of_another_log_is_refused(system: System, servers: Pair) -> None:
    other = System(servers)

    async def ask() -> None:
        dsn = other.dsn(COMMAND_ROLE)
        stores = [Store(Server(dsn, schema=one.schema)) for one in (system, other)]
        with pytest.raises(Misconfigured, match="another log"):
            await Replica(*stores).having(START)
        for store in stores:
            await store.close()

    try:
        asyncio.run(ask())
    finally:
        other.close()
