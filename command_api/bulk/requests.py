"""Bulk requests: each row is a separate command, and a bad row does not affect the others."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from command_api.bodies.bounded_json import validated
from command_api.bodies.idempotency_key import key_text
from command_api.bodies.json_body import require_json
from command_api.bodies.models import BulkBody
from command_api.bulk.decoder import Raw, rows_decoder
from command_api.bulk.room import BulkRoom
from command_api.commit.dispatcher import Dispatcher
from command_api.commit.idempotency import RequestKey, request_key
from command_api.commit.pending_command import Answer as RowAnswer
from command_api.commit.pending_command import Outcome
from command_api.deciding.use_cases import Command
from shared.errors import (
    Forbidden,
    IdempotencyKeyReused,
    InvalidInput,
    MalformedJson,
    Moved,
    NotAuthenticated,
    RatingSuperseded,
    Rejected,
)
from shared.web.answer import Answer, json_answer
from shared.web.operation import Request
from shared.web.problems import POSITION_HEADER, TYPE_PREFIX, InvalidFields, field_problem

Result = dict[str, Any]
# Makes the keys of a row from its index and its bytes: its own, and the whole request's.
KeysOfRow = Callable[[int, bytes], tuple[RequestKey, RequestKey]]
# Indexes of rows, and the future answers of their commands.
TurnsInFlight = deque[tuple[list[int], asyncio.Future[list[RowAnswer]]]]

# Rows validated before other requests get their turn on the event loop. A turn ends earlier when it
# has validated this many bytes or reported this many errors.
ROWS_A_TURN = 100
BYTES_A_TURN = 128 * 1024
ERRORS_A_TURN = 200
# Maximum errors that the answer lists; further ones are only counted.
ERRORS_A_ROW_MAX = 8
ERRORS_A_BODY_MAX = 1_000
# Pause after each turn, long enough to send its rows to the database: validation is best done while
# the event loop waits for that.
TURN_PAUSE_S = 0.001
# Turns of one request that may wait for their commit, so that the queue holds several requests.
TURNS_WAITING_MAX = 10
# Splitting this many bytes into rows takes the event loop less than a millisecond.
SPLIT_ON_LOOP_BYTES_MAX = 256 * 1024


class Results(list[Result]):
    """One result for each row, in order.

    With the highest position among them, and the number of field errors that they report.
    """

    position: int = 0
    errors: int = 0


class RowKind(NamedTuple):
    """The kind of a request's rows; `subject` names the field for the id of a created entity."""

    model: type[BaseModel]
    bytes_max: int
    subject: str | None = None


class BulkJson:
    """A body that is one list of rows; `BulkRequests` reads it once there is room."""

    is_bulk = True

    def __init__(self, model: type[BulkBody], bytes_max: int) -> None:
        self.models: Sequence[type[BaseModel]] = (model,)
        self.bytes_max = bytes_max
        self.field = model.FIELD
        self.decode = rows_decoder(model)

    async def read(self, _request: Request[Any, Any]) -> None:
        return None


class BulkRequests:
    """Checks for room before it reads a body, and holds a place once the body is complete."""

    def __init__(self, room: BulkRoom, dispatcher: Dispatcher, secret: bytes) -> None:
        self._room = room
        self._dispatcher = dispatcher
        self._secret = secret

    async def commit(
        self, request: Request[Any, None], kind: RowKind, command_of: Callable[[Any], Command]
    ) -> Answer:
        """Commit the valid rows of a request, and answer with a result for each row.

        With an Idempotency-Key each row is executed once: a repeat of the request gets each row's
        first result, even if only some rows were committed the first time. Raises
        `IdempotencyKeyReused`, and commits no row, if a row of another request was committed with
        the key.
        """
        body, caller = request.operation.body, request.caller
        assert isinstance(body, BulkJson)
        actor = caller.principal.actor
        assert actor is not None  # Every bulk operation requires a credential.
        given: str | None = request.parameters.idempotency_key
        text = None if given is None else key_text(given)
        self._room.require_place(actor)
        content = await self._room.received(actor, request.parts())
        with self._room.entered(actor):
            require_json(request, content)

            def split() -> tuple[Sequence[Raw], KeysOfRow | None]:
                keyed = None if text is None else self._keys_of_row(text, request, actor, content)
                return body.decode(content), keyed

            on_loop = len(content) <= SPLIT_ON_LOOP_BYTES_MAX
            rows, keys_of_row = split() if on_loop else await run_in_threadpool(split)
            caller.charge_rows(len(rows), len(content))
            if not rows:
                raise InvalidInput("send at least one row", pointer=f"/{body.field}")
            results = await self._results(rows, kind, command_of, keys_of_row, request)
        answer = json_answer({"results": results})
        answer.fields.append((POSITION_HEADER.lower().encode(), b"%d" % results.position))
        return answer

    def _keys_of_row(
        self, text: str, request: Request[Any, None], actor: UUID, content: bytes
    ) -> KeysOfRow:
        named = (request.operation.method, request.path, "")
        # Hash the content first: meanwhile other threads can run.
        content_hash = hashlib.sha256(content).digest()
        whole = request_key(text, named, content_hash, actor, self._secret)

        def keys_of_row(place: int, row: bytes) -> tuple[RequestKey, RequestKey]:
            # No key has a space.
            return request_key(f"{text} {place}", named, row, actor, self._secret), whole

        return keys_of_row

    async def _results(
        self,
        rows: Sequence[Raw],
        kind: RowKind,
        command_of: Callable[[Any], Command],
        keys_of_row: KeysOfRow | None,
        request: Request[Any, None],
    ) -> Results:
        """Validate each row, commit the valid ones, and return their results.

        While some rows are committed the next ones are validated. Raises only errors that concern
        the whole request.
        """
        results, caller = Results(), request.caller
        decided = 0
        waiting: TurnsInFlight = deque()
        while len(results) < len(rows):
            if len(waiting) == TURNS_WAITING_MAX:
                await _settle_first(waiting, results, kind.subject, request)
            commands, places, row_bytes = _validated_turn(rows, kind, command_of, results)
            keys = [keys_of_row(at, bytes(rows[at])) for at in places] if keys_of_row else ()
            answers = self._dispatcher.dispatch_bulk(
                commands,
                caller.principal,
                request_id=request.request_id,
                row_bytes=row_bytes,
                keys=keys,
            )
            waiting.append((places, answers))
            await asyncio.sleep(TURN_PAUSE_S)
            decided += len(places)
        # Undecided rows have not checked the caller.
        caller.is_doubted = decided < len(rows)
        while waiting:
            await _settle_first(waiting, results, kind.subject, request)
        return results


def _validated_turn(
    rows: Sequence[Raw], kind: RowKind, command_of: Callable[[Any], Command], results: Results
) -> tuple[list[Command], list[int], list[int]]:
    """Validate a turn's rows; return the commands, indexes and sizes of the valid ones."""
    commands: list[Command] = []
    places: list[int] = []
    row_bytes: list[int] = []
    start, bytes_left, errors_before = len(results), BYTES_A_TURN, results.errors
    for place, raw in enumerate(rows[start : start + ROWS_A_TURN], start=start):
        row = bytes(raw)
        size_bytes = len(row)
        try:
            if size_bytes > kind.bytes_max:
                raise InvalidInput(
                    f"the row has {size_bytes:,} bytes, the maximum is {kind.bytes_max:,}"
                )
            commands.append(command_of(validated(kind.model, row)))
            places.append(place)
            row_bytes.append(size_bytes)
            results.append({"index": place})
        except InvalidFields as error:
            results.append(_invalid(place, error, results))
        except MalformedJson:
            results.append({"index": place, **_failed(InvalidInput("the row is not valid JSON"))})
        except Rejected as error:
            results.append({"index": place, **_failed(error)})
        bytes_left -= size_bytes
        if bytes_left <= 0 or results.errors - errors_before >= ERRORS_A_TURN:
            break
    return commands, places, row_bytes


async def _settle_first(
    waiting: TurnsInFlight, results: Results, subject: str | None, request: Request[Any, None]
) -> None:
    places, answers = waiting.popleft()
    for place, row_answer in zip(places, await answers, strict=True):
        _settle(results, place, row_answer, subject)
        if isinstance(row_answer, NotAuthenticated | Forbidden):
            request.caller.is_doubted = True


def _settle(results: Results, place: int, row_answer: RowAnswer, subject: str | None) -> None:
    result = results[place]
    if isinstance(row_answer, Outcome):
        result["status"] = row_answer.status
        if subject is not None:
            result[subject] = row_answer.subject
        results.position = max(results.position, row_answer.position)
    elif isinstance(row_answer, Rejected) and not isinstance(row_answer, IdempotencyKeyReused):
        result.update(_failed(row_answer))
    else:  # No row is at fault: the error is the answer to the request.
        raise row_answer


def _failed(error: Rejected) -> Result:
    if isinstance(error, Moved):
        return {"status": "moved", "movie_id": error.into}
    status = "superseded" if isinstance(error, RatingSuperseded) else "rejected"
    problem: dict[str, Any] = {"type": TYPE_PREFIX + error.code, "detail": str(error)}
    if error.pointer:
        problem["errors"] = [{"pointer": error.pointer, "detail": str(error)}]
    return {"status": status, "problem": problem}


def _invalid(place: int, error: InvalidFields, results: Results) -> Result:
    """List the first errors of a row, within the body's total."""
    count = len(error.wrong)
    shown = min(count, ERRORS_A_ROW_MAX, max(0, ERRORS_A_BODY_MAX - results.errors))
    results.errors += shown
    problem: dict[str, Any] = {"type": TYPE_PREFIX + InvalidInput.code}
    if shown:
        fields = [field_problem(location, message) for location, message in error.wrong[:shown]]
        problem["errors"] = fields
        said = [f"{field['pointer'] or 'row'}: {field['detail']}" for field in fields]
    else:
        said = []
    if count > shown:
        said.append(f"{count - shown} more values are not allowed")
    problem["detail"] = "; ".join(said)
    return {"index": place, "status": "rejected", "problem": problem}
