"""What commands are decided on, read in one round trip by `load.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

from psycopg.rows import TupleRow

from shared.ids import Position, StreamId, UserId, Version
from shared.log.arrays import UuidArray
from shared.log.kept_answers import AnswerKey, KeptAnswer, read_answer

LOAD = files("shared.log").joinpath("load.sql").read_bytes()
# What a row without a topic is, by its version; else a subject's key.
_IS_SESSION, _IS_ANSWER = -1, -2


class StoredRow(NamedTuple):
    """One event as stored; the state is still encoded."""

    position: Position
    stream_id: StreamId
    version: Version
    topic: str
    state: bytes


class Wanted(NamedTuple):
    """The last event of the streams `latest`, all of the streams `whole`, subjects' wrapped keys,
    which of the sessions have not ended, and the answers kept under the given keys.
    """

    latest: Sequence[StreamId] = ()
    whole: Sequence[StreamId] = ()
    subjects: Sequence[UserId] = ()
    sessions: Sequence[UUID] = ()
    answers: Sequence[AnswerKey] = ()

    def parameters(self) -> dict[str, Any]:
        """Of the statement `LOAD`."""
        return {
            "latest": UuidArray.of(self.latest),
            "whole": UuidArray.of(self.whole),
            "subjects": UuidArray.of(self.subjects),
            "sessions": UuidArray.of(self.sessions),
            "principals": UuidArray.of([key.principal for key in self.answers]),
            "key_ids": UuidArray.of([key.key_id for key in self.answers]),
        }


class Loaded(NamedTuple):
    """What was found: stored rows by stream in version order, wrapped keys by user, the sessions
    that have not ended, and the answers kept.
    """

    streams: dict[StreamId, list[StoredRow]]
    wrapped_keys: dict[UserId, bytes]
    sessions: frozenset[UUID] = frozenset()
    answers: Mapping[AnswerKey, KeptAnswer] = MappingProxyType({})


def loaded(rows: Sequence[TupleRow]) -> Loaded:
    """Rows of `LOAD`, sorted by what they are."""
    streams: dict[StreamId, list[StoredRow]] = {}
    wrapped_keys: dict[UserId, bytes] = {}
    sessions: set[UUID] = set()
    answers: dict[AnswerKey, KeptAnswer] = {}
    for row_id, version, position, topic, state in rows:
        if topic:
            row = StoredRow(Position(position), StreamId(row_id), Version(version), topic, state)
            streams.setdefault(row.stream_id, []).append(row)
        elif version == _IS_SESSION:
            sessions.add(row_id)
        elif version == _IS_ANSWER:
            principal, answer = read_answer(state, Position(position))
            answers[AnswerKey(principal, row_id)] = answer
        else:
            wrapped_keys[UserId(row_id)] = state
    for stored in streams.values():
        stored.sort(key=lambda row: row.version)
    return Loaded(streams, wrapped_keys, frozenset(sessions), answers)
