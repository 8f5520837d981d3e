"""Service keys: list, create and revoke them, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from command_api.deciding.principal import Scope
from ops.acts.projections import NoSuch
from ops.errors import OperatorError
from ops.home.api_keys import keep_api_key, new_api_key
from shared.ids import EventId, new_uuid7
from shared.log.codec import Codec
from shared.log.events import Metadata, ServiceKeyRevoked
from shared.log.sealing import NO_KEYS
from shared.process.clock import utc_now

SCOPES: tuple[str, ...] = get_args(Scope)
NAME_CHARS_MAX = 100

_LIST = (
    "SELECT key_id, name, scopes, created_at, last_used_at, revoked_at"
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


class ServiceKey(NamedTuple):
    """A key without its secret, of which only a hash is stored."""

    key_id: UUID
    name: str
    scopes: list[str]
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None


def all_keys(connection: psycopg.Connection[Any]) -> list[ServiceKey]:
    """Return every key, revoked or not, oldest first."""
    return connection.cursor(row_factory=class_row(ServiceKey)).execute(_LIST).fetchall()


def require_valid(name: str, scopes: Collection[str]) -> None:
    """Raise `OperatorError` for an unknown scope, and for a name that is no short line."""
    unknown = sorted(set(scopes).difference(SCOPES))
    if unknown:
        raise OperatorError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise OperatorError(f"a key's name is 1 to {NAME_CHARS_MAX} printable characters")


def create(connection: psycopg.Connection[Any], name: str, scopes: Collection[str]) -> str:
    """Create a key and return it: only a hash of it is stored."""
    require_valid(name, scopes)
    api_key = new_api_key()
    keep_api_key(connection, api_key, name, sorted(set(scopes)))
    return api_key


def revoke(connection: psycopg.Connection[Any], key_id: UUID) -> None:
    """Revoke a key within a second, and end its sessions and their tokens; raise `NoSuch`."""
    # Take the append lock before any row lock, as every append does, to avoid a deadlock.
    connection.execute(_LOCK)
    if not connection.execute(_REVOKE, [key_id]).rowcount:
        raise NoSuch(f"there is no key {key_id}")
    connection.execute(_END_SESSIONS, [key_id])
    now = utc_now()
    event = ServiceKeyRevoked(key_id=key_id, revoked_at=now)
    metadata = Metadata(event_id=EventId(new_uuid7()), recorded_at=now)
    state = Codec().encode(event, metadata, NO_KEYS)
    topic = type(event).__name__
    connection.execute(_APPEND, {"key_id": key_id, "topic": topic, "state": state})
