"""Batches: each row is a command of its own, and a bad one spoils no other."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from fastapi import Request, Response
from pydantic import BaseModel, ValidationError

from command_api.handling import Command
from command_api.pending import Answer, Outcome
from command_api.principal import Principal
from command_api.wiring import Wiring
from shared.errors import RatingSuperseded, Rejected
from shared.problems import POSITION_HEADER, TYPE_PREFIX

Row = TypeVar("Row", bound=BaseModel)
Result = dict[str, Any]

# Rows validated before other requests get their turn on the event loop, and then sent on their way.
ROWS_A_TURN = 100
# After each, long enough for the former ones to be off to the database: rows are best validated
# while that is waited for.
TURN_PAUSE_S = 0.001
# Of one request, how many such turns wait for their commit, so that the bulk queue holds several
# requests.
TURNS_WAITING_MAX = 10


class Results(list[Result]):
    """One result a row, in order, and the highest position among them."""

    position: int = 0


async def commit_rows(
    rows: Sequence[Any],
    model: type[Row],
    command_of: Callable[[Row], Command],
    request: Request,
    wiring: Wiring,
    principal: Principal,
    *,
    subject: str | None = None,
) -> Results:
    """Validate each row, commit the good ones, and say of each what it came to.

    While some rows are committed the next ones are validated. `subject` names the field that holds
    what a row created. Raises only what concerns the whole request.
    """
    results = Results()
    waiting: deque[tuple[list[int], asyncio.Future[list[Answer]]]] = deque()
    for start in range(0, len(rows), ROWS_A_TURN):
        if len(waiting) == TURNS_WAITING_MAX:
            await _settle_first(waiting, results, subject)
        commands, places = _validated(rows, start, model, command_of, results)
        answers = wiring.dispatcher.dispatch_bulk(
            commands, principal, request_id=request.state.request_id
        )
        waiting.append((places, answers))
        await asyncio.sleep(TURN_PAUSE_S)
    while waiting:
        await _settle_first(waiting, results, subject)
    return results


def rows_response(results: Results) -> Response:
    """200 with a result for each row."""
    return Response(
        msgspec.json.encode({"results": results}),
        HTTPStatus.OK,
        headers={POSITION_HEADER: str(results.position)},
        media_type="application/json",
    )


def _validated(
    rows: Sequence[Any],
    start: int,
    model: type[Row],
    command_of: Callable[[Row], Command],
    results: Results,
) -> tuple[list[Command], list[int]]:
    """The commands of a turn's good rows and their places; every row gets its result."""
    commands: list[Command] = []
    places: list[int] = []
    for place, row in enumerate(rows[start : start + ROWS_A_TURN], start=start):
        try:
            commands.append(command_of(model.model_validate(row)))
            places.append(place)
            results.append({"index": place})
        except ValidationError as error:
            results.append(_invalid(place, error))
        except Rejected as error:
            results.append({"index": place, **_failed(error)})
    return commands, places


async def _settle_first(
    waiting: deque[tuple[list[int], asyncio.Future[list[Answer]]]],
    results: Results,
    subject: str | None,
) -> None:
    places, answers = waiting.popleft()
    for place, row_answer in zip(places, await answers, strict=True):
        _settle(results, place, row_answer, subject)


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


def _invalid(place: int, error: ValidationError) -> Result:
    fields = [
        {
            "pointer": "".join(f"/{part}" for part in entry["loc"]),
            "detail": entry["msg"],
        }
        for entry in error.errors(include_url=False, include_context=False, include_input=False)
    ]
    detail = "; ".join(f"{field['pointer'] or 'row'}: {field['detail']}" for field in fields)
    return {
        "index": place,
        "status": "rejected",
        "problem": {"type": TYPE_PREFIX + "invalid-input", "detail": detail, "errors": fields},
    }
