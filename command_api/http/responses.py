"""From a command to its answer: what every route of the command API does the same way."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response

from command_api.commit.idempotency import HEADER, request_key
from command_api.commit.pending_command import Outcome
from command_api.deciding.principal import Principal
from command_api.deciding.use_cases import Command
from command_api.http.dependencies import Wiring
from shared.web.problems import POSITION_HEADER, PROBLEM_JSON, PROBLEM_SCHEMA

# What any route may answer beside its own; the body is RFC 9457 problem details.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    int(status): {
        "description": description,
        "content": {PROBLEM_JSON: {"schema": PROBLEM_SCHEMA}},
    }
    for status, description in {
        HTTPStatus.BAD_REQUEST: "Malformed JSON",
        HTTPStatus.UNAUTHORIZED: "No credential, or one that is not believed",
        HTTPStatus.FORBIDDEN: "Not allowed to this caller",
        HTTPStatus.NOT_FOUND: "What is named does not exist",
        HTTPStatus.CONFLICT: "Another fact stands against it",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large",
        HTTPStatus.UNPROCESSABLE_ENTITY: "Some values are not allowed",
        HTTPStatus.TOO_MANY_REQUESTS: "Over the caller's rate limit; retry",
        HTTPStatus.SERVICE_UNAVAILABLE: "Too busy, or the event store does not answer; retry",
    }.items()
}


async def send(command: Command, request: Request, wiring: Wiring, principal: Principal) -> Outcome:
    """Commit an interactive command."""
    return await wiring.dispatcher.dispatch(command, principal, request_id=request.state.request_id)


async def send_once(
    command: Command, request: Request, wiring: Wiring, principal: Principal
) -> Outcome:
    """Commit an interactive command, once for each Idempotency-Key of its caller."""
    if principal.actor is None or HEADER not in request.headers:
        return await send(command, request, wiring, principal)
    key = await request_key(request, principal.actor, wiring.reservation_secret)
    return await wiring.dispatcher.dispatch(
        command, principal, request_id=request.state.request_id, key=key
    )


def answer(status: HTTPStatus, body: object, outcome: Outcome) -> Response:
    """A command's answer, with the position of the event that made it so."""
    return Response(
        None if body is None else msgspec.json.encode(body),
        status,
        headers={POSITION_HEADER: str(outcome.position)},
        media_type="application/json",
    )
