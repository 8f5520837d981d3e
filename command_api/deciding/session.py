"""The ended sessions of one user or one service key."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from shared.ids import StreamId
from shared.log.events import SessionEnded


class EndedSessions(msgspec.Struct, frozen=True):
    """The ended sessions among the loaded events."""

    session_ids: frozenset[UUID] = frozenset()


class EndSession(msgspec.Struct, frozen=True, kw_only=True):
    """End a session; `sessions_stream` is its subject's."""

    session_id: UUID
    subject_id: UUID
    sessions_stream: StreamId
    now: datetime


def decide(command: EndSession, ended: EndedSessions, *, is_open: bool) -> list[SessionEnded]:
    """Return the event; `is_open` says whether the table of sessions still has the session."""
    if not is_open or command.session_id in ended.session_ids:
        return []
    return [
        SessionEnded(
            session_id=command.session_id, subject_id=command.subject_id, ended_at=command.now
        )
    ]


def evolve(ended: EndedSessions, event: SessionEnded) -> EndedSessions:
    return EndedSessions(ended.session_ids | {event.session_id})
