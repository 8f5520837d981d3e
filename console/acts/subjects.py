"""What operators act on, with the versions of what they have seen of it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from console.acts.conditions import Subject, version_of
from ops.acts import keys, parked, users
from ops.acts.keys import ServiceKey
from ops.acts.parked import ParkedEntity
from ops.acts.users import UserSession, UserState
from projector.generations.table import Generation
from projector.wiring import Wiring
from shared.ids import UserId


def generation_version(generation: Generation) -> str:
    """Return the version of a generation: its progress changes nothing in it."""
    return version_of(*_facts(generation))


def projection_version(generations: Sequence[Generation], projection: str) -> str:
    """Return the version of a projection: of all its generations that are not purged."""
    return version_of(*(_facts(one) for one in generations if one.projection == projection))


def parked_version(marks: Sequence[ParkedEntity]) -> str:
    """Return the version of an entity that is parked in these generations."""
    facts = sorted((one.generation.number, one.state, one.parked.position) for one in marks)
    return version_of(*facts)


def key_version(key: ServiceKey) -> str:
    """Return the version of a service key: its use changes nothing in it."""
    return version_of(key.key_id, key.revoked_at)


def user_version(user: UserState) -> str:
    """Return the version of a user as operators see them."""
    return version_of(user.user_id, user.role, user.erased)


def sessions_version(sessions: Sequence[UserSession]) -> str:
    """Return the version of a user's sessions: of which ones are open."""
    return version_of(sorted(one.session_id for one in sessions))


def key_subject(key_id: UUID) -> Subject:
    def version(wiring: Wiring) -> str | None:
        with wiring.events.connections.get_connection() as connection:
            key = keys.key_of(connection, key_id)
        return None if key is None else key_version(key)

    return Subject(f"key {key_id}", version)


def user_subject(user_id: UserId) -> Subject:
    def version(wiring: Wiring) -> str:
        with wiring.events.connections.get_connection() as connection:
            return user_version(users.user_state(connection, user_id))

    return Subject(f"user {user_id}", version)


def sessions_subject(user_id: UserId) -> Subject:
    def version(wiring: Wiring) -> str:
        with wiring.events.connections.get_connection() as connection:
            return sessions_version(users.open_sessions(connection, user_id))

    return Subject(f"the list of sessions of user {user_id}", version)


def generation_subject(projection: str, number: int) -> Subject:
    def version(wiring: Wiring) -> str | None:
        generation = wiring.generations.get(projection, number)
        return None if generation is None else generation_version(generation)

    return Subject(f"generation {number} of {projection}", version)


def projection_subject(projection: str) -> Subject:
    def version(wiring: Wiring) -> str:
        return projection_version(wiring.generations.all(), projection)

    return Subject(projection, version)


def parked_subject(projection: str, entity: UUID) -> Subject:
    def version(wiring: Wiring) -> str:
        found = parked.all_parked(wiring)
        marks = [
            one
            for one in found
            if (one.generation.projection, one.parked.entity) == (projection, entity)
        ]
        return parked_version(marks)

    return Subject(f"{entity} in {projection}", version)


def _facts(generation: Generation) -> tuple[object, ...]:
    return (
        generation.projection,
        generation.number,
        generation.state,
        generation.audit,
        generation.switch_when_ready,
    )
