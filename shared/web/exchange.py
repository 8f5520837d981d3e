"""A request on its way through the pipeline, and the answer that is sent for it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from starlette.types import ASGIApp, Receive, Scope

from shared.errors import BadRequest
from shared.ids import new_uuid7

JSON = "application/json"
REQUEST_ID_HEADER = b"x-request-id"
# Two values of one of these contradict each other: neither may win silently.
SINGLE_VALUED = (b"authorization", b"idempotency-key", b"content-type", b"if-match")

Headers = Sequence[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """A whole answer. The pipeline adds the headers that every answer carries."""

    status: int
    headers: Headers
    body: bytes


# An ASGI application is a streaming answer; the pipeline calls it after the last check.
Reply = Answer | ASGIApp


class Exchange:
    """What the pipeline knows about a request.

    `caller` is what the API's gate made of the credential, `parts` is what the operation was bound
    to, `answer_headers` are sent with whatever answer the request gets.
    """

    __slots__ = (
        "_held",
        "answer_headers",
        "body",
        "caller",
        "headers",
        "operation",
        "parts",
        "path_values",
        "receive",
        "request_id",
        "scope",
    )

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope = scope
        self.receive = receive
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.request_id: UUID = request_id_of(scope)
        self.operation: Any = None
        self.path_values: Sequence[str] = ()
        self.parts: Any = None
        self.caller: Any = None
        self.body = b""
        self.answer_headers: list[tuple[bytes, bytes]] = []
        self._held: ExitStack | None = None

    def header(self, name: bytes) -> str | None:
        """Return a request header by its lower-case name."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def join_headers(self) -> None:
        """Join the values of repeated headers; raise `BadRequest` for a repeated single one."""
        given = self.scope["headers"]
        if len(self.headers) != len(given):
            self.headers = _joined(given)

    def hold(self, resource: AbstractContextManager[Any]) -> None:
        """Enter a context that is left once the answer has been sent."""
        if self._held is None:
            self._held = ExitStack()
        self._held.enter_context(resource)

    def release(self) -> None:
        if self._held is not None:
            self._held.close()


def whole_answer(
    body: bytes, media_type: str, *, status: int = HTTPStatus.OK, headers: Headers = ()
) -> Answer:
    """Return an answer with its length and its type."""
    length = (b"content-length", b"%d" % len(body))
    return Answer(status, [*headers, length, (b"content-type", media_type.encode())], body)


def json_answer(value: object, *, status: int = HTTPStatus.OK, headers: Headers = ()) -> Answer:
    """Return a value as JSON."""
    return whole_answer(msgspec.json.encode(value), JSON, status=status, headers=headers)


def request_id_of(scope: Scope) -> UUID:
    """Return the caller's `X-Request-ID` if that is a UUID, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER:
            try:
                return UUID(value.decode("ascii"))
            except ValueError:
                break
    return new_uuid7()


def _joined(given: Headers) -> dict[bytes, bytes]:
    headers: dict[bytes, bytes] = {}
    for name, value in given:
        if name not in headers:
            headers[name] = value
        elif name in SINGLE_VALUED:
            shown = "-".join(map(str.capitalize, name.decode().split("-")))
            raise BadRequest(f"the header {shown} is given more than once")
        else:
            headers[name] += b", " + value
    return headers
