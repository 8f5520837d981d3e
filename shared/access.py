"""What the log says against access tokens: the document `access:<id>` of a user or a service key.

The projector writes it, the query API checks each presented token against it. A subject without a
document has never had a role changed, a session ended, a password replaced, or a key revoked:
nothing is known against their tokens.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from shared.events import Role
from shared.ids import NO_VERSION, Version
from shared.tokens import LEEWAY_S, TOKEN_LIFETIME_S

ACCESS = "access"

# An ended session is kept until no token of it can be good any more; part of the definition of
# `profiles`, with five minutes for clocks that disagree.
ENDED_KEPT_MS = (TOKEN_LIFETIME_S + 300) * 1_000
# Beyond this many, the document says instead from when on a token must be issued.
ENDED_SESSIONS_MAX = 200
ISSUER_AHEAD_MS = LEEWAY_S * 1_000


class EndedSession(msgspec.Struct, frozen=True, array_like=True):
    """A session that a log-out or a reused refresh token ended; milliseconds since 1970."""

    session_id: UUID
    ended_at_ms: int


class AccessDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`role` is None where it never changed; it stands since `role_version` of the user's stream.

    Tokens issued on a version before `sessions_since` are of sessions that a new password ended,
    unless they are of `kept_session`.
    """

    role: Role | None = None
    role_version: Version = NO_VERSION
    erased: bool = False
    revoked: bool = False
    sessions_since: Version = NO_VERSION
    kept_session: UUID | None = None
    ended_sessions: tuple[EndedSession, ...] = ()
    issued_from_ms: int = 0
