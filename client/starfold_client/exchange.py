"""One request and its answer: credential, refresh, retries, positions, problems."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Generic, TypeVar
from urllib.parse import quote, urlsplit
from uuid import uuid4

import httpx
import msgspec

from starfold_client import errors
from starfold_client.answers import Session
from starfold_client.caller import Caller
from starfold_client.errors import ConnectionFailed, NotAuthenticated, UnexpectedAnswer, problem_of
from starfold_client.transport.steps import Alone, Api, Flow, Pause, Send

T = TypeVar("T")

PAUSE_FIRST_S = 0.1
PAUSE_MAX_S = 5.0
# The API gives the same tokens to a repeated refresh for ten seconds; a later one ends the session.
REFRESH_PATIENCE_S = 8.0
REDIRECTS_MAX = 5
USER_AGENT = "starfold-client"

# Nothing of these requests has arrived.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
# The service accepted nothing.
_NOT_ACCEPTED = (errors.TooManyRequests, errors.Overloaded, errors.Unavailable)


@dataclass(frozen=True)
class Endpoint(Generic[T]):
    """A route of an API, and what may be done with a request to it."""

    api: Api
    method: str
    path: str
    decode: Callable[[bytes], T]
    has_credential: bool = True
    takes_key: bool = False
    # Whether a request whose outcome is unknown may be sent again.
    is_repeatable: bool = True
    after: Callable[[Caller, T], None] | None = None


@dataclass(frozen=True, slots=True)
class Arguments:
    """What a call puts into its request; a query parameter that is None is not sent."""

    path: Mapping[str, object] = field(default_factory=dict)
    query: Mapping[str, object] = field(default_factory=dict)
    body: object = None
    if_match: str | int | None = None
    idempotency_key: str | None = None
    user_agent: str = USER_AGENT
    media_type: str = "application/json"


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer with what its header fields say of it."""

    value: T
    status: int
    headers: Mapping[str, str]

    @property
    def position(self) -> int | None:
        """The event that a write made, or the last one that a read includes."""
        return _whole(self.headers.get("starfold-position"))

    @property
    def newest(self) -> int | None:
        """The position after which a read of several parts includes nothing."""
        return _whole(self.headers.get("starfold-newest"))

    @property
    def etag(self) -> str | None:
        """The version, for `if_match`."""
        return self.headers.get("etag")

    @property
    def location(self) -> str | None:
        """The query API's path of what was created."""
        return self.headers.get("location")

    @property
    def request_id(self) -> str | None:
        return self.headers.get("x-request-id")


def shape(kind: type[T]) -> Callable[[bytes], T]:
    """Return the decoder of a JSON answer."""
    return msgspec.json.Decoder(kind).decode


def nothing(_: bytes) -> None:
    """Decode an answer without a body."""


def start_session(caller: Caller, session: Session) -> None:
    caller.start(session)


def end_session(caller: Caller, _: object) -> None:
    caller.end()


REFRESH = Endpoint(
    "command",
    "POST",
    "/v1/sessions/refresh",
    shape(Session),
    has_credential=False,
    after=start_session,
)


def exchange(
    endpoint: Endpoint[T], arguments: Arguments, caller: Caller, patience_s: float
) -> Flow[Answer[T]]:
    """Send a request until it has an answer that is final, or until the patience ends."""
    request = _request(endpoint, arguments)
    patience = Patience(patience_s)
    refused_token: str | None = None
    redirects = 0
    while True:
        token = None
        if endpoint.has_credential:
            if caller.must_renew():
                yield Alone(_renewal(caller, credential(caller, endpoint.api)))
            token = credential(caller, endpoint.api)
        try:
            response: httpx.Response = yield with_caller(request, caller, token)
        except httpx.TransportError as error:
            failed = ConnectionFailed(f"{endpoint.method} {_address(error, request)}: {error!r}")
            if not (endpoint.is_repeatable or isinstance(error, _NOT_SENT)):
                raise failed from error
            yield patience.pause(failed, cause=error)
            continue
        if response.is_success:
            return _answer(endpoint, response, caller)
        problem = problem_of(response)
        if isinstance(problem, NotAuthenticated) and caller.session and token != refused_token:
            refused_token = token
            yield Alone(_renewal(caller, token))
        elif isinstance(problem, errors.Moved) and _leads_on(request, problem, redirects):
            redirects += 1
            request = replace(request, path=_path(problem))
        elif isinstance(problem, _NOT_ACCEPTED) or (
            isinstance(problem, errors.TryLater) and endpoint.is_repeatable
        ):
            yield patience.pause(problem)
        else:
            raise problem


class Patience:
    """How long to try again, with growing pauses."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._give_up_at = time.monotonic() + self._seconds
        self._pause_s = PAUSE_FIRST_S

    def pause(
        self, failed: errors.ClientError, *, cause: Exception | None = None, least_s: float = 0.0
    ) -> Pause:
        """Return the pause before the next attempt; raise the error if the patience ends in it."""
        asked_s = failed.retry_after_s if isinstance(failed, errors.Problem) else None
        jitter = random.uniform(0.5, 1.0)  # noqa: S311  # It spreads clients and guards nothing.
        pause_s = max(asked_s or 0.0, least_s, self._pause_s * jitter)
        if time.monotonic() + pause_s > self._give_up_at:
            raise failed from cause
        self._pause_s = min(2 * self._pause_s, PAUSE_MAX_S)
        return Pause(pause_s, failed)


def credential(caller: Caller, api: Api) -> str | None:
    """Return what to send as `Bearer`; the query API knows no API keys."""
    return caller.credential(takes_api_key=api == "command")


def with_caller(request: Send, caller: Caller, token: str | None) -> Send:
    """Return the request with the caller's credential and, for a read, their last position."""
    headers = dict(request.headers)
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    if caller.forwarded_for is not None:
        headers["X-Forwarded-For"] = caller.forwarded_for
    if request.api == "query" and caller.position and "Starfold-At-Least" not in headers:
        headers["Starfold-At-Least"] = str(caller.position)
    return replace(request, headers=headers)


def renewal(caller: Caller) -> Flow[None]:
    """Renew the caller's tokens, even if they have not been refused yet."""
    yield Alone(_renewal(caller, credential(caller, "command")))


def _renewal(caller: Caller, used: str | None) -> Flow[None]:
    """Renew the tokens, unless another call has done so since `used` was sent."""
    session = caller.session
    if session is None or session.access_token != used:
        return
    body = {"refresh_token": session.refresh_token}
    try:
        yield from exchange(REFRESH, Arguments(body=body), caller, REFRESH_PATIENCE_S)
    except NotAuthenticated as ended:
        caller.end(ended)
        raise


def _request(endpoint: Endpoint[Any], arguments: Arguments) -> Send:
    path = endpoint.path.format_map(
        {name: quote(str(value), safe="") for name, value in arguments.path.items()}
    )
    query = {name: _text(value) for name, value in arguments.query.items() if value is not None}
    headers = {"User-Agent": arguments.user_agent, "Accept": "application/json"}
    if arguments.if_match is not None:
        tag = arguments.if_match
        headers["If-Match"] = f'"{tag}"' if isinstance(tag, int) else tag
    if endpoint.takes_key:
        # One key for all attempts: however often it is sent, it is executed once.
        headers["Idempotency-Key"] = arguments.idempotency_key or str(uuid4())
    content = None
    if arguments.body is not None:
        body = arguments.body
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers["Content-Type"] = arguments.media_type
    return Send(endpoint.api, endpoint.method, path, query, headers, content)


def _answer(endpoint: Endpoint[T], response: httpx.Response, caller: Caller) -> Answer[T]:
    try:
        value = endpoint.decode(response.content)
    except msgspec.DecodeError as error:
        raise UnexpectedAnswer(
            f"{endpoint.method} {endpoint.path} answered {response.status_code}: {error}"
        ) from error
    answer = Answer(value, response.status_code, response.headers)
    if endpoint.api == "command" and answer.position is not None:
        caller.note(answer.position)
    if endpoint.after is not None:
        endpoint.after(caller, value)
    return answer


def _address(error: httpx.TransportError, request: Send) -> object:
    """Return where a request went, without its query: that may be a person's search."""
    try:
        return error.request.url.copy_with(query=None)
    except RuntimeError:  # The error is not of a request.
        return request.path


def _leads_on(request: Send, moved: errors.Moved, redirects: int) -> bool:
    """Whether to follow: reads only, within the API, and not for ever."""
    followed = request.method == "GET" and redirects < REDIRECTS_MAX
    return followed and moved.headers.get("location", "").startswith("/v1/")


def _path(moved: errors.Moved) -> str:
    """Return the path to read; the request has the query already."""
    return urlsplit(moved.headers["location"]).path


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return ",".join(map(str, value))
    return str(value)


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
