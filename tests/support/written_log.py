"""A log that a test writes event by event, past the deciders, with the metadata that it states."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from shared.ids import EventId, Position, StreamId, UserId, new_uuid7
from shared.log.events import Event, Metadata, UserCreated, UserErased
from tests.support.builders import NOON
from tests.support.system import System

EMAIL = "ann.marker@example.org"
NAME = "Ann Marker-Name"
HASH = "$argon2id$marker-of-a-hash"
EXTERNAL_ID = "marker-of-an-external-id"
REVIEW = "marker of a review"
# No answer, row or log line may hold one of these.
PERSONAL = (EMAIL, NAME, HASH, EXTERNAL_ID, REVIEW)


class WrittenLog:
    def __init__(self, system: System) -> None:
        self._system = system
        self._owner = system.owner()
        self._keys: dict[UserId, bytes] = {}

    def user(self) -> UserId:
        """Add a user with a value in each personal field, as the first event of their stream."""
        user = UserId(new_uuid7())
        self._keys[user], wrapped = self._system.key_wrap().new_key(user)
        self._owner.execute(
            "INSERT INTO subject_keys (user_id, wrapped) VALUES (%s, %s)", [user, wrapped]
        )
        created = UserCreated(
            user_id=user,
            display_name=NAME,
            email=EMAIL,
            password_hash=HASH,
            external_id=EXTERNAL_ID,
            created_at=NOON,
        )
        self.add(created, stream=StreamId(user))
        return user

    def erase(self, user: UserId) -> Position:
        position = self.add(UserErased(user_id=user, erased_at=NOON), stream=StreamId(user))
        self._owner.execute("DELETE FROM subject_keys WHERE user_id = %s", [user])
        return position

    def add(
        self,
        event: Event,
        *,
        stream: StreamId | None = None,
        recorded_at: datetime = NOON,
        actor: UUID | None = None,
        correlation: UUID | None = None,
        causation: UUID | None = None,
    ) -> Position:
        """Append an event; to a stream of its own unless one is given."""
        metadata = Metadata(EventId(new_uuid7()), recorded_at, actor, correlation, causation)
        state = self._system.codec().encode(event, metadata, self._keys)
        return self.add_state(type(event).__name__, state, stream)

    def add_state(self, topic: str, state: bytes, stream: StreamId | None = None) -> Position:
        stream = stream or StreamId(uuid4())
        row = self._owner.execute(
            "INSERT INTO events (originator_id, originator_version, topic, state)"
            " SELECT %(stream)s, 1 + count(*), %(topic)s, %(state)s FROM events"
            " WHERE originator_id = %(stream)s RETURNING notification_id",
            {"stream": stream, "topic": topic, "state": state},
        ).fetchone()
        assert row is not None
        return Position(row[0])

    def rows(self, statement: str, parameters: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        return self._owner.execute(statement, list(parameters)).fetchall()
