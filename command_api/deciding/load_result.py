"""What commands are decided on: what to load for them and what was found, kept answers included.

A kept answer is what a command with an Idempotency-Key came to, for those who send it again.
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
    """What the first request with a key came to, and the keyed hash of that request."""

    request_hmac: bytes
    status: str
    subject: UUID
    position: Position


class NewAnswer(NamedTuple):
    """An answer to keep. Its position is that of the append's event at `place`, 0 first, or where
    that is None the one of `answer`.
    """

    key: AnswerKey
    answer: KeptAnswer
    place: int | None


class LoadRequest(NamedTuple):
    """The last event of the streams `latest`, all of the streams `whole`, subjects' wrapped keys,
    which of the sessions have not ended, and the answers kept under the given keys.
    """

    latest: Sequence[StreamId] = ()
    whole: Sequence[StreamId] = ()
    subjects: Sequence[UserId] = ()
    sessions: Sequence[UUID] = ()
    answers: Sequence[AnswerKey] = ()


class LoadResult(NamedTuple):
    """Stored rows by stream in version order, wrapped keys by user, the sessions that have not
    ended, and the kept answers.
    """

    streams: dict[StreamId, list[StoredRow]]
    wrapped_keys: dict[UserId, bytes]
    sessions: frozenset[UUID] = frozenset()
    answers: Mapping[AnswerKey, KeptAnswer] = MappingProxyType({})
