"""Service keys: create and revoke them. The table has a hash of a key's secret, never the key."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from typing import NamedTuple
from uuid import UUID, uuid4

from command_api.identity.authentication import API_KEY_PREFIX
from command_api.store.store import Store
from shared.errors import NotFound
from shared.ids import EventId, Position, new_uuid7
from shared.log.codec import Codec
from shared.log.events import Metadata, ServiceKeyRevoked
from shared.log.sealing import NO_KEYS
from shared.process.clock import utc_now

_INSERT = (
    b"INSERT INTO service_keys (key_id, name, secret_hash, scopes) VALUES (%s, %s, %s, %s::text[])"
)
_REVOKE = (
    b"UPDATE service_keys SET revoked_at = coalesce(revoked_at, now()) WHERE key_id = %s"
    b" RETURNING key_id"
)
_END_SESSIONS = b"DELETE FROM sessions WHERE subject_id = %s"
# Appends nothing if the key has already been revoked.
_APPEND = (
    b"SELECT append_events(stream_ids => ARRAY[%(key_id)s::uuid], versions => ARRAY[1::bigint],"
    b" topics => ARRAY[%(topic)s::text], states => ARRAY[%(state)s::bytea],"
    b" guard_ids => ARRAY[%(key_id)s::uuid], guard_versions => ARRAY[0::bigint])"
)
_REVOKED_AT = (
    b"SELECT notification_id FROM events WHERE originator_id = %s AND originator_version = 1"
)


class NewKey(NamedTuple):
    """A key that was just created, whole: it is shown once."""

    key_id: UUID
    api_key: str

    @property
    def secret_hash(self) -> bytes:
        """What is stored of it."""
        secret = self.api_key.removeprefix(API_KEY_PREFIX).partition("_")[2]
        return hashlib.sha256(secret.encode()).digest()


class Revoker(NamedTuple):
    """The user or service that revokes a key, and their request; neither on the command line."""

    actor: UUID | None = None
    request_id: UUID | None = None


COMMAND_LINE = Revoker()


class ServiceKeys:
    """The table of keys, for the command API and for `starfold keys`."""

    def __init__(self, store: Store, codec: Codec) -> None:
        self._store = store
        self._codec = codec

    async def create(self, name: str, scopes: Collection[str]) -> NewKey:
        """Create a key and return it: it cannot be had again."""
        new = new_key()
        row = [new.key_id, name, new.secret_hash, sorted(set(scopes))]
        await self._store.execute(_INSERT, row)
        return new

    async def revoke(self, key_id: UUID, revoker: Revoker = COMMAND_LINE) -> Position:
        """Revoke a key within a second, and end its sessions and their tokens.

        Return the position of its revocation, which may have been before. Raises `NotFound`.
        """
        now = utc_now()
        event = ServiceKeyRevoked(key_id=key_id, revoked_at=now)
        metadata = Metadata(EventId(new_uuid7()), now, revoker.actor, revoker.request_id)
        state = self._codec.encode(event, metadata, NO_KEYS)
        appended = {"key_id": key_id, "topic": type(event).__name__, "state": state}
        # Take the append lock before any row lock, as every append does, to avoid a deadlock.
        async with self._store.holding_append_lock() as connection:
            if not await self._store.rows(_REVOKE, [key_id], connection):
                raise NotFound(f"there is no key {key_id}")
            await connection.execute(_END_SESSIONS, [key_id])
            await self._store.rows(_APPEND, appended, connection)
            ((position,),) = await self._store.rows(_REVOKED_AT, [key_id], connection)
        return Position(position)


def new_key() -> NewKey:
    """Make a key: `sfk_<key id, 32 hex digits>_<secret>`."""
    key_id = uuid4()
    return NewKey(key_id, f"{API_KEY_PREFIX}{key_id.hex}_{secrets.token_urlsafe(32)}")
