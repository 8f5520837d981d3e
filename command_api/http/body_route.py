"""Route that decodes its JSON body within bounds, large ones off the event loop."""

from __future__ import annotations

from collections.abc import Callable
from email.message import Message
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from command_api.deciding.principal import Principal
from command_api.http.bounded_json import decode_json
from command_api.http.caller_route import CallerRoute, Handler
from command_api.http.dependencies import wiring_of
from command_api.identity.limits import note_body_bytes

# Decoding this many bytes takes the event loop less than a millisecond.
ON_LOOP_BYTES_MAX = 32 * 1024


class DecodedRequest(Request):
    """Request whose body has been read and decoded."""

    def __init__(self, request: Request, body: bytes, value: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._read = body
        self._value = value

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._value


class BodyRoute(CallerRoute):
    """Route whose body, if it has one, is decoded by `decode_json` instead of by the framework."""

    def answering(self) -> Handler:
        handle = super().answering()
        if self.body_field is None:
            return handle

        async def handle_decoded(request: Request) -> Response:
            try:
                body = await request.body()
            except ClientDisconnect as error:
                raise gone() from error
            note_body_bytes(request.scope, len(body))
            principal: Principal | None = getattr(request.state, "principal", None)
            if principal is not None:
                # What a body that came in chunks costs more than was charged.
                limits = (await wiring_of(request)).rate_limits
                limits.charge_rows(request.scope, principal, rows=1)
            if not body or not says_json(request):
                return await handle(request)
            value = await off_loop_if_large(decode_json, body)
            return await handle(DecodedRequest(request, body, value))

        return handle_decoded


async def off_loop_if_large(
    decode: Callable[[bytes], Any], body: bytes, *, on_loop_bytes_max: int = ON_LOOP_BYTES_MAX
) -> Any:
    if len(body) <= on_loop_bytes_max:
        return decode(body)
    return await run_in_threadpool(decode, body)


def says_json(request: Request) -> bool:
    """Whether the framework would take the body for JSON."""
    message = Message()
    message["content-type"] = request.headers.get("content-type", "text/plain")
    subtype = message.get_content_subtype()
    return message.get_content_maintype() == "application" and (
        subtype == "json" or subtype.endswith("+json")
    )


def gone() -> HTTPException:
    """The client left before its body had come whole; nobody reads the answer."""
    return HTTPException(HTTPStatus.BAD_REQUEST, "the connection closed before the body had ended")
