"""Errors that the client raises; one class for each type of problem that the APIs document.

ClientError
├── ConnectionFailed        no answer came; a command may have been executed or not
├── UnexpectedAnswer        an answer that the APIs do not document
└── Problem                 an answer that is an error
    ├── Refused             the same request will be refused again
    ├── TryLater            the same request may succeed later
    └── Internal            a fault of the service

A type of problem that this client does not know is an error of one of the last three classes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import ClassVar
from uuid import UUID

import httpx
import msgspec

TYPE_PREFIX = "urn:starfold:problem:"
_MOVIE = re.compile(r"/v1/movies/([0-9a-f-]{36})(?:/|$)")
# What proxies and gateways answer while a server is away.
_TRY_LATER = frozenset({429, 502, 503, 504})


class ClientError(Exception):
    """Base of all errors that the client raises."""


class ConnectionFailed(ClientError):
    """No answer came within the client's patience; a command may have been executed or not."""


class UnexpectedAnswer(ClientError):
    """An answer that the APIs do not document; something else may answer at the address."""


class FieldProblem(msgspec.Struct, frozen=True):
    """A bad value: where it is (`/score`, `/query/limit`), and what is wrong with it."""

    pointer: str = ""
    detail: str = ""


class _Document(msgspec.Struct):
    type: str = "about:blank"
    title: str = ""
    detail: str = ""
    errors: list[FieldProblem] = []


class Problem(ClientError):
    """An error answer (RFC 9457); `code` is its type without the common prefix."""

    classes: ClassVar[dict[str, type[Problem]]] = {}

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        if code is not None:
            Problem.classes[code] = cls

    def __init__(
        self,
        code: str,
        status: int,
        title: str = "",
        detail: str = "",
        errors: tuple[FieldProblem, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        bad = "".join(f"; {error.pointer}: {error.detail}" for error in errors)
        super().__init__(f"{status} {code}: {detail or title}{bad}")
        self.code = code
        self.status = status
        self.title = title
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}

    @property
    def request_id(self) -> str | None:
        """The id of the request, which the service's log names."""
        return self.headers.get("x-request-id")

    @property
    def retry_after_s(self) -> float | None:
        """The seconds after which the service asks to be called again."""
        return _seconds(self.headers.get("retry-after"))


class Refused(Problem):
    """The same request will be refused again."""


class TryLater(Problem):
    """The same request may succeed later; the client has tried for as long as its patience."""


class Internal(Problem, code="internal"):
    """A fault of the service."""


class Moved(Refused, code="moved"):
    """The movie was merged into another one."""

    @property
    def movie_id(self) -> UUID | None:
        """The movie that remains."""
        found = _MOVIE.match(self.headers.get("location", ""))
        return None if found is None else UUID(found[1])


class BadRequest(Refused, code="bad-request"):
    """A header field is missing or repeated."""


class MalformedRequest(BadRequest, code="malformed-request"):
    """The request is not HTTP/1.1."""


class MalformedJson(BadRequest, code="malformed-json"):
    """The body is not JSON."""


class MalformedHeader(BadRequest, code="malformed-header"):
    """`If-Match` is no list of tags."""


class NotAuthenticated(Refused, code="not-authenticated"):
    """The credential is missing or invalid, or the session has ended."""


class Forbidden(Refused, code="forbidden"):
    """The caller may not do this."""


class NotFound(Refused, code="not-found"):
    """The resource does not exist, or is private."""


class MethodNotAllowed(Refused, code="method-not-allowed"):
    """The path has other methods."""


class Conflict(Refused, code="conflict"):
    """An e-mail address or IMDb id is taken, or a movie has ratings or is being withdrawn."""


class RatingSuperseded(Conflict, code="rating-superseded"):
    """The rating is dated before the current one."""


class EventIndexOff(Conflict, code="event-index-off"):
    """An operator's selection of events needs the event index, which no projector keeps up."""


class EventUnreadable(Conflict, code="event-unreadable"):
    """This release cannot read the event that is to be revealed."""


class Gone(Refused, code="gone"):
    """The movie was withdrawn."""


class StaleVersion(Refused, code="stale-version"):
    """`if_match` does not name the current version."""


class TooLarge(Refused, code="too-large"):
    """The body is larger than the route takes."""


class TargetTooLong(TooLarge, code="target-too-long"):
    """Path and query are too long."""


class HeadTooLarge(TooLarge, code="head-too-large"):
    """The header fields are too large."""


class UnsupportedMediaType(Refused, code="unsupported-media-type"):
    """The body is not sent as JSON."""


class InvalidInput(Refused, code="invalid-input"):
    """A value is out of its limits; `errors` says which one."""


class IdempotencyKeyReused(Refused, code="idempotency-key-reused"):
    """The Idempotency-Key was used with another request before."""


class PreconditionRequired(Refused, code="precondition-required"):
    """A movie's correction lacks `if_match`."""


class TooManyRequests(TryLater, code="too-many-requests"):
    """The caller exceeds a rate limit."""


class Overloaded(TryLater, code="overloaded"):
    """A queue is full, and nothing was accepted."""


class Unavailable(TryLater, code="unavailable"):
    """A server does not answer, and nothing was accepted."""


class OutcomeUnknown(TryLater, code="outcome-unknown"):
    """The connection was lost during a commit."""


class ProjectionBehind(TryLater, code="projection-behind"):
    """The read models have not reached the client's own writes."""


class StorageFull(TryLater, code="storage-full"):
    """PostgreSQL's disk is full."""


class DocumentDamaged(TryLater, code="document-damaged"):
    """The read model of this movie or user is being rebuilt."""


def problem_of(response: httpx.Response) -> Problem:
    """Return the error for an error answer, even if it is no problem document."""
    status = response.status_code
    document = _Document(title=response.reason_phrase)
    if response.headers.get("content-type", "").startswith("application/problem+json"):
        try:
            document = msgspec.json.decode(response.content, type=_Document)
        except msgspec.DecodeError as error:
            raise UnexpectedAnswer(f"{status}: a problem document that is none: {error}") from error
    code = document.type.removeprefix(TYPE_PREFIX)
    unknown = TryLater if status in _TRY_LATER else Refused if status < 500 else Internal
    return Problem.classes.get(code, unknown)(
        code, status, document.title, document.detail, tuple(document.errors), response.headers
    )


def _seconds(retry_after: str | None) -> float | None:
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
