"""Answers: the responses to requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import NamedTuple

import msgspec
from pydantic import BaseModel
from starlette.types import ASGIApp, Scope, Send

# Header fields as ASGI has them, names in lower case.
Fields = list[tuple[bytes, bytes]]

JSON = "application/json"
# The lowest status of a refusal, as a number: each use of an enumeration calls a function.
REFUSED_FROM = int(HTTPStatus.BAD_REQUEST)

# Name of the ASGI extension with which the server sends an answer in one part.
WHOLE_ANSWERS = "starfold.whole-answers"

_JSON_FIELD = (b"content-type", JSON.encode())
_json = msgspec.json.Encoder().encode


class Answer(NamedTuple):
    """A response; `stream` sends one that comes in parts, including its start."""

    status: int
    fields: Fields
    body: bytes = b""
    stream: ASGIApp | None = None

    def with_field(self, name: bytes, value: str) -> Answer:
        return self._replace(fields=[*self.fields, (name, value.encode("latin-1"))])


class AnswerKind(NamedTuple):
    """A kind of answer of an operation, for its documentation.

    `headers` names the ones that not every operation has. The body of a refusal is a problem
    document; `example` and `media_type` describe any other body. `other_media_types` are the ones
    that a parameter may choose instead.
    """

    description: str
    model: type[BaseModel] | None = None
    headers: tuple[str, ...] = ()
    example: object = None
    media_type: str = JSON
    other_media_types: tuple[str, ...] = ()


SendWhole = Callable[[Answer, Fields], Awaitable[None]]


def whole_sender(scope: Scope) -> SendWhole | None:
    """Return the server's own way to send an answer in one part, None if it has none."""
    extensions = scope.get("extensions")
    return None if extensions is None else extensions.get(WHOLE_ANSWERS)


async def send_answer(answer: Answer, send: Send, more: Fields) -> None:
    """Send an answer in one part, with additional fields."""
    fields = answer.fields + more
    await send({"type": "http.response.start", "status": answer.status, "headers": fields})
    await send({"type": "http.response.body", "body": answer.body})


def bytes_answer(content: bytes, media_type: str, status: int = HTTPStatus.OK) -> Answer:
    """Answer with content as it is."""
    return Answer(
        int(status),
        [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(content))],
        content,
    )


def json_bytes(content: bytes, status: int = HTTPStatus.OK) -> Answer:
    """Answer with content that is JSON already."""
    return Answer(int(status), [_JSON_FIELD, (b"content-length", b"%d" % len(content))], content)


def json_answer(value: object, status: int = HTTPStatus.OK) -> Answer:
    """Answer with a value as JSON."""
    return json_bytes(_json(value), status)


def empty_answer(status: int = HTTPStatus.NO_CONTENT) -> Answer:
    """Answer without a body."""
    return Answer(int(status), [], b"")
