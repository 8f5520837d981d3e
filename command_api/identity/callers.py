"""Check callers against the database: a credential may be outdated since its issue."""

from __future__ import annotations

import time

from command_api.deciding.load_result import LoadRequest
from command_api.deciding.principal import (
    Member,
    Principal,
    require_role,
    require_session,
    session_of,
)
from command_api.deciding.state_cache import StateCache
from command_api.deciding.streams import Streams
from command_api.store.store import Store
from shared.ids import StreamId
from shared.log.codec import Codec
from shared.log.events import Role
from shared.log.sealing import KeyWrap, SubjectKeys

# A caller with many bulk requests is looked up once in this time.
LATELY_S = 1.0
PASSED_MAX = 10_000


class Callers:
    """Reads sessions and users outside any batch; deciding a command repeats the check."""

    def __init__(self, store: Store, codec: Codec, key_wrap: KeyWrap) -> None:
        self._store = store
        self._codec = codec
        self._key_wrap = key_wrap
        self._passed_at_s: dict[tuple[Principal, frozenset[Role]], float] = {}

    async def require(self, principal: Principal, roles: frozenset[Role]) -> None:
        """Raise `NotAuthenticated` if the caller's session has ended or the user has been erased.

        Raises `Forbidden` for a member who has none of `roles`.
        """
        if isinstance(principal, Member) or session_of(principal) is not None:
            await self._require(principal, roles)

    async def require_lately(self, principal: Principal, roles: frozenset[Role]) -> None:
        """Check like `require`, or accept a check that passed less than `LATELY_S` ago.

        This is for callers whose commands are checked again when they are decided.
        """
        passed = (principal, roles)
        now_s = time.monotonic()
        if now_s - self._passed_at_s.get(passed, -LATELY_S) < LATELY_S:
            return
        await self.require(principal, roles)
        if len(self._passed_at_s) >= PASSED_MAX:
            self._passed_at_s.clear()
        self._passed_at_s[passed] = now_s

    async def _require(self, principal: Principal, roles: frozenset[Role]) -> None:
        session_id = session_of(principal)
        sessions = [] if session_id is None else [session_id]
        streams = [StreamId(principal.user_id)] if isinstance(principal, Member) else []
        loaded = await self._store.load(LoadRequest(whole=streams, sessions=sessions))
        require_session(principal, loaded.sessions)
        if isinstance(principal, Member):
            keys = SubjectKeys(self._key_wrap, {})
            user = Streams(loaded, self._codec, keys, StateCache()).user(principal.user_id)
            require_role(user, roles)
