"""What every request and answer of the pages must satisfy: origins, bounds, and header fields."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' https: data:; object-src 'none'; base-uri 'none';"
    " frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
STRICT_TRANSPORT = "max-age=31536000"


class TooLarge(Exception):
    """The body of a request exceeds its bound."""


class ForeignOrigin(Exception):
    """A request that changes something does not come from these pages."""


class Guard:
    """Bounds bodies, and adds the header fields that protect browsers to every answer.

    What is personal is never stored: pages of somebody who is logged in are not kept by any cache.
    """

    def __init__(
        self, app: ASGIApp, *, body_bytes_max: int, bounds: Mapping[str, int], secure: bool
    ) -> None:
        """`bounds` has the paths whose bodies may have another size than `body_bytes_max`."""
        self._app = app
        self._body_bytes_max = body_bytes_max
        self._bounds = bounds
        self._secure = secure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0
        bytes_max = self._bounds.get(scope["path"], self._body_bytes_max)

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > bytes_max:
                raise TooLarge
            return message

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._secure:
                    headers.setdefault("Strict-Transport-Security", STRICT_TRANSPORT)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, bounded, guarded)


def require_own_origin(scope: Scope, own: str) -> None:
    """Raise `ForeignOrigin` if an unsafe request does not name the pages' origin as its own.

    Without `own`, the origin must be the host that the request was sent to.
    """
    if scope["method"] in SAFE_METHODS:
        return
    headers = Headers(scope=scope)
    expected = own or f"{scope['scheme']}://{headers.get('host', '')}"
    if headers.get("origin") != expected:
        raise ForeignOrigin
