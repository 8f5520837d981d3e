"""Decide a batch: each command in turn, on the loaded state and on what earlier commands recorded.

A command whose Idempotency-Key has been answered, earlier in the log or in this batch, is not
decided again: it gets that answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar, cast
from uuid import UUID

from command_api.commit.idempotency import RequestKey
from command_api.commit.pending_command import Answer, Outcome, PendingCommand
from command_api.deciding import use_cases
from command_api.deciding.cases.decision import Status
from command_api.deciding.load_result import AnswerKey, KeptAnswer, LoadResult, NewAnswer
from command_api.deciding.principal import require_session, session_of
from command_api.deciding.session import EndSession
from command_api.deciding.streams import Needs, Streams
from shared.errors import IdempotencyKeyReused, Rejected
from shared.ids import Position, StreamId

Item = TypeVar("Item")


class BatchNeeds(NamedTuple):
    """Everything on which a batch is decided, each item once."""

    streams: Needs
    sessions: tuple[UUID, ...]
    answers: tuple[AnswerKey, ...]


class Result(NamedTuple):
    """The result of a command.

    `place` is the index of its event in the batch, 0 first; if that is None, the event is already
    in the log at `position`.
    """

    status: Status
    subject: UUID
    place: int | None
    position: Position
    version: Callable[[], str | None] | None = None

    def outcome(self, first: Position | None) -> Outcome:
        """Return the outcome, given the position of the batch's first event."""
        if self.place is None or first is None:
            return Outcome(self.status, self.subject, self.position, self.version)
        position = Position(first + self.place)
        return Outcome(self.status, self.subject, position, self.version)


class BatchDecision(NamedTuple):
    """A decided batch: the result of each command, and the answers to keep."""

    streams: Streams
    results: list[Result | Exception]
    new_answers: list[NewAnswer]

    @property
    def writes(self) -> bool:
        return bool(self.streams.events or self.new_answers)

    def answers(self, first: Position | None) -> list[Answer]:
        return [
            result if isinstance(result, Exception) else result.outcome(first)
            for result in self.results
        ]


def needs_of(batch: Sequence[PendingCommand]) -> BatchNeeds:
    """Return what to load before the batch is decided."""
    wanted = [use_cases.needs(pending.command, pending.principal) for pending in batch]
    return BatchNeeds(
        Needs(
            latest=_unique(stream for need in wanted for stream in need.latest),
            whole=_unique(stream for need in wanted for stream in need.whole),
            movies=_unique(movie for need in wanted for movie in need.movies),
            subjects=_unique(user for need in wanted for user in need.subjects),
        ),
        sessions=_unique(
            [
                *(one for pending in batch if (one := session_of(pending.principal)) is not None),
                *(session for need in wanted for session in need.sessions),
            ]
        ),
        answers=_unique(one.key for pending in batch for one in pending.keys),
    )


def further_needs_of(batch: Sequence[PendingCommand], streams: Streams) -> tuple[StreamId, ...]:
    """Return what else to load, as named by the state loaded first; mostly nothing."""
    return _unique(
        stream for pending in batch for stream in use_cases.further_needs(pending.command, streams)
    )


def decide_batch(
    batch: Sequence[PendingCommand], streams: Streams, loaded: LoadResult
) -> BatchDecision:
    """Decide each command; a refusal is that command's result, and records nothing."""
    decided = BatchDecision(streams, [], [])
    answered: dict[AnswerKey, tuple[bytes, Result]] = {
        key: (kept.request_hmac, _kept(kept)) for key, kept in loaded.answers.items()
    }
    for pending in batch:
        streams.begin(pending)
        try:
            # Logging out of a session that has ended is no error.
            if not isinstance(pending.command, EndSession):
                require_session(pending.principal, loaded.sessions)
            result = _repeated(pending.keys, answered)
            if result is not None:
                # The kept answer is only for a caller who may still send the command.
                use_cases.authorize(pending.command, pending.principal, streams)
            else:
                result = _decide(pending, streams)
                for one in pending.keys:
                    if one.key not in answered:
                        answered[one.key] = (one.request_hmac, result)
                        decided.new_answers.append(_new_answer(one, result))
            decided.results.append(result)
        except Rejected as rejection:
            decided.results.append(rejection)
    return decided


def _decide(pending: PendingCommand, streams: Streams) -> Result:
    decision = use_cases.decide(pending.command, pending.principal, streams)
    place, position = streams.last_of(decision.stream_id)
    return Result(decision.status, decision.subject, place, position, decision.version)


def _repeated(
    keys: tuple[RequestKey, ...], answered: dict[AnswerKey, tuple[bytes, Result]]
) -> Result | None:
    """Return the first answer to the first key.

    Raises `IdempotencyKeyReused` if one of the keys was used with another request before.
    """
    if not keys:
        return None
    for key, request_hmac in keys:
        if key in answered and answered[key][0] != request_hmac:
            raise IdempotencyKeyReused("this Idempotency-Key was used with another request before")
    kept = answered.get(keys[0].key)
    return None if kept is None else kept[1]


def _kept(kept: KeptAnswer) -> Result:
    return Result(cast("Status", kept.status), kept.subject, None, kept.position)


def _new_answer(key: RequestKey, result: Result) -> NewAnswer:
    answer = KeptAnswer(key.request_hmac, result.status, result.subject, result.position)
    return NewAnswer(key.key, answer, result.place)


def _unique(items: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(items))
