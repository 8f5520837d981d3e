"""Errors to RFC 9457 problem details: one table from errors to HTTP statuses, for both APIs.

What a client sends never makes a 5xx. A problem's `type` is stable; `errors` holds a JSON pointer
for each bad field.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from shared import errors
from shared.web.exchange import Answer

PROBLEM_JSON = "application/problem+json"
POSITION_HEADER = "Starfold-Position"
TYPE_PREFIX = "urn:starfold:problem:"
RETRY_AFTER_S = 1
VALIDATION_ERRORS_MAX = 20
# What a client sent is shown to it in this length at most.
POINTER_PART_CHARS_MAX = 64
POINTER_PARTS_MAX = 8
DETAIL_CHARS_MAX = 300
# As the documentation has it.
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}

STATUS_OF: dict[type[errors.StarfoldError], HTTPStatus] = {
    errors.BadRequest: HTTPStatus.BAD_REQUEST,
    errors.MalformedJson: HTTPStatus.BAD_REQUEST,
    errors.TooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.InvalidInput: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyKeyReused: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.RatingSuperseded: HTTPStatus.CONFLICT,
    errors.StaleVersion: HTTPStatus.PRECONDITION_FAILED,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Overloaded: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.AppendOutcomeUnknown: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageFull: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.Unavailable: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ProjectionBehind: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DocumentDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = structlog.get_logger()


def problem_answer(
    status: int,
    code: str,
    detail: str,
    *,
    field_errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Return problem details as an answer of the pipeline."""
    response = problem(status, code, detail, field_errors=field_errors, headers=headers)
    return Answer(response.status_code, response.raw_headers, bytes(response.body))


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    field_errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem details response."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if field_errors:
        body["errors"] = list(field_errors)
    # What is not there now may be in a moment: no cache on the way may keep it.
    all_headers = {"Cache-Control": "no-store", **(headers or {})}
    if status == HTTPStatus.UNAUTHORIZED:
        all_headers["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        all_headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(msgspec.json.encode(body), status, headers=all_headers, media_type=PROBLEM_JSON)


def problem_of(error: errors.StarfoldError) -> Response:
    """The problem that an error is shown as; one without a status in the table is a 500."""
    status = STATUS_OF.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return problem(status, "internal", "the request failed; the log says why")
    pointer = error.pointer if isinstance(error, errors.Rejected) else None
    fields = [{"pointer": pointer, "detail": str(error)}] if pointer else []
    headers = {}
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.position is not None:
        headers[POSITION_HEADER] = str(error.position)
    return problem(status, error.code, str(error), field_errors=fields, headers=headers)


class InvalidFields(Exception):
    """Fields that a model refused, each with `loc` (`("query", "limit")`), `type` and `msg`."""

    def __init__(self, entries: Sequence[Any]) -> None:
        super().__init__(f"{len(entries)} fields are not valid")
        self.entries = entries


def located(error: ValidationError, *location: str) -> list[Any]:
    """The entries of pydantic's error, with the given beginning of their place."""
    return [
        {"loc": (*location, *entry["loc"]), "type": entry["type"], "msg": entry["msg"]}
        for entry in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def refusal_of(error: Exception) -> Answer:
    """The problem that any error is shown as. Logs what nobody expected."""
    match error:
        case errors.StarfoldError():
            if type(error) not in STATUS_OF:
                log.error("request_failed", error=type(error).__name__, exc_info=error)
            response = problem_of(error)
        case InvalidFields(entries=entries):
            response = _invalid(entries)
        case ClientDisconnect():
            # Nobody reads it.
            detail = "the connection closed before the body had ended"
            response = problem(HTTPStatus.BAD_REQUEST, "bad-request", detail)
        case _:
            log.error("request_failed", error=type(error).__name__, exc_info=error)
            response = _unexpected()
    return Answer(response.status_code, response.raw_headers, bytes(response.body))


def json_pointer(location: Sequence[object]) -> str:
    """`("body", "ratings", 3)` to `/ratings/3`; other places keep their name: `/query/limit`."""
    parts = location[1:] if location and location[0] == "body" else location
    shown = [shortened(str(part), POINTER_PART_CHARS_MAX) for part in parts[:POINTER_PARTS_MAX]]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in shown)


def field_problem(location: Sequence[object], detail: str) -> dict[str, str]:
    """One entry of a problem's `errors`."""
    return {
        "pointer": json_pointer(location),
        "detail": shortened(detail, DETAIL_CHARS_MAX),
    }


def shortened(text: str, chars_max: int) -> str:
    """The text, or its beginning and an ellipsis; lone surrogates, which no answer can carry, as
    question marks.
    """
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return text.encode(errors="replace").decode()


def install_problem_handlers(app: FastAPI) -> None:
    """Every error of an app becomes a problem details response."""
    app.add_exception_handler(errors.StarfoldError, _on_starfold_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(Exception, _on_unexpected)


async def problem_to(request: Request, error: Exception) -> Response:
    """What the application would answer to an error."""
    if isinstance(error, errors.StarfoldError):
        return await _on_starfold_error(request, error)
    if isinstance(error, RequestValidationError):
        return await _on_validation_error(request, error)
    return await _on_unexpected(request, error)


async def _on_starfold_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, errors.StarfoldError)
    if type(error) not in STATUS_OF:
        log.error("request_failed", error=type(error).__name__, exc_info=error)
    return problem_of(error)


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return _invalid(error.errors())


def _invalid(entries: Sequence[Any]) -> Response:
    first = entries[:VALIDATION_ERRORS_MAX]
    if any(entry["type"] == "json_invalid" for entry in first):
        return problem(HTTPStatus.BAD_REQUEST, "malformed-json", "the body is not valid JSON")
    detail = "some values are not allowed"
    if len(entries) > len(first):
        detail += f"; these are the first {len(first)} errors of {len(entries)}"
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidInput.code,
        detail,
        field_errors=[field_problem(entry["loc"], str(entry["msg"])) for entry in first],
    )


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = HTTPStatus(error.status_code).name.lower().replace("_", "-")
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(sorted(_allowed(request, headers.get("Allow", ""))))
    return problem(error.status_code, code, str(error.detail), headers=headers)


def _allowed(request: Request, of_one_route: str) -> set[str]:
    """Every method of the path: a router names those of the first route that has it alone."""
    path = getattr(request.scope.get("route"), "path", None)
    documented = request.app.openapi()["paths"].get(path, {})
    allowed = {*of_one_route.split(", "), *map(str.upper, documented)}
    # Both APIs answer HEAD wherever they answer GET.
    return allowed | {"HEAD"} if "GET" in allowed else allowed


async def _on_unexpected(_request: Request, error: Exception) -> Response:
    log.error("request_failed", error=type(error).__name__, exc_info=error)
    return _unexpected()


def _unexpected() -> Response:
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the request failed; the log says why"
    )
