"""The append and the schema: what is refused, who may do what."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from eventsourcing.persistence import IntegrityError, OperationalError, StoredEvent
from psycopg import sql

from command_api.store.append import Append, NewRow
from command_api.store.commit_store import CommitStore
from shared.errors import AppendRefused, Misconfigured
from shared.ids import StreamId, Version
from shared.log.event_store import EventStore
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate
from tests.support.system import System

MIGRATORS = 8


def _event(version: int = 1, stream_id: StreamId | None = None) -> StoredEvent:
    return StoredEvent(stream_id or StreamId(uuid4()), version, "Happened", b"state")


def _row() -> NewRow:
    return NewRow(StreamId(uuid4()), Version(1), "Happened", b"state")


def test_an_append_is_all_or_nothing(system: System) -> None:
    store = system.event_store()
    first = _event()
    store.insert_events([first])
    with pytest.raises(IntegrityError):
        store.insert_events([_event(), first])
    assert store.head() == 1


def test_a_guard_that_moved_on_refuses_the_append(system: System) -> None:
    store, appends = system.event_store(), system.commit_store(CommitStore)
    watched = StreamId(uuid4())
    store.insert_events([_event(1, watched)])
    with pytest.raises(AppendRefused, match=str(watched)):
        asyncio.run(appends.append(Append([_row()], {watched: Version(0)})))
    assert asyncio.run(appends.append(Append([_row()], {watched: Version(1)}))) == 2


def test_the_append_refuses_a_stricter_isolation_level(system: System) -> None:
    """It would probe its guards against a snapshot older than its wait for the lock."""
    connection = system.owner()
    connection.execute("SET default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.errors.InvalidTransactionState, match="READ COMMITTED"):
        connection.execute("SELECT append_events('{}', '{}', '{}', '{}')")


def test_the_append_refuses_a_sequence_with_a_cache(system: System) -> None:
    system.owner().execute("ALTER SEQUENCE events_position_seq CACHE 32")
    with pytest.raises(OperationalError, match="CACHE 1"):
        system.event_store().insert_events([_event()])


@pytest.mark.parametrize("role", [COMMAND_ROLE, PROJECTOR_ROLE])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE events SET topic = 'Forged'",
        "DELETE FROM events",
        "TRUNCATE events",
        "DROP TABLE events",
        "CREATE TABLE mine (n int)",
    ],
)
def test_no_service_may_change_the_log(system: System, role: str, statement: str) -> None:
    with (
        psycopg.connect(system.dsn(role), options=f"-c search_path={system.schema}") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement.encode())


def test_the_projector_never_appends(system: System) -> None:
    with pytest.raises(Exception, match="permission denied"):
        system.event_store(PROJECTOR_ROLE).insert_events([_event()])


def test_many_processes_may_migrate_at_once(system: System) -> None:
    schema = f"{system.schema}_migrated"
    home = system.servers.home

    def run(_: int) -> list[str]:
        return migrate(home.owner_dsn(), schema=schema, roles=home.secrets().role_passwords)

    with ThreadPoolExecutor(MIGRATORS) as pool:
        applied = list(pool.map(run, range(MIGRATORS)))
    assert sorted(map(len, applied))[:-1] == [0] * (MIGRATORS - 1)
    assert max(map(len, applied)) > 0
    with psycopg.connect(home.owner_dsn()) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(schema)))


def test_a_database_of_the_release_before_has_one_append_after_the_migration(
    system: System,
) -> None:
    """And that takes the calls of both releases, which run beside each other for a while."""
    owner, home = system.owner(), system.servers.home
    before = (
        "uuid[], bigint[], text[], bytea[], uuid[], bigint[], uuid[], bytea[], uuid[],"
        " uuid[], uuid[], uuid[], uuid[], bytea[], text[], uuid[], bigint[], bigint[]"
    )
    owner.execute(f"CREATE FUNCTION append_events({before}) RETURNS int RETURN 0")
    owner.execute("DELETE FROM migrations WHERE name = '0008_ended_sessions.sql'")
    migrate(home.owner_dsn(), schema=system.schema, roles=home.secrets().role_passwords)
    assert asyncio.run(system.commit_store().append(Append([_row()]))) == 1
    empty = ", ".join(f"'{{}}'::{kind}" for kind in before.split(", "))
    last = owner.execute(f"SELECT last_position FROM append_events({empty})").fetchone()
    assert last == (None,)


def test_a_newer_database_is_refused(system: System) -> None:
    system.owner().execute("INSERT INTO migrations (name) VALUES ('9999_from_the_future.sql')")
    home = system.servers.home
    with pytest.raises(Misconfigured, match="9999_from_the_future"):
        migrate(home.owner_dsn(), schema=system.schema, roles=home.secrets().role_passwords)


def test_a_server_that_could_lose_a_commit_is_refused(system: System) -> None:
    dsn = system.dsn(COMMAND_ROLE) + " options='-c synchronous_commit=off'"
    store = EventStore(dsn, schema=system.schema)
    store.datastore.pool.kwargs["options"] = "-c synchronous_commit=off"  # type: ignore[index]  # A dict.
    with pytest.raises(Misconfigured, match="synchronous_commit"):
        store.require_durability()
    store.close()
