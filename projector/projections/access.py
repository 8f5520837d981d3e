"""Fold access documents: roles, ended sessions and revoked keys, by token subject.

They are part of `profiles`. These events change only the access document, so they are folded even
while the user is parked.
"""

from __future__ import annotations

from uuid import UUID

from msgspec.structs import replace

from projector.documents.working_set import Documents, Key
from projector.projections.definition import LogEvent
from shared.ids import UserId
from shared.log.events import (
    Event,
    ServiceKeyRevoked,
    SessionEnded,
    UserPasswordChanged,
    UserRoleChanged,
)
from shared.read_model.access import (
    ENDED_KEPT_MS,
    ENDED_SESSIONS_MAX,
    ISSUER_AHEAD_MS,
    AccessDocument,
    EndedSession,
)
from shared.read_model.kinds import ACCESS
from shared.read_model.ranks import milliseconds

ENTITIES: dict[type[Event], str] = {
    UserRoleChanged: "user_id",
    UserPasswordChanged: "user_id",
    SessionEnded: "subject_id",
    ServiceKeyRevoked: "key_id",
}


def reads(event: Event) -> tuple[Key, ...]:
    match event:
        case UserRoleChanged(user_id=user_id):
            return ((ACCESS.name, user_id.hex),)
        case UserPasswordChanged(user_id=user_id, ends_sessions=True):
            return ((ACCESS.name, user_id.hex),)
        case SessionEnded(subject_id=subject_id):
            return ((ACCESS.name, subject_id.hex),)
        case _:
            return ()


def apply(documents: Documents, logged: LogEvent) -> None:
    event = logged.event
    match event:
        case UserRoleChanged():
            known = _known(documents, event.user_id)
            changed = replace(known, role=event.role, role_version=logged.version)
            documents.put(ACCESS, event.user_id.hex, changed)
        case UserPasswordChanged():
            if event.ends_sessions:
                known = _known(documents, event.user_id)
                ended = replace(
                    known, sessions_since=logged.version, kept_session=event.kept_session
                )
                documents.put(ACCESS, event.user_id.hex, ended)
        case SessionEnded():
            known = _known(documents, event.subject_id)
            documents.put(ACCESS, event.subject_id.hex, _with_ended(known, event))
        case ServiceKeyRevoked():
            documents.put(ACCESS, event.key_id.hex, AccessDocument(revoked=True))
        case _:
            pass


def erase(documents: Documents, user_id: UserId) -> None:
    """Replace the document: an erased user has no valid token, whatever else happened."""
    documents.put(ACCESS, user_id.hex, AccessDocument(erased=True))


def _known(documents: Documents, subject_id: UUID) -> AccessDocument:
    return documents.get(ACCESS, subject_id.hex) or AccessDocument()


def _with_ended(known: AccessDocument, event: SessionEnded) -> AccessDocument:
    """Add the ended session, and drop sessions whose tokens have all expired by then."""
    if known.erased or known.revoked:
        return known
    now_ms = milliseconds(event.ended_at)
    kept = [one for one in known.ended_sessions if one.ended_at_ms > now_ms - ENDED_KEPT_MS]
    kept.append(EndedSession(event.session_id, now_ms))
    if len(kept) <= ENDED_SESSIONS_MAX:
        return replace(known, ended_sessions=tuple(kept))
    # This also refuses tokens of open sessions: their clients refresh them.
    issued_from_ms = max(one.ended_at_ms for one in kept) + ISSUER_AHEAD_MS
    return replace(
        known, ended_sessions=(), issued_from_ms=max(known.issued_from_ms, issued_from_ms)
    )
