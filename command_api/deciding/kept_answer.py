"""Kept answers: what a command with an Idempotency-Key came to, for those who send it again."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from shared.ids import Position


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
