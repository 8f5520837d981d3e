"""The data on which commands are decided: what to load, and what was loaded.

A kept answer is the outcome of a command with an Idempotency-Key, for its repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from shared.ids import Position, StreamId, UserId
from shared.log.stored_row import StoredRow


class AnswerKey(NamedTuple):
    """The principal and the keyed hash of an Idempotency-Key."""

    principal: UUID
    key_id: UUID


class KeptAnswer(NamedTuple):
    """The outcome of the first request with a key, and the keyed hash of that request."""

    request_hmac: bytes
    status: str
    subject: UUID
    position: Position


class NewAnswer(NamedTuple):
    """An answer to keep.

    Its position is the position of the append's event at `place`, 0 first, or of `answer` if
    `place` is None.
    """

    key: AnswerKey
    answer: KeptAnswer
    place: int | None


class LoadRequest(NamedTuple):
    """What to load for a batch.

    The last event of the streams `latest`, all events of the streams `whole`, subjects' wrapped
    keys, the open ones of the sessions, and the answers kept under the given keys.
    """

    latest: Sequence[StreamId] = ()
    whole: Sequence[StreamId] = ()
    subjects: Sequence[UserId] = ()
    sessions: Sequence[UUID] = ()
    answers: Sequence[AnswerKey] = ()


class LoadResult(NamedTuple):
    """What was loaded for a batch.

    Stored rows by stream in version order, wrapped keys by user, the sessions that have not ended,
    and the kept answers.
    """

    streams: dict[StreamId, list[StoredRow]]
    wrapped_keys: dict[UserId, bytes]
    sessions: frozenset[UUID] = frozenset()
    answers: Mapping[AnswerKey, KeptAnswer] = MappingProxyType({})
