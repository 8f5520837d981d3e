"""Kept answers: what a command with an Idempotency-Key came to, for those who send it again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from shared.ids import Position

# Where the parts of a state begin, as `load.sql` puts them together.
_PRINCIPAL_AT = 32
_SUBJECT_AT = _PRINCIPAL_AT + 16
_STATUS_AT = _SUBJECT_AT + 16


class AnswerKey(NamedTuple):
    """Whose Idempotency-Key, and the keyed hash of it."""

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


def read_answer(state: bytes, position: Position) -> tuple[UUID, KeptAnswer]:
    """Whose answer a row of `load.sql` holds, and the answer."""
    return UUID(bytes=state[_PRINCIPAL_AT:_SUBJECT_AT]), KeptAnswer(
        request_hmac=state[:_PRINCIPAL_AT],
        status=state[_STATUS_AT:].decode(),
        subject=UUID(bytes=state[_SUBJECT_AT:_STATUS_AT]),
        position=position,
    )


def answer_columns(answers: Sequence[NewAnswer]) -> list[list[Any]]:
    """One array for each column that `append_events` takes of them."""
    return [
        [new.key.principal for new in answers],
        [new.key.key_id for new in answers],
        [new.answer.request_hmac for new in answers],
        [new.answer.status for new in answers],
        [new.answer.subject for new in answers],
        [new.place for new in answers],
        [new.answer.position for new in answers],
    ]
