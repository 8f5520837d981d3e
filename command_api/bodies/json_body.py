"""JSON bodies of operations, decoded within limits and validated."""

from __future__ import annotations

from collections.abc import Sequence
from email.message import Message
from typing import Any

from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from command_api.bodies.bounded_json import Either, validated
from shared.web.operation import Request
from shared.web.problems import InvalidFields, Refused

# Decoding this many bytes takes the event loop less than a millisecond.
ON_LOOP_BYTES_MAX = 32 * 1024


class JsonBody:
    """A body that is one object of a model, or of another model if it has that model's field."""

    is_bulk = False

    def __init__(
        self, model: type[BaseModel], bytes_max: int, either: Either | None = None
    ) -> None:
        self.model = model
        self.bytes_max = bytes_max
        self.either = either
        self.models: Sequence[type[BaseModel]] = (
            (model,) if either is None else (model, either.model)
        )

    async def read(self, request: Request[Any, Any]) -> BaseModel:
        content = await request.read()
        if not request.body_bytes_stated:
            # Charge the excess of a chunked body, whose size was unknown before.
            request.caller.charge_rows(1, len(content))
        require_json(request, content)
        if len(content) <= ON_LOOP_BYTES_MAX:
            return validated(self.model, content, self.either)
        return await run_in_threadpool(validated, self.model, content, self.either)


def require_json(request: Request[Any, Any], content: bytes) -> None:
    """Raise unless there is a body and its content type is JSON."""
    if not content:
        raise InvalidFields([(("body",), "Field required")])
    content_type = request.field(b"content-type")
    if content_type != "application/json" and not _says_json(content_type):
        raise Refused(
            "unsupported-media-type",
            "send the body as `Content-Type: application/json`",
        )


def _says_json(content_type: str | None) -> bool:
    message = Message()
    message["content-type"] = content_type or "text/plain"
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    )
