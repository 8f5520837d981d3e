"""What one append writes, as `append.sql` takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from eventsourcing.persistence import StoredEvent

from shared.errors import AppendRefused
from shared.ids import START, Position, StreamId, UserId, Version
from shared.log.arrays import BigintArray, ByteaArray, TextArray, UuidArray
from shared.log.kept_answers import NewAnswer, answer_columns

APPEND = (
    "SELECT first_position, refused_by FROM append_events("
    "%s::uuid[], %s::bigint[], %s::text[], %s::bytea[], %s::uuid[], %s::bigint[],"
    " %s::uuid[], %s::bytea[], %s::uuid[], %s::uuid[], %s::uuid[],"
    " %s::uuid[], %s::uuid[], %s::bytea[], %s::text[], %s::uuid[], %s::bigint[], %s::bigint[],"
    " %s::uuid[])"
)


class Append(NamedTuple):
    """All that one append writes or refuses as a whole.

    `guards` are the versions decided on, of streams written to and of streams only read. All
    sessions of `new_password_users` but the `kept_sessions` end, and so do the `ended_sessions`.
    """

    events: Sequence[StoredEvent]
    guards: Mapping[StreamId, Version]
    new_keys: Mapping[UserId, bytes]
    erased_users: Sequence[UserId]
    new_password_users: Sequence[UserId] = ()
    kept_sessions: Sequence[UUID] = ()
    answers: Sequence[NewAnswer] = ()
    ended_sessions: Sequence[UUID] = ()

    def parameters(self) -> list[Any]:
        """Of the statement `APPEND`."""
        return [
            UuidArray.of([_uuid(event.originator_id) for event in self.events]),
            BigintArray.of([event.originator_version for event in self.events]),
            TextArray.of([event.topic for event in self.events]),
            ByteaArray.of([event.state for event in self.events]),
            UuidArray.of(list(self.guards.keys())),
            BigintArray.of(list(self.guards.values())),
            UuidArray.of(list(self.new_keys.keys())),
            ByteaArray.of(list(self.new_keys.values())),
            UuidArray.of(self.erased_users),
            UuidArray.of(self.new_password_users),
            UuidArray.of(self.kept_sessions),
            *answer_columns(self.answers),
            UuidArray.of(self.ended_sessions),
        ]

    def first_position(self, first: int | None, refused_by: UUID | None) -> Position:
        """Where the first event went, 0 for none, from the row that `APPEND` answers with.

        Raises `AppendRefused`.
        """
        if refused_by is None:
            return Position(first or START)
        version = self.guards.get(StreamId(refused_by))
        if version is not None:
            raise AppendRefused(f"stream {refused_by} is no longer at version {version}")
        raise AppendRefused(f"idempotency key {refused_by} has been answered meanwhile")


def _uuid(originator_id: UUID | str) -> UUID:
    """The library lets a stream's id be text."""
    return originator_id if isinstance(originator_id, UUID) else UUID(originator_id)
