"""Mails that prove a user's address, and the tokens in their links.

A request writes one row; the projector sends the mail. The row has a hash of the token and, until
the mail is sent, address and token sealed with the user's key. The append that changes a password
or erases a user deletes the user's rows in its own transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from typing import Literal
from uuid import UUID

import msgspec

from command_api.deciding.load_result import LoadRequest
from command_api.identity.accounts import Account
from command_api.store.store import Store
from shared.errors import NotFound
from shared.ids import UserId, new_uuid7
from shared.log.sealing import KeyWrap, SubjectKeys, seal

Purpose = Literal["reset", "verification"]

# How long a link works.
LIFETIME_S: Mapping[Purpose, int] = {"reset": 30 * 60, "verification": 24 * 3_600}
# Mails of one purpose to one user within this time, so that nobody can flood a mailbox. As long as
# a reset's link works, at least one of the last mails is good.
MAILS_A_USER_MAX = 3
MAILS_WITHIN_S = 30 * 60
TOKEN_PREFIX = "sfm_"

_TOKEN = re.compile(r"sfm_([0-9a-f]{32})_([0-9a-f]{64})")
_REQUEST = (
    b"INSERT INTO mails (mail_id, user_id, purpose, token_hash, sealed, expires_at)"
    b" SELECT %(mail_id)s, %(user_id)s, %(purpose)s, %(token_hash)s, %(sealed)s,"
    b" now() + make_interval(secs => %(lifetime_s)s)"
    b" WHERE (SELECT count(*) FROM mails WHERE user_id = %(user_id)s AND purpose = %(purpose)s"
    b" AND created_at > now() - make_interval(secs => %(within_s)s)) < %(mails_max)s"
    b" RETURNING mail_id"
)
_TOKENS_MAIL = (
    b"SELECT user_id, token_hash FROM mails"
    b" WHERE mail_id = %s AND purpose = %s AND expires_at > now()"
)
_PURGE = (
    b"DELETE FROM mails WHERE mail_id IN"
    b" (SELECT mail_id FROM mails WHERE expires_at < now() LIMIT %s)"
)


class Mails:
    """Requests mails, and finds the user of a token."""

    def __init__(self, store: Store, key_wrap: KeyWrap) -> None:
        self._store = store
        self._key_wrap = key_wrap

    async def request(self, purpose: Purpose, account: Account) -> bool:
        """Request a mail to the user's address, and return whether it will be sent.

        It will not if the user got `MAILS_A_USER_MAX` lately, or has no address: then the same
        statements are executed, so that the time reveals nothing.
        """
        mail_id, secret, user_id = new_uuid7(), secrets.token_hex(32), account.user_id
        loaded = await self._store.load(LoadRequest(subjects=[user_id]))
        sealed = None
        if account.user.email is not None:
            key = SubjectKeys(self._key_wrap, loaded.wrapped_keys).get(user_id)
            content = msgspec.json.encode([account.user.email, _token(mail_id, secret)]).decode()
            sealed = seal(key, mail_id.bytes, content) if key else None
        asked = {
            "mail_id": mail_id,
            "user_id": user_id,
            "purpose": purpose,
            "token_hash": _hash(secret),
            "sealed": sealed,
            "lifetime_s": LIFETIME_S[purpose],
            "within_s": MAILS_WITHIN_S,
            "mails_max": MAILS_A_USER_MAX,
        }
        # One after the other: simultaneous requests would not count one another.
        async with self._store.alone(user_id) as connection:
            added = await self._store.rows(_REQUEST, asked, connection)
        return bool(added) and sealed is not None

    async def user_of(self, purpose: Purpose, token: str) -> UserId:
        """Return the user whose token it is; raise `NotFound` for one that is not good."""
        match = _TOKEN.fullmatch(token)
        if match is not None:
            for user_id, token_hash in await self._store.rows(
                _TOKENS_MAIL, [UUID(match[1]), purpose]
            ):
                if hmac.compare_digest(token_hash, _hash(match[2])):
                    return UserId(user_id)
        raise NotFound("the link was used, or is too old: request another")

    async def purge(self) -> int:
        """Delete the rows whose links no longer work, and return their number."""
        return await self._store.delete_all(_PURGE)


def _token(mail_id: UUID, secret: str) -> str:
    return f"{TOKEN_PREFIX}{mail_id.hex}_{secret}"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
