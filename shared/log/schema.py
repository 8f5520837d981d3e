"""The database schema: numbered migrations, functions, roles and their rights.

Any number of processes may migrate at once: one does the work while the others wait for its lock.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from typing import Any

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import tuple_row

from shared.errors import Misconfigured
from shared.log.connections import cause_of, connect, is_poolers_refusal, session_settings

COMMAND_ROLE = "starfold_command"
PROJECTOR_ROLE = "starfold_projector"

# A migration may rewrite a large table.
MIGRATED_WITHIN_S = 3_600.0
_LOCK_ID = 0x5346_4D49_4752  # "SFMIGR" in ASCII.
# Replaced at every start, so that a release always runs with its own functions.
_FOLDER = files("shared.log")
_FUNCTIONS = ("lock.sql", "append.sql")

log = structlog.get_logger()


def migrate(owner_dsn: str, *, schema: str = "starfold", roles: Mapping[str, str]) -> list[str]:
    """Bring the schema to this release's state and return the names of the migrations applied.

    `roles` maps each of `COMMAND_ROLE` and `PROJECTOR_ROLE` to its password. Raises `Misconfigured`
    when the database is newer than this release, or when the server could lose a commit.
    """
    with connect(owner_dsn, autocommit=True, answer_within_s=MIGRATED_WITHIN_S) as connection:
        require_durability(connection)
        with connection.transaction():
            applied = migrate_within(connection, schema=schema, roles=roles)
    if applied:
        log.info("schema_migrated", schema=schema, migrations=applied)
    return applied


def migrate_within(
    connection: psycopg.Connection[Any], *, schema: str, roles: Mapping[str, str]
) -> list[str]:
    """Do the work of `migrate` in the caller's transaction; `roles` may be empty if all exist."""
    create_tables(connection, schema)
    applied = _apply(connection, _known())
    for name in _FUNCTIONS:
        connection.execute(_read(name).encode())
    for role, password in roles.items():
        _create_role(connection, role, password)
        _set_session(connection, role, schema)
    connection.execute(
        sql.SQL(_read("grants.sql")).format(
            schema=sql.Identifier(schema),
            command=sql.Identifier(COMMAND_ROLE),
            projector=sql.Identifier(PROJECTOR_ROLE),
        )
    )
    return applied


def require_database(dsn: str, *, schema: str, pooler: bool) -> None:
    """Raise `Misconfigured` with the cause if a process could not work with the database."""
    try:
        with connect(dsn, schema=schema, pooler=pooler, autocommit=True) as connection:
            require_durability(connection)
            require_session(connection, schema)
            found = connection.execute("SELECT to_regclass('events')").fetchone()
    except psycopg.Error as error:
        raise Misconfigured(f"STARFOLD_DATABASE_URL: {cause_of(error)}") from None
    if found == (None,):
        raise Misconfigured("the schema of STARFOLD_DATABASE_SCHEMA is missing or has no tables")


def require_pooler_setting(dsn: str, *, schema: str, pooler: bool) -> None:
    """Raise `Misconfigured` behind a pooler that the settings do not name.

    For a process that waits for its servers: any other error of the server is no obstacle yet.
    """
    try:
        with connect(dsn, schema=schema, pooler=pooler, autocommit=True) as connection:
            require_session(connection, schema)
    except psycopg.Error as error:
        if is_poolers_refusal(error):
            raise Misconfigured(f"STARFOLD_DATABASE_URL: {cause_of(error)}") from None
        log.debug("database_awaited", error=cause_of(error))


def require_durability(connection: psycopg.Connection[Any]) -> None:
    """Raise `Misconfigured` if the server may lose acknowledged commits."""
    unsafe = connection.cursor(row_factory=tuple_row).execute(
        "SELECT string_agg(name, ', ') FROM pg_settings WHERE setting = 'off'"
        " AND name IN ('fsync', 'full_page_writes', 'synchronous_commit')"
    )
    (names,) = unsafe.fetchone() or (None,)
    if names is not None:
        raise Misconfigured(f"PostgreSQL could lose a commit, because these are off: {names}")


def require_session(connection: psycopg.Connection[Any], schema: str) -> None:
    """Raise `Misconfigured` if sessions do not start in the schema, as behind some poolers."""
    shown = connection.cursor(row_factory=tuple_row).execute("SHOW search_path").fetchone()
    if shown != (schema,):
        raise Misconfigured(
            "PostgreSQL's sessions do not start in the schema of STARFOLD_DATABASE_SCHEMA: a pooler"
            " drops the options of a connection. Set STARFOLD_DATABASE_POOLER=true, and let the"
            " pooler open its connections after the migrations"
        )


def create_tables(
    connection: psycopg.Connection[Any], schema: str, migrations: Sequence[str] = ()
) -> None:
    """Create the schema, and apply the given migrations, which it may have; enter the schema.

    Raises `Misconfigured` for a migration that this release does not know.
    """
    connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK_ID])
    name = sql.Identifier(schema)
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(name))
    connection.execute(sql.SQL("SET LOCAL search_path TO {}").format(name))
    connection.execute(
        "CREATE TABLE IF NOT EXISTS migrations"
        " (name text PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())"
    )
    _apply(connection, migrations)


def require_known(migrations: Collection[str]) -> None:
    """Raise `Misconfigured` if a newer release has applied one of the migrations."""
    unknown = set(migrations).difference(_known())
    if unknown:
        raise Misconfigured(
            f"the database has the migrations {sorted(unknown)}, which this release does not know: "
            "it was used with a newer one"
        )


def _apply(connection: psycopg.Connection[Any], migrations: Sequence[str]) -> list[str]:
    applied_before = {str(row[0]) for row in connection.execute("SELECT name FROM migrations")}
    require_known({*applied_before, *migrations})
    applied = [migration for migration in migrations if migration not in applied_before]
    for migration in applied:
        connection.execute(_read(f"migrations/{migration}").encode())
        connection.execute("INSERT INTO migrations (name) VALUES (%s)", [migration])
    return applied


def _known() -> list[str]:
    return sorted(
        entry.name
        for entry in files("shared.log").joinpath("migrations").iterdir()
        if entry.is_file()
    )


def _create_role(connection: psycopg.Connection, role: str, password: str) -> None:
    """Create or update a role, sending the server only a verifier of the password."""
    verifier = connection.pgconn.encrypt_password(
        password.encode(), role.encode(), b"scram-sha-256"
    ).decode()
    known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
    connection.execute(
        sql.SQL("{verb} ROLE {role} LOGIN PASSWORD {verifier}").format(
            verb=sql.SQL("ALTER" if known else "CREATE"),
            role=sql.Identifier(role),
            verifier=sql.Literal(verifier),
        )
    )


def _set_session(connection: psycopg.Connection, role: str, schema: str) -> None:
    """Set the initial settings of the role's sessions, even if a pooler opens them."""
    (database,) = connection.execute("SELECT current_database()").fetchone() or ("",)
    for name, value in session_settings(schema).items():
        connection.execute(
            sql.SQL("ALTER ROLE {role} IN DATABASE {database} SET {name} = {value}").format(
                role=sql.Identifier(role),
                database=sql.Identifier(database),
                name=sql.Identifier(name),
                value=sql.Literal(value),
            )
        )


def _read(name: str) -> str:
    return _FOLDER.joinpath(name).read_text()
