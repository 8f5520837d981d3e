"""Load the tables of a backup into a schema of another name, check them, and rename the schema."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import psycopg
from psycopg import sql

from ops.backups.archive import Archive, Table
from ops.backups.backup import WITHIN_S
from ops.errors import OperatorError
from ops.progress import Progress
from shared.errors import Misconfigured
from shared.ids import UserId
from shared.log.connections import Connection, connect
from shared.log.schema import (
    COMMAND_ROLE,
    PROJECTOR_ROLE,
    create_tables,
    migrate_within,
    require_durability,
)
from shared.log.sealing import KeyWrap

KEYS_AT_ONCE = 1_000
# Every new schema has rows in them.
_FILLED_AT_FIRST = ("migrations", "log_identity")

_TABLES = (
    "SELECT relname::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f')"
    " AND relnamespace = to_regnamespace(quote_ident(%s))"
)
# Versions count from 1 without gaps, in the order of the positions, which may have gaps.
_DISORDER = """
SELECT originator_id FROM (
    SELECT originator_id,
        originator_version <> row_number() OVER stream
            OR notification_id < lag(notification_id) OVER stream AS wrong
    FROM events WINDOW stream AS (PARTITION BY originator_id ORDER BY originator_version)
) AS numbered WHERE wrong LIMIT 1
"""
_WRAP_AGAIN = "UPDATE subject_keys SET wrapped = %s WHERE user_id = %s"
_SEQUENCES = """
SELECT a.attname::text, pg_get_serial_sequence(quote_ident(c.relname), a.attname)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.oid = %s::regclass AND a.attidentity <> ''
"""


class Target:
    """An empty schema, and the draft beside it that replaces it when it is complete."""

    def __init__(self, owner_dsn: str, schema: str) -> None:
        self._owner_dsn = owner_dsn
        self._schema = schema
        self.draft = f"restoring_{schema}"[:63]

    def load(self, archive: Archive, key_wrap: KeyWrap, retired: Sequence[KeyWrap] = ()) -> None:
        """Fill the draft, check it, and migrate it to this release.

        Users' keys that only a retired sealing key unwraps are wrapped again with the current one.
        """
        with self._connection() as connection:
            require_durability(connection)
            _require_roles(connection)
            _require_empty(connection, self._schema)
            _drop(connection, self.draft)
            create_tables(connection, self.draft, archive.manifest.migrations)
            _fill(connection, archive)
            _require_order(connection, archive)
            _open_keys(connection, archive, [key_wrap, *retired])
            migrate_within(connection, schema=self.draft, roles={})

    def publish(self) -> None:
        """Replace the schema with the draft, as another log than the one that was backed up.

        The projector then drops read models that are ahead of it, and builds them from it.
        """
        with self._connection() as connection:
            _require_empty(connection, self._schema)
            foreign = _tables(connection, self._schema) - _tables(connection, self.draft)
            if foreign:
                raise OperatorError(
                    f"the schema {self._schema} holds what is not Starfold's: {sorted(foreign)}"
                )
            _drop(connection, self._schema)
            connection.execute(
                sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(
                    sql.Identifier(self.draft), sql.Identifier(self._schema)
                )
            )
            # The functions name their schema.
            migrate_within(connection, schema=self._schema, roles={})
            connection.execute(
                "UPDATE log_identity SET log_id = gen_random_uuid(), made_at = now()"
            )

    def drop_draft(self) -> None:
        with self._connection() as connection:
            _drop(connection, self.draft)

    def _connection(self) -> Connection[tuple[object, ...]]:
        return connect(self._owner_dsn, answer_within_s=WITHIN_S)


Rows = psycopg.Connection[tuple[object, ...]]


def _require_roles(connection: Rows) -> None:
    roles = [COMMAND_ROLE, PROJECTOR_ROLE]
    found = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = ANY (%s)", [roles])
    if len(found.fetchall()) < len(roles):
        raise OperatorError(
            "the database has no roles for the services: run `python -m ops.compose.init schema`"
            " first"
        )


def _require_empty(connection: Rows, schema: str) -> None:
    """Raise `OperatorError` if the schema has content; until the commit, it gets none."""
    for name in sorted(_tables(connection, schema)):
        table = sql.Identifier(schema, name)
        connection.execute(sql.SQL("LOCK TABLE {} IN EXCLUSIVE MODE").format(table))
        row = connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(table)).fetchone()
        if row is not None and name not in _FILLED_AT_FIRST:
            raise OperatorError(
                f"the schema {schema} is not empty: its table {name} has rows; nothing was restored"
            )


def _tables(connection: Rows, schema: str) -> set[str]:
    return {str(name) for (name,) in connection.execute(_TABLES, [schema])}


def _drop(connection: Rows, schema: str) -> None:
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _fill(connection: Rows, archive: Archive) -> None:
    tables = archive.manifest.tables
    connection.execute("SET LOCAL client_encoding TO 'UTF8'")
    # Operators' acts may not even be truncated, and are empty here.
    names = sql.SQL(", ").join(map(sql.Identifier, _FILLED_AT_FIRST))
    connection.execute(sql.SQL("TRUNCATE {}").format(names))
    with Progress("restore", sum(table.rows for table in tables)) as progress:
        for table in tables:
            _copy(connection, archive, table, progress)


def _copy(connection: Rows, archive: Archive, table: Table, progress: Progress) -> None:
    digest, name = hashlib.sha256(), sql.Identifier(table.name)
    columns = sql.SQL(", ").join(map(sql.Identifier, table.columns))
    cursor = connection.cursor()
    with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(name, columns)) as copy:
        for block in archive.content(f"tables/{table.name}"):
            digest.update(block)
            copy.write(block)
            progress.advance(block.count(b"\n"))
    if (cursor.rowcount, digest.hexdigest()) != (table.rows, table.sha256):
        raise OperatorError(f"{archive.path} does not hold the table {table.name} as it was")
    for column, sequence in connection.execute(_SEQUENCES, [table.name]).fetchall():
        connection.execute(
            sql.SQL(
                "SELECT setval(%s, coalesce(max({0}), 1), max({0}) IS NOT NULL) FROM {1}"
            ).format(sql.Identifier(str(column)), name),
            [sequence],
        )


def _require_order(connection: Rows, archive: Archive) -> None:
    wrong = connection.execute(_DISORDER).fetchone()
    if wrong is not None:
        raise OperatorError(f"the log in {archive.path} is not in order in the stream {wrong[0]}")
    head = connection.execute("SELECT coalesce(max(notification_id), 0) FROM events").fetchone()
    if head != (archive.manifest.head,):
        raise OperatorError(f"the log in {archive.path} does not end where its manifest says")


def _open_keys(connection: Rows, archive: Archive, wraps: Sequence[KeyWrap]) -> None:
    """Raise `OperatorError` if a user's key does not unwrap.

    A key that the first of `wraps` does not unwrap is wrapped again by another one that does.
    """
    with connection.cursor("wrapped_keys") as cursor:
        cursor.itersize = KEYS_AT_ONCE
        cursor.execute("SELECT user_id, wrapped FROM subject_keys")
        for user_id, wrapped in cursor:
            assert isinstance(user_id, UUID)
            assert isinstance(wrapped, bytes)
            try:
                wraps[0].unwrap(UserId(user_id), wrapped)
            except Misconfigured as error:
                again = _wrapped_again(wraps[1:], UserId(user_id), wrapped)
                if again is None:
                    raise OperatorError(
                        f"{error}. {archive.path} is damaged, or was made while the sealing key"
                        " was rotated and needs the one before it, too: as"
                        " STARFOLD_SECOND_SEALING_KEY, or in the retired_sealing_keys of --secrets"
                    ) from error
                connection.execute(_WRAP_AGAIN, [again, user_id])


def _wrapped_again(retired: Sequence[KeyWrap], user_id: UserId, wrapped: bytes) -> bytes | None:
    for one in retired:
        with suppress(Misconfigured):
            return one.rewrap(user_id, wrapped)
    return None
