"""`PUT /v1/movies/{movie_id}/rating`, most of the writes, answered ahead of the framework.

It does what the route does, by the same functions, without the framework's layers, which cost
several times what a command does. A request that is unusual by its headers is left to the
application.
"""

from __future__ import annotations

import re
import time
from uuid import UUID

from eventsourcing.persistence import InterfaceError, OperationalError
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from command_api.bodies import RatingBody
from command_api.routes.ratings import rate
from command_api.wiring import Wiring, member_of
from shared.errors import Unavailable
from shared.http import REQUESTS, answer_headers, request_id_of
from shared.problems import problem_to

ROUTE = "/v1/movies/{movie_id}/rating"

_PATH = re.compile(
    "^/v1/movies/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})/rating$"
)


class HotRating:
    """Says whether it has answered a request. `scope["app"]` must be the application."""

    def __init__(self, wiring: Wiring, *, body_bytes_max: int) -> None:
        self._wiring = wiring
        self._body_bytes_max = body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> bool:
        if scope["type"] != "http" or scope["method"] != "PUT":
            return False
        matched = _PATH.match(scope["path"])
        if matched is None or not self._is_usual(scope):
            return False
        started = time.perf_counter()
        request_id = request_id_of(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        try:
            response = await self._answer(Request(scope, receive), UUID(matched[1]))
        except ClientDisconnect:
            return True
        response.raw_headers += answer_headers(request_id)
        limits = state.get("rate_limit")
        if limits is not None:
            names = (b"ratelimit-policy", b"ratelimit")
            response.raw_headers += (
                (name, value.encode()) for name, value in zip(names, limits, strict=True)
            )
        await response(scope, receive, send)
        duration_s = time.perf_counter() - started
        REQUESTS.labels("PUT", ROUTE, response.status_code).observe(duration_s)
        return True

    async def _answer(self, request: Request, movie_id: UUID) -> Response:
        try:
            caller = await member_of(request)
            body = RatingBody.model_validate_json(await request.body())
            return await rate(self._wiring, request, caller, movie_id, body)
        except ValidationError as error:
            wrong = [
                {**entry, "loc": ("body", *entry["loc"])}
                for entry in error.errors(include_url=False, include_input=False)
            ]
            return await problem_to(request, RequestValidationError(wrong))
        except (OperationalError, InterfaceError):
            return await problem_to(request, Unavailable("the event store does not answer"))
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001  # As the application's last handler does.
            return await problem_to(request, error)

    def _is_usual(self, scope: Scope) -> bool:
        """JSON of a stated size within the limit."""
        length, is_json = -1, False
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                length = int(value)
            elif name == b"content-type":
                is_json = value.partition(b";")[0].strip().lower() == b"application/json"
        return is_json and 0 < length <= self._body_bytes_max
