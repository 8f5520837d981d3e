"""Check access tokens against the log, through the `profiles` read model.

A token describes its bearer at the time of issue. Later events (a session ended, a password was
replaced, a role changed, a user was erased, a key was revoked) are in the subject's access
document, which is read in the same round trip as everything else that the request reads.
"""

from __future__ import annotations

from query_api.redis_reads.freshness import Freshness
from query_api.redis_reads.reader import Documents, Reader
from shared.errors import NotAuthenticated
from shared.ids import Position
from shared.read_model.access import AccessDocument
from shared.read_model.keys import PROFILES
from shared.read_model.kinds import ACCESS
from shared.web.tokens import Claims


class CallerAccess:
    """Checks callers, and raises if the read model cannot be read.

    A token never passes for lack of an answer.
    """

    def __init__(self, reader: Reader, freshness: Freshness) -> None:
        self._reader = reader
        self._freshness = freshness

    async def current(self, claims: Claims, wanted: Position) -> Claims:
        """Return the claims with the subject's current role.

        Raises `NotAuthenticated` if an event up to `wanted`, or a later one, has ended the token.
        """

        async def read() -> Documents:
            return await self._reader.documents(PROFILES, claims.user_id, (ACCESS.name,))

        (stored,) = (await self._freshness.at_least(wanted, read)).values
        if stored is None:
            return claims
        return checked_claims(claims, ACCESS.parse(stored))


def checked_claims(claims: Claims, known: AccessDocument) -> Claims:
    """Apply an access document to the claims; raise `NotAuthenticated` for an ended token."""
    if known.erased:
        raise NotAuthenticated("the user of this access token no longer exists")
    if known.revoked:
        raise NotAuthenticated("the service key of this access token has been revoked")
    replaced = claims.version < known.sessions_since and not (
        claims.session_id is not None and claims.session_id == known.kept_session
    )
    logged_out = any(one.session_id == claims.session_id for one in known.ended_sessions)
    if replaced or logged_out or claims.issued_at * 1_000 < known.issued_from_ms:
        raise NotAuthenticated("the session of this access token has ended")
    if known.role is None or claims.version > known.role_version:
        return claims
    return claims._replace(role=known.role)
