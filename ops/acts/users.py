"""Users, as operators see them without personal data, and what operators do with them.

The acts are requests to the command API, which decides them; the caller's own credential counts.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, get_args
from uuid import UUID

import psycopg
from psycopg.rows import class_row, tuple_row

from ops.acts.projections import NoSuch
from shared.ids import UserId
from shared.log.codec import Codec
from shared.log.events import Role, UserCreated, UserErased, UserRoleChanged
from starfold_client import Starfold

CHANGE_ROLE, END_SESSIONS, ERASE = "role", "end sessions", "erase"
ROLES: tuple[Role, ...] = get_args(Role)
SESSIONS_MAX = 100

_EVENTS = (
    "SELECT topic, state FROM events WHERE originator_id = %s AND topic = ANY (%s)"
    " ORDER BY originator_version"
)
_TOPICS = [one.__name__ for one in (UserCreated, UserRoleChanged, UserErased)]
_SESSIONS = (
    "SELECT session_id, created_at, refreshed_at AS last_used_at, expires_at FROM sessions"
    " WHERE subject_id = %s AND expires_at > now() ORDER BY refreshed_at DESC, session_id LIMIT %s"
)
_codec = Codec()


class UserState(NamedTuple):
    """What an operator sees of a user; an erased one has no role."""

    user_id: UserId
    role: Role | None
    erased: bool
    created_at: datetime
    erased_at: datetime | None = None


class UserSession(NamedTuple):
    """An open session; its device is its owner's to see."""

    session_id: UUID
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


def user_state(connection: psycopg.Connection[Any], user_id: UserId) -> UserState:
    """Return a user, erased or not, without opening personal data; raise `NoSuch`."""
    cursor = connection.cursor(row_factory=tuple_row, binary=True)
    state: UserState | None = None
    for topic, stored in cursor.execute(_EVENTS, [user_id, _TOPICS]):
        match _codec.decode_sealed(topic, stored).event:
            case UserCreated() as created:
                state = UserState(user_id, created.role, False, created.created_at)
            case UserRoleChanged(role=role) if state is not None:
                state = state._replace(role=role)
            case UserErased(erased_at=erased_at) if state is not None:
                state = state._replace(role=None, erased=True, erased_at=erased_at)
    if state is None:
        raise NoSuch(f"there is no user {user_id}")
    return state


def open_sessions(connection: psycopg.Connection[Any], user_id: UserId) -> list[UserSession]:
    """Return a user's open sessions, last used first, at most `SESSIONS_MAX`."""
    cursor = connection.cursor(row_factory=class_row(UserSession))
    return cursor.execute(_SESSIONS, [user_id, SESSIONS_MAX]).fetchall()


def change_role(client: Starfold, user_id: UserId, role: Role) -> None:
    """Give a user another role."""
    client.change_role(user_id, role)


def end_sessions(client: Starfold, user_id: UserId) -> None:
    """End all sessions of a user, with their tokens."""
    client.end_sessions(user_id)


def erase(client: Starfold, user_id: UserId) -> None:
    """Erase a user for good: personal data becomes unreadable, scores stay in the averages."""
    client.erase_user(user_id)
