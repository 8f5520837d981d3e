"""The database of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from psycopg import sql

from shared.ids import UserId
from shared.log.connections import Connection, connect
from shared.log.sealing import KeyWrap

# The server copies a template, and waits for a checkpoint.
WITHIN_S = 60.0
# An erasure of one of these users waits while they are written.
REWRAPPED_AT_ONCE = 500

_KEYS = "SELECT user_id, wrapped FROM subject_keys WHERE user_id > %s ORDER BY user_id LIMIT %s"
# Neither brings back the key of a user who was erased meanwhile, nor undoes another rotation.
_REWRAP = """
UPDATE subject_keys AS kept SET wrapped = changed.after
FROM unnest(%s::uuid[], %s::bytea[], %s::bytea[]) AS changed (user_id, before, after)
WHERE kept.user_id = changed.user_id AND kept.wrapped = changed.before
"""


def create_database(maintenance_dsn: str, name: str) -> None:
    """Create the database unless it exists; connect through another database of the server."""
    with connect(maintenance_dsn, autocommit=True, answer_within_s=WITHIN_S) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))


def rewrap_keys(
    connection: Connection[Any], key_wrap: KeyWrap, *, at_once: int = REWRAPPED_AT_ONCE
) -> Iterator[int]:
    """Wrap every user's key with the sealing key, and yield the number of each transaction's.

    The connection commits by itself. A kill loses at most one transaction, and a repetition passes
    over the keys that are done. Ends with a whole pass that finds none to do.
    """
    done = None
    while done != 0:
        done, last = 0, UUID(int=0)
        while rows := connection.execute(_KEYS, [last, at_once]).fetchall():
            changed = [
                (user_id, before, after)
                for user_id, before in rows
                if (after := key_wrap.rewrap(UserId(user_id), before)) is not None
            ]
            if changed:
                count = connection.execute(_REWRAP, list(map(list, zip(*changed, strict=True))))
                done += count.rowcount
                yield count.rowcount
            last = rows[-1][0]
    # The old copies stay in their pages until then.
    connection.execute("VACUUM subject_keys")
