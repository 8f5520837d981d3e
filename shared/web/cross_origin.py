"""Cross-origin requests: which origins browsers may call an API from (CORS)."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import Receive, Scope, Send

from shared.web.exchange import Answer
from shared.web.problems import POSITION_HEADER

REQUEST_HEADERS = ("Authorization", "Content-Type", "X-Request-ID")
ANSWER_HEADERS = (POSITION_HEADER, "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID")

_VARY = (b"vary", b"Origin")


class CrossOrigin:
    """`origins` are separated by commas; `headers` are those that requests may carry beside the
    ones of every API, `exposed` those of answers.
    """

    def __init__(
        self,
        origins: str,
        *,
        methods: Sequence[str],
        headers: Sequence[str] = (),
        exposed: Sequence[str] = (),
    ) -> None:
        self._rules = CORSMiddleware(
            _nothing,
            allow_origins=[origin.strip() for origin in origins.split(",")],
            allow_methods=methods,
            allow_headers=[*REQUEST_HEADERS, *headers],
            expose_headers=[*ANSWER_HEADERS, *exposed],
        )
        self._common = [
            (name.lower().encode(), value.encode())
            for name, value in self._rules.simple_headers.items()
        ]

    def preflight(self, scope: Scope) -> Answer | None:
        """Return the answer to a preflight request, None for any other request."""
        headers = Headers(scope=scope)
        if "origin" not in headers or "access-control-request-method" not in headers:
            return None
        response = self._rules.preflight_response(request_headers=headers)
        return Answer(response.status_code, response.raw_headers, bytes(response.body))

    def headers(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Return the headers of every answer, given the request's `Origin`."""
        if origin is None:
            return [_VARY]
        if self._rules.allow_all_origins or not self._rules.is_allowed_origin(
            origin.decode("latin-1")
        ):
            return [*self._common, _VARY]
        return [*self._common, (b"access-control-allow-origin", origin), _VARY]


async def _nothing(_scope: Scope, _receive: Receive, _send: Send) -> None:
    """There is no application behind the rules: only what they say is used."""
