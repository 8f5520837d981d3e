"""The operator's own service key, which a home has before the command API runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg

from command_api.identity.authentication import key_id_of
from command_api.identity.service_keys import NewKey

_INSERT = (
    "INSERT INTO service_keys (key_id, name, secret_hash, scopes)"
    " VALUES (%s, %s, %s, %s) ON CONFLICT (key_id) DO NOTHING"
)
_KNOWN = "SELECT 1 FROM service_keys WHERE key_id = %s"


def keep_api_key(
    connection: psycopg.Connection[Any], api_key: str, name: str, scopes: Sequence[str]
) -> None:
    """Store a hash of the key's secret; an existing key is left unchanged."""
    kept = NewKey(key_id_of(api_key), api_key)
    connection.execute(_INSERT, [kept.key_id, name, kept.secret_hash, list(scopes)])


def is_api_key_known(connection: psycopg.Connection[Any], api_key: str) -> bool:
    """Whether the database has the key, revoked or not."""
    return connection.execute(_KNOWN, [key_id_of(api_key)]).fetchone() is not None
