"""Sessions: log-ins that may be refreshed, each with one valid refresh token at a time.

A refresh token names its session and its rotation and has a keyed hash of both; the table has the
valid rotation. An older token proves that it was copied: then the session ends, for the thief and
the owner alike (RFC 9700, section 4.14.2).

An answer may be lost. Therefore a repeat of the last token used gets, for some seconds, the same
token that replaced it, which follows from the session's row: two holders still have one valid token
between them, and the second of them to use it later is detected.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from command_api.identity.accounts import Account, Accounts
from command_api.store.store import Store
from shared.errors import NotAuthenticated
from shared.ids import UserId, new_uuid7

REFRESH_TOKEN_PREFIX = "sfr_"
# How long a repeat of the last token used is answered.
REPEAT_S = 10.0
# Maximum length of a stored user agent, and of a list of sessions.
USER_AGENT_CHARS_MAX = 120
LISTED_MAX = 100

_TOKEN = re.compile(r"sfr_([0-9a-f]{32})_([0-9]{1,9})_([0-9a-f]{64})")
_OPEN = (
    b"INSERT INTO sessions (session_id, subject_id, service, user_agent, expires_at)"
    b" VALUES (%s, %s, %s, %s, now() + make_interval(days => %s))"
)
# A repeat changes neither the rotation nor its time. Simultaneous refreshes wait for the first one,
# and then see what it has written.
_ROTATE = (
    b"UPDATE sessions SET rotation = %(next)s,"
    b" refreshed_at = CASE WHEN rotation = %(next)s THEN refreshed_at ELSE now() END,"
    b" expires_at = now() + make_interval(days => %(idle_days_max)s)"
    b" WHERE session_id = %(session_id)s AND expires_at > now() AND (rotation = %(next)s - 1"
    b" OR rotation = %(next)s AND refreshed_at > now() - make_interval(secs => %(repeat_s)s))"
    b" RETURNING subject_id, service"
)
_HOLDER = (
    b"SELECT subject_id, service, rotation > %(next)s"
    b" OR rotation = %(next)s AND refreshed_at <= now() - make_interval(secs => %(repeat_s)s)"
    b" FROM sessions WHERE session_id = %(session_id)s"
)
_OF_USER = (
    b"SELECT session_id, created_at, refreshed_at, expires_at, user_agent FROM sessions"
    b" WHERE subject_id = %s AND expires_at > now() ORDER BY refreshed_at DESC, session_id LIMIT %s"
)
_BELONGS = b"SELECT FROM sessions WHERE session_id = %s AND subject_id = %s AND expires_at > now()"
_PURGE = (
    b"DELETE FROM sessions WHERE session_id IN"
    b" (SELECT session_id FROM sessions WHERE expires_at < now() LIMIT %s)"
)


class Session(NamedTuple):
    """An open session and its valid refresh token.

    `subject_id` is a user's id, or with `service` a service key's.
    """

    session_id: UUID
    subject_id: UUID
    service: bool
    refresh_token: str


class Holder(NamedTuple):
    """The session of a refresh token; `reused` if the token was used before and is no repeat."""

    session_id: UUID
    subject_id: UUID
    service: bool
    reused: bool


class OpenSession(NamedTuple):
    """An open session as its owner sees it; every refresh is a use."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime
    user_agent: str | None


class Sessions:
    """Opens, refreshes and lists sessions.

    They end with an event, appended with the deletion of their row.
    """

    def __init__(
        self, store: Store, accounts: Accounts, secret: bytes, *, idle_days_max: int
    ) -> None:
        self._store = store
        self._accounts = accounts
        self._secret = secret
        self._idle_days_max = idle_days_max

    async def open_for_user(
        self, account: Account, user_agent: str | None = None
    ) -> tuple[Session, Account]:
        """Open a session, and return it with the account at that moment.

        Raises `NotAuthenticated` if the password was changed since the account was looked up. The
        append lock is held meanwhile: a change of password, which ends the sessions that it finds,
        either finds this one or is visible here.
        """
        async with self._store.holding_append_lock() as connection:
            now = await self._accounts.by_id(account.user_id, connection)
            if now is None or now.user.password_hash != account.user.password_hash:
                raise NotAuthenticated("the account was changed at the same time")
            session = self._new(account.user_id, service=False)
            await connection.execute(_OPEN, self._row(session, user_agent))
        return session, now

    async def open_for_service(self, key_id: UUID, user_agent: str | None = None) -> Session:
        session = self._new(key_id, service=True)
        await self._store.execute(_OPEN, self._row(session, user_agent))
        return session

    async def of_user(self, user_id: UserId) -> list[OpenSession]:
        """Return the user's open sessions, last used first, at most `LISTED_MAX`."""
        rows = await self._store.rows(_OF_USER, [user_id, LISTED_MAX])
        return [OpenSession(*row) for row in rows]

    async def belongs_to(self, session_id: UUID, user_id: UserId) -> bool:
        """Whether the session is an open one of the user."""
        return bool(await self._store.rows(_BELONGS, [session_id, user_id]))

    async def holder(self, refresh_token: str) -> Holder:
        """Raise `NotAuthenticated` for a forged token and for an ended session."""
        session_id, rotation = self._parsed(refresh_token)
        asked = {"session_id": session_id, "next": rotation + 1, "repeat_s": REPEAT_S}
        rows = await self._store.rows(_HOLDER, asked)
        if not rows:
            raise NotAuthenticated("the session has ended")
        return Holder(session_id, *rows[0])

    async def refresh(self, refresh_token: str) -> Session | None:
        """Return the session with the next token; None for a reused token or an ended session."""
        session_id, rotation = self._parsed(refresh_token)
        asked = {
            "session_id": session_id,
            "next": rotation + 1,
            "repeat_s": REPEAT_S,
            "idle_days_max": self._idle_days_max,
        }
        for subject_id, service in await self._store.rows(_ROTATE, asked):
            token = self._token(session_id, rotation + 1)
            return Session(session_id, subject_id, service, token)
        return None

    async def purge(self) -> int:
        """Delete expired sessions, and return their number."""
        return await self._store.delete_all(_PURGE)

    def _parsed(self, refresh_token: str) -> tuple[UUID, int]:
        """Return the session and rotation in a token; raise `NotAuthenticated` if it is forged."""
        match = _TOKEN.fullmatch(refresh_token)
        session_id, rotation = (UUID(match[1]), int(match[2])) if match else (UUID(int=0), 0)
        good = self._token(session_id, rotation)
        # As bytes: for text the function compares only ASCII, and raises for anything else.
        if not hmac.compare_digest(good.encode(), refresh_token.encode()):
            raise NotAuthenticated("the refresh token is not valid")
        return session_id, rotation

    def _new(self, subject_id: UUID | UserId, *, service: bool) -> Session:
        session_id = new_uuid7()
        return Session(session_id, subject_id, service, self._token(session_id, 1))

    def _row(self, session: Session, user_agent: str | None) -> list[object]:
        shown = shortened(user_agent)
        return [session.session_id, session.subject_id, session.service, shown, self._idle_days_max]

    def _token(self, session_id: UUID, rotation: int) -> str:
        named = f"{session_id.hex}_{rotation}"
        mac = hmac.digest(self._secret, b"refresh-token\0" + named.encode(), hashlib.sha256)
        return f"{REFRESH_TOKEN_PREFIX}{named}_{mac.hex()}"


def shortened(user_agent: str | None) -> str | None:
    """Return the printable part of a `User-Agent`, cut; None if nothing is left."""
    printable = "".join(filter(str.isprintable, user_agent or "")).strip()
    return printable[:USER_AGENT_CHARS_MAX] or None
