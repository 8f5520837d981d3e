"""The API keys of services: `starfold keys`. A key is printed once, when it is created."""

from __future__ import annotations

from typing import Annotated, get_args
from uuid import UUID

import psycopg
import typer
from psycopg.rows import TupleRow

from command_api.deciding.principal import Scope
from ops.commands.write_side import owner_connection, uuid_of
from ops.errors import OperatorError
from ops.home.api_keys import API_KEY_PREFIX, keep_api_key, new_api_key
from ops.home.folder import Home
from ops.options import DEFAULT_HOME, HomeOption
from ops.tables import print_table
from shared.ids import EventId, new_uuid7
from shared.log.codec import Codec
from shared.log.events import Metadata, ServiceKeyRevoked
from shared.log.sealing import NO_KEYS
from shared.process.clock import utc_now

SCOPES: tuple[str, ...] = get_args(Scope)
NAME_CHARS_MAX = 100

_LIST = (
    "SELECT key_id, name, array_to_string(scopes, ' '), created_at, last_used_at, revoked_at"
    " FROM service_keys ORDER BY created_at, key_id"
)
_LOCK = "SELECT hold_append_lock()"
# Appends nothing if the key has already been revoked.
_APPEND = (
    "SELECT append_events(stream_ids => ARRAY[%(key_id)s::uuid], versions => ARRAY[1::bigint],"
    " topics => ARRAY[%(topic)s::text], states => ARRAY[%(state)s::bytea],"
    " guard_ids => ARRAY[%(key_id)s::uuid], guard_versions => ARRAY[0::bigint])"
)
_REVOKE = "UPDATE service_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %s"
_END_SESSIONS = "DELETE FROM sessions WHERE subject_id = %s"

keys = typer.Typer(no_args_is_help=True)


@keys.command()
def create(
    name: Annotated[str, typer.Argument(help="Purpose of the key.")],
    scope: Annotated[list[str], typer.Option(help=f"One of {', '.join(SCOPES)}; may be repeated.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Create a service key and print it: it cannot be shown again."""
    unknown = sorted(set(scope).difference(SCOPES))
    if unknown:
        raise OperatorError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise OperatorError(f"a key's name is 1 to {NAME_CHARS_MAX} printable characters")
    api_key = new_api_key()
    with owner_connection(Home(home)) as connection:
        keep_api_key(connection, api_key, name, sorted(set(scope)))
    typer.echo(api_key)


@keys.command("list")
def list_keys(home: HomeOption = DEFAULT_HOME) -> None:
    """List service keys, including revoked ones."""
    with owner_connection(Home(home)) as connection:
        rows = connection.execute(_LIST).fetchall()
    print_table(("key", "name", "scopes", "created", "last used", "revoked"), rows)


@keys.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key's id, or the key itself.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Revoke a key within a second, and end its sessions and their tokens."""
    wanted = uuid_of(key_id.removeprefix(API_KEY_PREFIX).partition("_")[0], "key")
    with owner_connection(Home(home)) as connection:
        # Take the append lock before any row lock, as every append does, to avoid a deadlock.
        connection.execute(_LOCK)
        if not connection.execute(_REVOKE, [wanted]).rowcount:
            raise OperatorError(f"there is no key {wanted}")
        connection.execute(_END_SESSIONS, [wanted])
        _record(connection, wanted)
    typer.echo(f"key {wanted} is revoked")


def _record(connection: psycopg.Connection[TupleRow], key_id: UUID) -> None:
    """Append `ServiceKeyRevoked` in the connection's transaction, once for each key."""
    now = utc_now()
    event = ServiceKeyRevoked(key_id=key_id, revoked_at=now)
    metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=now)
    state = Codec().encode(event, metadata, NO_KEYS)
    topic = type(event).__name__
    connection.execute(_APPEND, {"key_id": key_id, "topic": topic, "state": state})
