"""The contents of one append, and its statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, NamedTuple
from uuid import UUID

from command_api.deciding.load_result import NewAnswer
from command_api.store.arrays import BigintArray, ByteaArray, TextArray, UuidArray
from shared.errors import AppendRefused
from shared.ids import START, Position, StreamId, UserId, Version

APPEND = files("command_api.store").joinpath("append.sql").read_bytes()


class NewRow(NamedTuple):
    """One encoded event to store, at its place in its stream."""

    stream_id: StreamId
    version: Version
    topic: str
    state: bytes


class Append(NamedTuple):
    """Everything that one append writes or refuses as a whole.

    `guards` are the versions decided on, of streams written to and of streams only read. All
    sessions of `new_password_users` except the `kept_sessions` end, and so do the `ended_sessions`.
    """

    events: Sequence[NewRow]
    guards: Mapping[StreamId, Version] = {}
    new_keys: Mapping[UserId, bytes] = {}
    # Together with the other owners of their kept answers.
    erased_users: Sequence[UUID] = ()
    new_password_users: Sequence[UserId] = ()
    kept_sessions: Sequence[UUID] = ()
    answers: Sequence[NewAnswer] = ()
    ended_sessions: Sequence[UUID] = ()

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the statement `APPEND`."""
        answers = self.answers
        return {
            "stream_ids": UuidArray.of([event.stream_id for event in self.events]),
            "versions": BigintArray.of([event.version for event in self.events]),
            "topics": TextArray.of([event.topic for event in self.events]),
            "states": ByteaArray.of([event.state for event in self.events]),
            "guard_ids": UuidArray.of(list(self.guards.keys())),
            "guard_versions": BigintArray.of(list(self.guards.values())),
            "new_key_owners": UuidArray.of(list(self.new_keys.keys())),
            "new_keys": ByteaArray.of(list(self.new_keys.values())),
            "erased_users": UuidArray.of(self.erased_users),
            "new_password_users": UuidArray.of(self.new_password_users),
            "kept_sessions": UuidArray.of(self.kept_sessions),
            "ended_sessions": UuidArray.of(self.ended_sessions),
            "answer_principals": UuidArray.of([new.key.principal for new in answers]),
            "answer_key_ids": UuidArray.of([new.key.key_id for new in answers]),
            "answer_hmacs": ByteaArray.of([new.answer.request_hmac for new in answers]),
            "answer_statuses": TextArray.of([new.answer.status for new in answers]),
            "answer_subjects": UuidArray.of([new.answer.subject for new in answers]),
            # A list, because an element may be null.
            "answer_places": [new.place for new in answers] or BigintArray.of(()),
            "answer_positions": BigintArray.of([new.answer.position for new in answers]),
        }

    def first_position(self, first: int | None, refused_by: UUID | None) -> Position:
        """Return the first event's position, 0 for none, from the row of `APPEND`."""
        if refused_by is None:
            return Position(first or START)
        version = self.guards.get(StreamId(refused_by))
        if version is not None:
            raise AppendRefused(f"stream {refused_by} is no longer at version {version}")
        raise AppendRefused(f"idempotency key {refused_by} has been answered meanwhile")
