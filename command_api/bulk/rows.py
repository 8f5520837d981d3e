"""Rows of bulk requests: each row is a command of its own, and a bad one spoils no other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from command_api.bulk.decoder import Raw
from command_api.commit.pending_command import Answer, Outcome
from command_api.deciding.principal import Principal
from command_api.deciding.use_cases import Command
from command_api.http.bounded_json import validated
from command_api.http.caller_route import doubt_caller
from command_api.http.dependencies import Wiring
from shared.errors import Forbidden, InvalidInput, NotAuthenticated, RatingSuperseded, Rejected
from shared.web.problems import POSITION_HEADER, TYPE_PREFIX, field_problem

Result = dict[str, Any]

# Rows validated before other requests get their turn on the event loop, and then sent on their way.
# A turn ends earlier when it has validated this many bytes or reported this many errors.
ROWS_A_TURN = 100
BYTES_A_TURN = 128 * 1024
ERRORS_A_TURN = 200
# What the answer says of wrong fields: more are counted only.
ERRORS_A_ROW_MAX = 8
ERRORS_A_BODY_MAX = 1_000
# After each, long enough for the former ones to be off to the database: rows are best validated
# while that is waited for.
TURN_PAUSE_S = 0.001
# Of one request, how many such turns wait for their commit, so that the bulk queue holds several
# requests.
TURNS_WAITING_MAX = 10


class Results(list[Result]):
    """One result a row, in order, the highest position among them, and how many errors of fields
    they report.
    """

    position: int = 0
    errors: int = 0


class RowKind(NamedTuple):
    """What the rows of a request are. `subject` names the field that holds what a row created."""

    model: type[BaseModel]
    bytes_max: int
    subject: str | None = None


async def commit_rows(
    rows: Sequence[Raw],
    kind: RowKind,
    command_of: Callable[[Any], Command],
    request: Request,
    wiring: Wiring,
    principal: Principal,
) -> Results:
    """Validate each row, commit the good ones, and say of each what it came to.

    While some rows are committed the next ones are validated. Raises only what concerns the whole
    request.
    """
    results = Results()
    decided = 0
    waiting: deque[tuple[list[int], asyncio.Future[list[Answer]]]] = deque()
    while len(results) < len(rows):
        if len(waiting) == TURNS_WAITING_MAX:
            await _settle_first(waiting, results, kind.subject, request)
        commands, places, row_bytes = _validated_turn(rows, kind, command_of, results)
        answers = wiring.dispatcher.dispatch_bulk(
            commands, principal, request_id=request.state.request_id, row_bytes=row_bytes
        )
        waiting.append((places, answers))
        await asyncio.sleep(TURN_PAUSE_S)
        decided += len(places)
    if decided < len(rows):
        doubt_caller(request)  # Nothing has checked the caller of a row that is not decided.
    while waiting:
        await _settle_first(waiting, results, kind.subject, request)
    return results


def rows_response(results: Results) -> Response:
    """200 with a result for each row."""
    return Response(
        msgspec.json.encode({"results": results}),
        HTTPStatus.OK,
        headers={POSITION_HEADER: str(results.position)},
        media_type="application/json",
    )


def _validated_turn(
    rows: Sequence[Raw], kind: RowKind, command_of: Callable[[Any], Command], results: Results
) -> tuple[list[Command], list[int], list[int]]:
    """The commands of a turn's good rows, their places and their bytes; every row gets its
    result.
    """
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
                    f"the row has {size_bytes:,} bytes and may have {kind.bytes_max:,}"
                )
            commands.append(command_of(validated(kind.model, row)))
            places.append(place)
            row_bytes.append(size_bytes)
            results.append({"index": place})
        except ValidationError as error:
            results.append(_invalid(place, error, results))
        except RequestValidationError:
            results.append({"index": place, **_failed(InvalidInput("the row is not valid JSON"))})
        except Rejected as error:
            results.append({"index": place, **_failed(error)})
        bytes_left -= size_bytes
        if bytes_left <= 0 or results.errors - errors_before >= ERRORS_A_TURN:
            break
    return commands, places, row_bytes


async def _settle_first(
    waiting: deque[tuple[list[int], asyncio.Future[list[Answer]]]],
    results: Results,
    subject: str | None,
    request: Request,
) -> None:
    places, answers = waiting.popleft()
    for place, row_answer in zip(places, await answers, strict=True):
        _settle(results, place, row_answer, subject)
        if isinstance(row_answer, NotAuthenticated | Forbidden):
            doubt_caller(request)


def _settle(results: Results, place: int, row_answer: Answer, subject: str | None) -> None:
    result = results[place]
    if isinstance(row_answer, Outcome):
        result["status"] = row_answer.status
        if subject is not None:
            result[subject] = row_answer.subject
        results.position = max(results.position, row_answer.position)
    elif isinstance(row_answer, Rejected):
        result.update(_failed(row_answer))
    else:  # No row is at fault: it is the answer to the request, which may be sent again.
        raise row_answer


def _failed(error: Rejected) -> Result:
    status = "superseded" if isinstance(error, RatingSuperseded) else "rejected"
    problem: dict[str, Any] = {"type": TYPE_PREFIX + error.code, "detail": str(error)}
    if error.pointer:
        problem["errors"] = [{"pointer": error.pointer, "detail": str(error)}]
    return {"status": status, "problem": problem}


def _invalid(place: int, error: ValidationError, results: Results) -> Result:
    """The first errors of a row, as far as the body's number of errors is not used up."""
    count = error.error_count()
    shown = min(count, ERRORS_A_ROW_MAX, max(0, ERRORS_A_BODY_MAX - results.errors))
    results.errors += shown
    problem: dict[str, Any] = {"type": TYPE_PREFIX + InvalidInput.code}
    if shown:
        entries = error.errors(include_url=False, include_context=False, include_input=False)
        fields = [field_problem(("body", *entry["loc"]), entry["msg"]) for entry in entries[:shown]]
        problem["errors"] = fields
        said = [f"{field['pointer'] or 'row'}: {field['detail']}" for field in fields]
    else:
        said = []
    if count > shown:
        said.append(f"{count - shown} more values are not allowed")
    problem["detail"] = "; ".join(said)
    return {"index": place, "status": "rejected", "problem": problem}
