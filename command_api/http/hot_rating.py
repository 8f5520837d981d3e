"""`PUT /v1/movies/{movie_id}/rating`, most of the writes, answered ahead of the framework.

It does what the route does, by the same functions, without the framework's layers, which cost
several times what a command does. A request that is unusual by its headers is left to the
application.
"""

from __future__ import annotations

import re
import time
from http import HTTPStatus
from typing import NamedTuple
from uuid import UUID

from eventsourcing.persistence import InterfaceError, OperationalError
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import Histogram
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from command_api.commit.idempotency import key_of
from command_api.commit.pending_command import Outcome
from command_api.commit.store_errors import store_away
from command_api.deciding.use_cases import EVERYBODY, Status
from command_api.http.bodies import RatingBody
from command_api.http.bounded_json import validated
from command_api.http.dependencies import Wiring
from command_api.http.ratings import rated_status, submission
from command_api.identity.limits import rate_limit_fields
from shared.errors import Rejected
from shared.web.application import REQUESTS, answer_headers, request_id_of
from shared.web.problems import POSITION_HEADER, problem_to

METHOD = "PUT"
ROUTE = "/v1/movies/{movie_id}/rating"

_PATH = re.compile(
    "/v1/movies/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/rating"
)
_POSITION = POSITION_HEADER.lower().encode()
_STATUSES: tuple[Status, ...] = ("created", "changed", "unchanged")
_BODIES = {status: b'{"status":"%s"}' % status.encode() for status in _STATUSES}


class _Asked(NamedTuple):
    """Of the headers, what matters here; `body_bytes` is 0 where it is not stated."""

    authorization: str | None
    body_bytes: int
    is_json: bool
    idempotency_key: str | None
    if_match: str


class HotRating:
    """Says whether it has answered a request. `scope["app"]` must be the application."""

    def __init__(self, wiring: Wiring, *, body_bytes_max: int) -> None:
        self._wiring = wiring
        self._body_bytes_max = body_bytes_max
        self._observed: dict[int, Histogram] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> bool:
        if scope.get("method") != METHOD or (matched := _PATH.fullmatch(scope["path"])) is None:
            return False
        asked = _asked(scope)
        if not asked.is_json or not 0 < asked.body_bytes <= self._body_bytes_max:
            return False
        started = time.perf_counter()
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        try:
            outcome = await self._rate(UUID(matched[1]), asked, scope, receive, request_id)
        except ClientDisconnect:
            return True
        except Exception as error:  # noqa: BLE001  # As the application's last handler does.
            full = self._wiring.dispatcher.store_is_full
            problem = await _problem(Request(scope, receive), error, full=full)
            await self._wiring.refusal_pace.wait(scope)
            problem.raw_headers += (*answer_headers(request_id), *rate_limit_fields(scope))
            await problem(scope, receive, send)
            status = problem.status_code
        else:
            status = rated_status(outcome)
            await _answer(status, outcome, request_id, scope, send)
        self._observe(status, time.perf_counter() - started)
        return True

    async def _rate(
        self, movie_id: UUID, asked: _Asked, scope: Scope, receive: Receive, request_id: UUID
    ) -> Outcome:
        wiring = self._wiring
        caller = await wiring.member(scope, asked.authorization)
        body = await _body(receive)
        key = None
        try:
            rating = validated(RatingBody, body)
            if asked.idempotency_key is not None:
                named = (METHOD, scope["path"], asked.if_match)
                secret = wiring.reservation_secret
                key = key_of(asked.idempotency_key, named, body, caller.user_id, secret)
        except (ValidationError, RequestValidationError, Rejected):
            await wiring.callers.require(caller, EVERYBODY)
            raise
        command = submission(caller.user_id, movie_id, rating, wiring.now())
        return await wiring.dispatcher.dispatch(command, caller, request_id=request_id, key=key)

    def _observe(self, status: int, duration_s: float) -> None:
        observed = self._observed.get(status)
        if observed is None:
            observed = self._observed[status] = REQUESTS.labels(METHOD, ROUTE, status)
        observed.observe(duration_s)


def _asked(scope: Scope) -> _Asked:
    authorization = idempotency_key = None
    body_bytes, is_json, if_match = 0, False, ""
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value.decode("latin-1")
        elif name == b"content-length":
            body_bytes = int(value) if value.isascii() and value.isdigit() else 0
        elif name == b"content-type":
            is_json = value.partition(b";")[0].strip().lower() == b"application/json"
        elif name == b"idempotency-key":
            idempotency_key = value.decode("latin-1")
        elif name == b"if-match":
            if_match = value.decode("latin-1")
    return _Asked(authorization, body_bytes, is_json, idempotency_key, if_match)


async def _body(receive: Receive) -> bytes:
    """No more than was stated, to which the server holds the client."""
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        whole: bytes = message["body"]
        return whole
    parts: list[bytes] = []
    while message["type"] == "http.request":
        parts.append(message["body"])
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
    raise ClientDisconnect


async def _answer(
    status: HTTPStatus, outcome: Outcome, request_id: UUID, scope: Scope, send: Send
) -> None:
    body = _BODIES[outcome.status]
    headers = [
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
        (_POSITION, b"%d" % outcome.position),
        *answer_headers(request_id),
        *rate_limit_fields(scope),
    ]
    await send({"type": "http.response.start", "status": int(status), "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _problem(request: Request, error: Exception, *, full: bool) -> Response:
    if isinstance(error, ValidationError):
        wrong = [
            {**entry, "loc": ("body", *entry["loc"])}
            for entry in error.errors(include_url=False, include_input=False)
        ]
        return await problem_to(request, RequestValidationError(wrong))
    if isinstance(error, OperationalError | InterfaceError):
        return await problem_to(request, store_away(error, full=full))
    return await problem_to(request, error)
