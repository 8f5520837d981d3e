"""Who is calling: an access token, or a service's API key, as `Authorization: Bearer`."""

from __future__ import annotations

import hashlib
import hmac
import time
from binascii import Error as BinasciiError
from typing import NamedTuple
from uuid import UUID

from starlette.concurrency import run_in_threadpool

from command_api.principal import Anyone, Member, Principal, Service
from shared.errors import NotAuthenticated
from shared.event_store import EventStore
from shared.tokens import TokenVerifier, bearer_token

API_KEY_PREFIX = "sfk_"
KEY_CACHED_FOR_S = 5.0
KEYS_CACHED_MAX = 1_000

_SELECT_KEY = (
    "SELECT secret_hash, scopes FROM service_keys WHERE key_id = %s AND revoked_at IS NULL"
)


class _CachedKey(NamedTuple):
    service: Service
    secret_hash: bytes
    fresh_until_s: float


class Authentication:
    """Turns a request's credential into a principal; raises `NotAuthenticated` for one not
    believed.

    A service key is looked up at most every `KEY_CACHED_FOR_S`, so that a revoked one works that
    much longer.
    """

    def __init__(self, verifier: TokenVerifier, store: EventStore) -> None:
        self._verifier = verifier
        self._store = store
        self._keys: dict[UUID, _CachedKey] = {}

    async def principal(self, authorization: str | None) -> Principal:
        """The caller; `Anyone` without a credential."""
        if authorization is None:
            return Anyone()
        credential = bearer_token(authorization)
        if credential.startswith(API_KEY_PREFIX):
            return await self.service(credential)
        return Member(self._verifier.verify(credential).user_id)

    async def service(self, api_key: str) -> Service:
        """The service whose key it is."""
        key_id, secret = _parse(api_key)
        cached = self._keys.get(key_id)
        if cached is None or cached.fresh_until_s < time.monotonic():
            cached = await run_in_threadpool(self._look_up, key_id)
            if len(self._keys) >= KEYS_CACHED_MAX:
                self._keys.clear()
            self._keys[key_id] = cached
        if not hmac.compare_digest(cached.secret_hash, hashlib.sha256(secret.encode()).digest()):
            raise NotAuthenticated("the API key is not valid")
        return cached.service

    def _look_up(self, key_id: UUID) -> _CachedKey:
        with self._store.datastore.get_connection() as connection:
            row = connection.execute(_SELECT_KEY, [key_id]).fetchone()
        if row is None:
            raise NotAuthenticated("the API key is not valid")
        return _CachedKey(
            Service(key_id, frozenset(row["scopes"])),
            bytes(row["secret_hash"]),
            time.monotonic() + KEY_CACHED_FOR_S,
        )


def _parse(api_key: str) -> tuple[UUID, str]:
    """`sfk_<key id, 32 hex digits>_<secret>`."""
    hex_id, _, secret = api_key.removeprefix(API_KEY_PREFIX).partition("_")
    try:
        return UUID(bytes=bytes.fromhex(hex_id)), secret
    except (ValueError, BinasciiError) as error:
        raise NotAuthenticated("the API key is not valid") from error
