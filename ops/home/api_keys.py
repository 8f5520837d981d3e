"""Create and store service keys."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import psycopg

API_KEY_PREFIX = "sfk_"

_INSERT = (
    "INSERT INTO service_keys (key_id, name, secret_hash, scopes)"
    " VALUES (%s, %s, %s, %s) ON CONFLICT (key_id) DO NOTHING"
)
_KNOWN = "SELECT 1 FROM service_keys WHERE key_id = %s"


def new_api_key() -> str:
    """Return a new key: `sfk_<key id, 32 hex digits>_<secret>`."""
    return f"{API_KEY_PREFIX}{uuid4().hex}_{secrets.token_urlsafe(32)}"


def keep_api_key(
    connection: psycopg.Connection[Any], api_key: str, name: str, scopes: Sequence[str]
) -> None:
    """Store a hash of the key's secret; an existing key is left unchanged."""
    key_id, secret = _parts(api_key)
    secret_hash = hashlib.sha256(secret.encode()).digest()
    connection.execute(_INSERT, [key_id, name, secret_hash, list(scopes)])


def is_api_key_known(connection: psycopg.Connection[Any], api_key: str) -> bool:
    """Whether the database has the key, revoked or not."""
    return connection.execute(_KNOWN, [_parts(api_key)[0]]).fetchone() is not None


def _parts(api_key: str) -> tuple[UUID, str]:
    hex_id, _, secret = api_key.removeprefix(API_KEY_PREFIX).partition("_")
    return UUID(hex_id), secret
