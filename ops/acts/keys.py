"""Service keys, as operators see them; `command_api/identity/service_keys.py` makes them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from command_api.deciding.principal import SCOPES
from ops.errors import OperatorError

CREATE, REVOKE = "key create", "key revoke"
NAME_CHARS_MAX = 100

_KEYS = "SELECT key_id, name, scopes, created_at, last_used_at, revoked_at FROM service_keys"
_LIST = f"{_KEYS} ORDER BY created_at, key_id"
_ONE = f"{_KEYS} WHERE key_id = %s"


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


def key_of(connection: psycopg.Connection[Any], key_id: UUID) -> ServiceKey | None:
    return connection.cursor(row_factory=class_row(ServiceKey)).execute(_ONE, [key_id]).fetchone()


def creation(name: str, scopes: Collection[str]) -> dict[str, Any]:
    """Return the act's parameters in the audit log."""
    return {"name": name, "scopes": sorted(set(scopes))}


def require_valid(name: str, scopes: Collection[str]) -> None:
    """Raise `OperatorError` for an unknown scope, and for a name that is no short line."""
    unknown = sorted(set(scopes).difference(SCOPES))
    if unknown:
        raise OperatorError(f"there is no scope {unknown[0]!r}: choose from {', '.join(SCOPES)}")
    if not 1 <= len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise OperatorError(f"a key's name is 1 to {NAME_CHARS_MAX} printable characters")
