"""Authenticate callers by an access token or an API key, as `Authorization: Bearer`."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from binascii import Error as BinasciiError
from functools import partial
from typing import NamedTuple
from uuid import UUID

import msgspec

from command_api.deciding.principal import Anyone, Member, Principal, Service
from command_api.identity.limits import RateLimits
from command_api.store.store import Store
from shared.errors import NotAuthenticated
from shared.web.tokens import TokenVerifier, bearer_token

API_KEY_PREFIX = "sfk_"
API_KEY_CHARS_MAX = 200
KEY_CACHED_FOR_S = 1.0
UNKNOWN_KEY_CACHED_FOR_S = 5.0
KEYS_CACHED_MAX = 1_000
# Unknown ids, so that repeated requests with them do not reach the database.
UNKNOWN_KEYS_CACHED_MAX = 10_000

_SELECT_KEY = (
    b"SELECT secret_hash, scopes FROM service_keys WHERE key_id = %s AND revoked_at IS NULL"
)
# At most once a minute: a look-up need not rewrite a key in use.
_NOTE_USE = (
    b"UPDATE service_keys SET last_used_at = now() WHERE key_id = %s"
    b" AND coalesce(last_used_at < now() - interval '1 minute', true)"
)


class _CachedKey(NamedTuple):
    service: Service
    secret_hash: bytes
    fresh_until_s: float


class Authentication:
    """Turns a request's credential into a principal; raises `NotAuthenticated` for a bad one.

    A service key is looked up at most every `KEY_CACHED_FOR_S`, so that a revoked one works that
    much longer, and a new one that was tried before it existed starts to work that much later. A
    key that is new to the process is looked up only for an address within its rate limit.
    """

    def __init__(self, verifier: TokenVerifier, store: Store, limits: RateLimits) -> None:
        self._verifier = verifier
        self._store = store
        self._limits = limits
        self._keys: dict[UUID, _CachedKey] = {}
        # The time until which they count as unknown.
        self._unknown: dict[UUID, float] = {}
        self._looking_up: dict[UUID, asyncio.Task[_CachedKey | None]] = {}

    async def principal(self, authorization: str | None, address: str) -> Principal:
        """Return the caller; `Anyone` without a credential."""
        if authorization is None:
            return Anyone()
        credential = bearer_token(authorization)
        if credential.startswith(API_KEY_PREFIX):
            return await self.service(credential, address)
        claims = self._verifier.verify(credential)
        if not claims.service:
            return Member(claims.user_id, claims.session_id)
        service = await self.known_service(claims.user_id)
        return msgspec.structs.replace(service, session_id=claims.session_id)

    async def service(self, api_key: str, address: str) -> Service:
        """Return the service that has the key.

        Raises `TooManyRequests` instead of looking up a new key for an address over its rate limit.
        """
        key_id, secret = _parse(api_key)
        if key_id not in self._keys and self._unknown.get(key_id, 0.0) < time.monotonic():
            self._limits.require_room(address)
        cached, looked_up = await self._known(key_id)
        if not hmac.compare_digest(cached.secret_hash, hashlib.sha256(secret.encode()).digest()):
            raise NotAuthenticated("the API key is not valid")
        if looked_up:
            await self._store.execute(_NOTE_USE, [key_id])
        return cached.service

    async def known_service(self, key_id: UUID) -> Service:
        """Return a service whose key was verified elsewhere; raise for a revoked key."""
        cached, _ = await self._known(key_id)
        return cached.service

    async def _known(self, key_id: UUID) -> tuple[_CachedKey, bool]:
        """Return the key, and whether it was just looked up; raise `NotAuthenticated`."""
        now_s = time.monotonic()
        cached = self._keys.get(key_id)
        if cached is not None and cached.fresh_until_s >= now_s:
            return cached, False
        if self._unknown.get(key_id, 0.0) >= now_s:
            raise NotAuthenticated("the API key is not valid")
        cached = await self._looked_up(key_id)
        if cached is None:
            raise NotAuthenticated("the API key is not valid")
        return cached, True

    async def _looked_up(self, key_id: UUID) -> _CachedKey | None:
        """Share one look-up between simultaneous requests, even if one of them is cancelled."""
        task = self._looking_up.get(key_id)
        if task is None:
            task = asyncio.create_task(self._look_up_and_cache(key_id), name="key-look-up")
            self._looking_up[key_id] = task
            task.add_done_callback(partial(self._forget_look_up, key_id))
        return await asyncio.shield(task)

    def _forget_look_up(self, key_id: UUID, task: asyncio.Task[_CachedKey | None]) -> None:
        del self._looking_up[key_id]
        if not task.cancelled():
            task.exception()  # Retrieve it even if every request has been cancelled.

    async def _look_up_and_cache(self, key_id: UUID) -> _CachedKey | None:
        cached = await self._look_up(key_id)
        if cached is None:
            self._keys.pop(key_id, None)
            if len(self._unknown) >= UNKNOWN_KEYS_CACHED_MAX:
                self._unknown.clear()
            self._unknown[key_id] = time.monotonic() + UNKNOWN_KEY_CACHED_FOR_S
        else:
            if len(self._keys) >= KEYS_CACHED_MAX:
                self._keys.clear()
            self._keys[key_id] = cached
        return cached

    async def _look_up(self, key_id: UUID) -> _CachedKey | None:
        for secret_hash, scopes in await self._store.rows(_SELECT_KEY, [key_id]):
            fresh_until_s = time.monotonic() + KEY_CACHED_FOR_S
            return _CachedKey(Service(key_id, frozenset(scopes)), secret_hash, fresh_until_s)
        return None


def _parse(api_key: str) -> tuple[UUID, str]:
    """Parse `sfk_<key id, 32 hex digits>_<secret>`."""
    hex_id, _, secret = api_key.removeprefix(API_KEY_PREFIX).partition("_")
    if len(api_key) > API_KEY_CHARS_MAX:
        raise NotAuthenticated("the API key is not valid")
    try:
        return UUID(bytes=bytes.fromhex(hex_id)), secret
    except (ValueError, BinasciiError) as error:
        raise NotAuthenticated("the API key is not valid") from error


def key_id_of(api_key: str) -> UUID:
    """Return the id in an API key, which need not exist; raise `NotAuthenticated`."""
    return _parse(api_key)[0]
