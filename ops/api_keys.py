"""Service keys as they are made and kept."""

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


def new_api_key() -> str:
    """`sfk_<key id, 32 hex digits>_<secret>`."""
    return f"{API_KEY_PREFIX}{uuid4().hex}_{secrets.token_urlsafe(32)}"


def keep_api_key(
    connection: psycopg.Connection[Any], api_key: str, name: str, scopes: Sequence[str]
) -> None:
    """Only a hash of the secret is kept; a key that is there already stays as it is."""
    hex_id, _, secret = api_key.removeprefix(API_KEY_PREFIX).partition("_")
    secret_hash = hashlib.sha256(secret.encode()).digest()
    connection.execute(_INSERT, [UUID(hex_id), name, secret_hash, list(scopes)])
