"""Map errors to RFC 9457 problem details: the one table of their types, for both APIs.

A client's input never causes a 5xx. A type never changes its meaning, its status or its title;
`errors` holds a JSON pointer for each bad field. `docs/http.md` and the page that both APIs serve
at `PROBLEMS_PATH` list the types.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec
import structlog

from shared import errors
from shared.web.answer import Answer, Fields

PROBLEMS_PATH = "/docs/problems"
TYPE_PREFIX = "urn:starfold:problem:"
PROBLEM_JSON = "application/problem+json"
POSITION_HEADER = "Starfold-Position"
RETRY_AFTER_S = 1
VALIDATION_ERRORS_MAX = 20
# Maximum length of a client's own values in an answer.
POINTER_PART_CHARS_MAX = 64
POINTER_PARTS_MAX = 8
DETAIL_CHARS_MAX = 300

log = structlog.get_logger()

Location = tuple[object, ...]


class ProblemType(NamedTuple):
    """A type of problem: its HTTP status, its title, and when it occurs."""

    status: int
    title: str
    meaning: str


PROBLEM_TYPES: Mapping[str, ProblemType] = {
    "moved": ProblemType(
        301, "Moved", "the movie was merged into another one, which `Location` names"
    ),
    "malformed-request": ProblemType(
        400, "Malformed request", "the request is not HTTP/1.1; the connection closes"
    ),
    "malformed-json": ProblemType(
        400,
        "Malformed JSON",
        "the body is not JSON in UTF-8, begins with a byte-order mark, or has a lone surrogate",
    ),
    "bad-request": ProblemType(
        400,
        "Ambiguous request",
        "`Host` is missing, or `Host`, `Authorization`, `Content-Type` or `Idempotency-Key` is"
        " given more than once",
    ),
    "malformed-header": ProblemType(
        400, "Malformed header", "`If-Match` is neither a list of tags nor `*`"
    ),
    "not-authenticated": ProblemType(
        401, "Not authenticated", "the credential is missing or invalid"
    ),
    "forbidden": ProblemType(403, "Forbidden", "the caller may not do this"),
    "not-found": ProblemType(404, "Not found", "the resource does not exist, or is private"),
    "method-not-allowed": ProblemType(
        405, "Method not allowed", "the path has other methods; `Allow` names them"
    ),
    "conflict": ProblemType(
        409,
        "Conflict",
        "an e-mail address or an IMDb or TMDB id is taken, a movie has ratings or is being"
        " withdrawn, or an operator's act is not possible now",
    ),
    "gone": ProblemType(410, "Gone", "the movie was withdrawn"),
    "rating-superseded": ProblemType(
        409, "Rating superseded", "a rating dated before the current one"
    ),
    "event-index-off": ProblemType(
        409,
        "Event index off",
        "an operator's selection of events needs the event index, which no projector keeps up",
    ),
    "event-unreadable": ProblemType(
        409, "Event unreadable", "this release cannot read the event that is to be revealed"
    ),
    "stale-version": ProblemType(
        412,
        "Stale version",
        "`If-Match` does not name the current version, or the resource does not exist",
    ),
    "too-large": ProblemType(413, "Body too large", "the body is larger than the route takes"),
    "target-too-long": ProblemType(
        414,
        "Target too long",
        "path and query take more than 32 KiB of a head that is too large; the connection closes",
    ),
    "unsupported-media-type": ProblemType(
        415,
        "Unsupported media type",
        "the body is not sent as `application/json` or as another type of JSON",
    ),
    "invalid-input": ProblemType(
        422,
        "Invalid input",
        "a value is out of its limits, or a query parameter is unknown or repeated",
    ),
    "idempotency-key-reused": ProblemType(
        422,
        "Idempotency key reused",
        "the Idempotency-Key was used with another request before",
    ),
    "precondition-required": ProblemType(
        428, "Precondition required", "a movie's correction lacks `If-Match`"
    ),
    "too-many-requests": ProblemType(
        429, "Too many requests", "the caller exceeds a rate limit; with `Retry-After`"
    ),
    "head-too-large": ProblemType(
        431,
        "Head too large",
        "request line and fields exceed 64 KiB or 100 fields; the connection closes",
    ),
    "internal": ProblemType(
        500,
        "Internal error",
        "a fault of the service; its log names the request's `X-Request-ID`",
    ),
    "overloaded": ProblemType(
        503, "Overloaded", "a queue is full and nothing was accepted; with `Retry-After`"
    ),
    "unavailable": ProblemType(
        503, "Unavailable", "a server does not answer and nothing was accepted; with `Retry-After`"
    ),
    "outcome-unknown": ProblemType(
        503,
        "Outcome unknown",
        "the connection was lost during a commit; with `Retry-After`, a retry is safe",
    ),
    "projection-behind": ProblemType(
        503,
        "Projection behind",
        "the read models have not reached the requested position; with `Retry-After`",
    ),
    "storage-full": ProblemType(
        503,
        "Storage full",
        "PostgreSQL's disk is full; with `Retry-After`, a retry is safe. Reads keep working, and"
        " commands work again once there is space",
    ),
    "document-damaged": ProblemType(
        503,
        "Document damaged",
        "Redis's data of this movie or user is damaged; the projector rebuilds it, and all others"
        " are served",
    ),
}


class Refused(Exception):
    """A request that no operation answers, for a reason of HTTP itself."""

    def __init__(self, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.headers = headers


class TooLarge(Refused):
    """A body that exceeds its operation's limit."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__("too-large", f"the body exceeds this route's limit of {bytes_max:,} bytes")


class InvalidFields(Exception):
    """Invalid values: the location and the error of each."""

    def __init__(self, wrong: Sequence[tuple[Location, str]]) -> None:
        super().__init__(f"{len(wrong)} values are not allowed")
        self.wrong = wrong


def problem(
    code: str,
    detail: str,
    *,
    field_errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Answer with problem details of this type."""
    status, title, _ = PROBLEM_TYPES[code]
    body: dict[str, Any] = {
        "type": TYPE_PREFIX + code,
        "title": title,
        "status": status,
        "detail": detail,
    }
    if field_errors:
        body["errors"] = list(field_errors)
    content = msgspec.json.encode(body)
    # The answer may change at any moment, so no cache on the way may keep it.
    help_link = f'<{PROBLEMS_PATH}#{code}>; rel="help"'
    named = {"Cache-Control": "no-store", "Link": help_link, **(headers or {})}
    if status == HTTPStatus.UNAUTHORIZED:
        named["WWW-Authenticate"] = "Bearer"
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        named.setdefault("Retry-After", str(RETRY_AFTER_S))
    named |= {"Content-Length": str(len(content)), "Content-Type": PROBLEM_JSON}
    fields: Fields = [(n.lower().encode(), v.encode("latin-1")) for n, v in named.items()]
    return Answer(status, fields, content)


def problem_of(error: Exception) -> Answer:
    """Answer with the problem for an error.

    An unexpected error is logged, and its cause is not shown to the client.
    """
    match error:
        case Refused():
            return problem(error.code, str(error), headers=error.headers)
        case InvalidFields(wrong=wrong):
            return _of_fields(wrong)
        case errors.StarfoldError() if error.code in PROBLEM_TYPES:
            return _of_known(error)
        case _:
            log.error("request_failed", error=type(error).__name__, exc_info=error)
            return failure()


def failure() -> Answer:
    """Answer that the request failed, for a reason that only the log has."""
    detail = "the request failed; the log says why"
    return problem("internal", detail)


def _of_known(error: errors.StarfoldError) -> Answer:
    pointer = error.pointer if isinstance(error, errors.Rejected) else None
    fields = [{"pointer": pointer, "detail": str(error)}] if pointer else []
    headers = {}
    if isinstance(error, errors.TooManyRequests):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, errors.Moved):
        headers["Location"] = error.location
    if error.position is not None:
        headers[POSITION_HEADER] = str(error.position)
    return problem(error.code, str(error), field_errors=fields, headers=headers)


def _of_fields(wrong: Sequence[tuple[Location, str]]) -> Answer:
    first = wrong[:VALIDATION_ERRORS_MAX]
    detail = "some values are not allowed"
    if len(wrong) > len(first):
        detail += f"; these are the first {len(first)} errors of {len(wrong)}"
    return problem(
        errors.InvalidInput.code,
        detail,
        field_errors=[field_problem(location, message) for location, message in first],
    )


def json_pointer(location: Sequence[object]) -> str:
    """Convert `("body", "ratings", 3)` to `/ratings/3`, and others like `/query/limit`."""
    parts = location[1:] if location and location[0] == "body" else location
    shown = [shortened(str(part), POINTER_PART_CHARS_MAX) for part in parts[:POINTER_PARTS_MAX]]
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in shown)


def field_problem(location: Sequence[object], detail: str) -> dict[str, str]:
    """Return one entry of a problem's `errors`."""
    return {
        "pointer": json_pointer(location),
        "detail": shortened(detail, DETAIL_CHARS_MAX),
    }


def shortened(text: str, chars_max: int) -> str:
    """Return the text, shortened with an ellipsis if necessary.

    Lone surrogates, which no answer can carry, become question marks.
    """
    if len(text) > chars_max:
        text = text[: chars_max - 1] + "…"
    return text.encode(errors="replace").decode()


def problems_page() -> str:
    """Return the page of all problem types, in HTML."""
    rows = "".join(
        f'<tr id="{code}"><td><code>{TYPE_PREFIX}{code}</code></td><td>{kind.status}</td>'
        f"<td>{kind.title}</td><td>{escape(kind.meaning).replace('`', '')}</td></tr>\n"
        for code, kind in PROBLEM_TYPES.items()
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        "<title>Starfold: types of problems</title></head>\n<body>\n"
        "<h1>Types of problems</h1>\n<p>What the <code>type</code> of an error says (RFC 9457)."
        "</p>\n<table>\n<tr><th>type</th><th>status</th><th>title</th><th>when</th></tr>\n"
        f"{rows}</table>\n</body>\n</html>\n"
    )
