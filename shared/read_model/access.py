"""The access document `access:<id>` of a user or a service key: events that end or change tokens.

The projector writes it, and the query API checks each presented token against it. A subject without
a document never had a role changed, a session ended, a password replaced or a key revoked: all of
its tokens are valid until they expire.
"""

from __future__ import annotations

from uuid import UUID

import msgspec

from shared.ids import NO_VERSION, Version
from shared.log.events import Role
from shared.web.tokens import LEEWAY_S, TOKEN_LIFETIME_S

# An ended session is kept until all of its tokens have expired, with five minutes for clock skew.
# Part of the definition of `profiles`.
ENDED_KEPT_MS = (TOKEN_LIFETIME_S + 300) * 1_000
# With more ended sessions, the document only states from which time on tokens are valid.
ENDED_SESSIONS_MAX = 200
ISSUER_AHEAD_MS = LEEWAY_S * 1_000


class EndedSession(msgspec.Struct, frozen=True, array_like=True):
    """A session that a log-out or a reused refresh token ended; milliseconds since 1970."""

    session_id: UUID
    ended_at_ms: int


class AccessDocument(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The access state of a user or key.

    `role` is None if it never changed, else the user's role since version `role_version` of the
    stream. A new password ended all tokens issued on a version before `sessions_since`, except the
    ones of `kept_session`.
    """

    role: Role | None = None
    role_version: Version = NO_VERSION
    erased: bool = False
    revoked: bool = False
    sessions_since: Version = NO_VERSION
    kept_session: UUID | None = None
    ended_sessions: tuple[EndedSession, ...] = ()
    issued_from_ms: int = 0
