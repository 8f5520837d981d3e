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

from shared import errors
from shared.web.answer import Answer, Fields

PROBLEM_JSON = "application/problem+json"
POSITION_HEADER = "Starfold-Position"
TYPE_PREFIX = "urn:starfold:problem:"
RETRY_AFTER_S = 1
VALIDATION_ERRORS_MAX = 20
# What a client sent is shown to it in this length at most.
POINTER_PART_CHARS_MAX = 64
POINTER_PARTS_MAX = 8
DETAIL_CHARS_MAX = 300

STATUS_OF: dict[type[errors.StarfoldError], HTTPStatus] = {
    errors.MalformedJson: HTTPStatus.BAD_REQUEST,
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
    errors.StoreAway: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.ProjectionBehind: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.DocumentDamaged: HTTPStatus.SERVICE_UNAVAILABLE,
}

log = structlog.get_logger()

Location = tuple[object, ...]


class Refused(Exception):
    """A request that no operation answers, for a reason of HTTP's own."""

    def __init__(
        self, status: HTTPStatus, code: str, detail: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.headers = headers


class TooLarge(Refused):
    """A body that is larger than its operation takes."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too-large",
            f"the body is larger than this route takes, {bytes_max:,} bytes",
        )


class InvalidFields(Exception):
    """Values that are not allowed: where each is, and what is wrong with it."""

    def __init__(self, wrong: Sequence[tuple[Location, str]]) -> None:
        super().__init__(f"{len(wrong)} values are not allowed")
        self.wrong = wrong


def problem(
    status: int,
    code: str,
    detail: str,
    *,
    field_errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Answer with problem details."""
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if field_errors:
        body["errors"] = list(field_errors)
    content = msgspec.json.encode(body)
    # What is not there now may be in a moment: no cache on the way may keep it.
    named = {"Cache-Control": "no-store", **(headers or {})}
    if status == HTTPStatus.UNAUTHORIZED:
        named["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        named.setdefault("Retry-After", str(RETRY_AFTER_S))
    named |= {"Content-Length": str(len(content)), "Content-Type": PROBLEM_JSON}
    fields: Fields = [(n.lower().encode(), v.encode("latin-1")) for n, v in named.items()]
    return Answer(int(status), fields, content)


def problem_of(error: Exception) -> Answer:
    """Answer with the problem that an error is shown as.

    One that nobody foresaw is logged, and says nothing to the client.
    """
    match error:
        case Refused():
            return problem(error.status, error.code, str(error), headers=error.headers)
        case InvalidFields(wrong=wrong):
            return _of_fields(wrong)
        case errors.StarfoldError() if type(error) in STATUS_OF:
            return _of_known(error)
        case _:
            log.error("request_failed", error=type(error).__name__, exc_info=error)
            return failure()


def failure() -> Answer:
    """Answer that the request failed, for a reason that only the log says."""
    detail = "the request failed; the log says why"
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail)


def _of_known(error: errors.StarfoldError) -> Answer:
    pointer = error.pointer if isinstance(error, errors.Rejected) else None
    fields = [{"pointer": pointer, "detail": str(error)}] if pointer else []
    headers = {}
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if error.position is not None:
        headers[POSITION_HEADER] = str(error.position)
    status = STATUS_OF[type(error)]
    return problem(status, error.code, str(error), field_errors=fields, headers=headers)


def _of_fields(wrong: Sequence[tuple[Location, str]]) -> Answer:
    first = wrong[:VALIDATION_ERRORS_MAX]
    detail = "some values are not allowed"
    if len(wrong) > len(first):
        detail += f"; these are the first {len(first)} errors of {len(wrong)}"
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        errors.InvalidInput.code,
        detail,
        field_errors=[field_problem(location, message) for location, message in first],
    )


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
