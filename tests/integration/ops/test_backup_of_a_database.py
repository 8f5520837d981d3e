"""`starfold backup` and `restore` of a database that is reached by settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner, Result

from ops.backups.archive import Manifest, new_archive, opened_archive
from ops.cli import app
from ops.errors import OperatorError
from ops.home.folder import Home
from shared.errors import Misconfigured
from shared.ids import START
from shared.log.connections import connect
from shared.log.schema import COMMAND_ROLE, create_tables
from tests.conftest import wait_ready
from tests.support.api import Api
from tests.support.servers import Servers
from tests.support.system import System, eventually

Operator = Callable[..., Result]


@pytest.fixture
def run(servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Run a command on a schema."""
    home = servers.home

    def run(schema: str, *arguments: object, **changes: str) -> Result:
        settings = home.environment(COMMAND_ROLE) | {
            "STARFOLD_DATABASE_SCHEMA": schema,
            "STARFOLD_OWNER_DATABASE_URL": home.owner_dsn(),
            "STARFOLD_ERASURE_LEDGER": str(tmp_path / "erasures.jsonl"),
        }
        for name, value in (settings | changes).items():
            monkeypatch.setenv(name, value)
        return CliRunner().invoke(app, [str(one) for one in arguments])

    return run


@pytest.fixture
def empty(system: System) -> Iterator[System]:
    """Another schema, beside the same Redis."""
    other = System(system.servers, keep_redis=True)
    yield other
    other.close()


def done(result: Result) -> str:
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def refusal(result: Result) -> str:
    assert isinstance(result.exception, OperatorError | Misconfigured), result.exception
    return str(result.exception)


def schemas(home: Home) -> set[str]:
    with psycopg.connect(home.owner_dsn()) as connection:
        return {name for (name,) in connection.execute("SELECT nspname FROM pg_namespace")}


def rows(home: Home, schema: str, table: str) -> list[tuple[object, ...]]:
    name = sql.Identifier(schema, table)
    with psycopg.connect(home.owner_dsn()) as connection:
        statement = sql.SQL("SELECT * FROM {} ORDER BY 1, 2").format(name)
        return connection.execute(statement).fetchall()


def test_an_older_log_replaces_read_models_that_are_ahead(
    system: System, empty: System, run: Operator, tmp_path: Path
) -> None:
    """The restored log is another one: the projector drops what Redis has, and builds it again."""
    home, file, key = system.servers.home, tmp_path / "one.tar", system.service_key()
    command, query = system.start_command_api(), system.start_query_api()
    projector = system.start_projector()
    with Api(command.url, query.url, key) as api:
        wait_ready(api)
        ann, movie = api.sign_up(), api.movie("Mirror")
        api.expect(201, api.rate(ann, movie, 4.0))
        while system.projector_wiring().event_index.advance():
            pass
        done(run(system.schema, "backup", file))
        late = api.movie("Solaris")
        api.expect(201, api.rate(ann, late, 1.0))
        assert api.read(f"/v1/movies/{late}")["title"] == "Solaris"
    projector.stop()

    # The sealing key was rotated since: the backup's is the second one.
    own = home.secrets()
    rotated = {
        "STARFOLD_SEALING_KEY": own.reservation_secret,
        "STARFOLD_SECOND_SEALING_KEY": own.sealing_key,
    }
    printed = done(run(empty.schema, "restore", file, **rotated))
    assert "starfold verify" in printed
    # The event index is derived from the log, and no part of a backup.
    assert rows(home, empty.schema, "event_index") == []
    assert rows(home, system.schema, "event_index") != []
    kept = ("service_keys", "subject_keys", "sessions", "idempotency_keys", "migrations")
    for table in kept:
        assert rows(home, empty.schema, table) == rows(home, system.schema, table), table
    assert rows(home, empty.schema, "log_identity") != rows(home, system.schema, "log_identity")

    command, query = empty.start_command_api(), empty.start_query_api()
    empty.start_projector()
    with Api(command.url, query.url, key) as api:
        eventually(lambda: api.get(f"/v1/movies/{late}").status_code == 404)
        wait_ready(api)
        assert api.read(f"/v1/movies/{movie}")["title"] == "Mirror"
        # The log continues after the restored events.
        assert api.rate(ann, api.movie("Stalker"), 5.0).status_code == 201
    positions = [row.position for row in empty.event_store().fetch(START, 1_000)]
    assert positions == sorted(set(positions))
    assert "not empty" in refusal(run(empty.schema, "restore", file))


def test_nothing_is_left_of_a_restore_that_is_refused(
    own: Api, system: System, empty: System, run: Operator, tmp_path: Path
) -> None:
    home, file = system.servers.home, tmp_path / "one.tar"
    ann = own.sign_up()
    own.expect(201, own.rate(ann, own.movie(), 4.0))
    done(run(system.schema, "backup", file))

    other_key = {"STARFOLD_SEALING_KEY": home.secrets().reservation_secret}
    assert "sealing_key is not the one" in refusal(run(empty.schema, "restore", file, **other_key))
    other = {"STARFOLD_RESERVATION_SECRET": home.secrets().sealing_key}
    assert "reservation_secret is not" in refusal(run(empty.schema, "restore", file, **other))

    # After everything is loaded and checked.
    with empty.owner() as connection:
        connection.execute("CREATE TABLE notes (note text)")
    assert "not Starfold's: ['notes']" in refusal(run(empty.schema, "restore", file))
    assert f"restoring_{empty.schema}" not in schemas(home)
    assert rows(home, empty.schema, "events") == []


NO_ORDER = "is not in order in the stream"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("UPDATE events SET originator_version = 3 WHERE originator_version = 2", NO_ORDER),
        ("UPDATE events SET notification_id = -1 WHERE originator_version = 2", NO_ORDER),
        ("DELETE FROM events WHERE originator_version = 1", NO_ORDER),
        ("UPDATE subject_keys SET wrapped = set_byte(wrapped, 20, 1)", "cannot be unwrapped"),
        ("UPDATE subject_keys SET wrapped = ''", "cannot be unwrapped"),
    ],
)
def test_a_log_that_was_damaged_before_the_backup_is_not_restored(
    own: Api, system: System, empty: System, run: Operator, tmp_path: Path, damage: str, told: str
) -> None:
    home, file = system.servers.home, tmp_path / "one.tar"
    ann, movie = own.sign_up(), own.movie()
    own.expect(201, own.rate(ann, movie, 4.0))
    own.expect(200, own.rate(ann, movie, 5.0))
    with system.owner() as connection:
        connection.execute(damage.encode())
    done(run(system.schema, "backup", file))
    assert told in refusal(run(empty.schema, "restore", file))
    assert f"restoring_{empty.schema}" not in schemas(home)
    assert rows(home, empty.schema, "events") == []


@pytest.mark.parametrize(
    "changes",
    [
        {"topics": {"UserCreated": 99}},
        {"topics": {"MovieSold": 1}},
        {"migrations": ["9999_later.sql"]},
        {"format": 2},
    ],
)
def test_a_backup_of_a_newer_release_is_refused(
    system: System, run: Operator, tmp_path: Path, changes: dict[str, object]
) -> None:
    file, newer = tmp_path / "one.tar", tmp_path / "newer.tar"
    done(run(system.schema, "backup", file))
    with opened_archive(file) as archive, new_archive(newer) as writer:
        writer.finish(msgspec.structs.replace(archive.manifest, **changes))
    assert "is of a newer release" in refusal(run(system.schema, "restore", newer))


def test_a_backup_of_an_older_release_is_migrated(
    system: System, empty: System, run: Operator, tmp_path: Path
) -> None:
    home, file = system.servers.home, tmp_path / "one.tar"
    known = sorted(one.name for one in files("shared.log").joinpath("migrations").iterdir())
    older = f"{system.schema}_older"
    with connect(home.owner_dsn()) as connection:
        create_tables(connection, older, known[:9])
        connection.execute(
            "INSERT INTO service_keys (key_id, name, secret_hash, scopes) VALUES (%s, 'x', '', %s)",
            [uuid4(), ["users"]],
        )
    done(run(older, "backup", file))
    done(run(empty.schema, "restore", file))
    assert [name for name, _ in rows(home, empty.schema, "migrations")] == known
    assert rows(home, empty.schema, "incidents") == []
    ((_, _, _, scopes, *_),) = rows(home, empty.schema, "service_keys")
    assert scopes == ["users", "ratings"]
    with connect(home.owner_dsn()) as connection:
        connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(older)))


def test_a_large_table_needs_many_members_of_a_bounded_size(tmp_path: Path) -> None:
    file, block = tmp_path / "one.tar", bytes(1 << 20)
    manifest = Manifest(
        format=1,
        release="1",
        made_at=datetime.now(UTC),
        log_id=uuid4(),
        head=0,
        migrations=[],
        topics={},
        fingerprints={},
        tables=[],
    )
    with new_archive(file) as writer:
        writer.add("tables/events", (block for _ in range(10)))
        writer.finish(manifest)
    with opened_archive(file) as archive:
        assert [len(one) >> 20 for one in archive.content("tables/events")] == [4, 4, 2]
        assert archive.manifest == manifest
