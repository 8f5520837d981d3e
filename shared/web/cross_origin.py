"""CORS: answer preflights, and add the CORS fields to every answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from shared.web.answer import Fields
from shared.web.operation import Operation


class CrossOrigin(NamedTuple):
    """Origins that browsers may call from, separated by commas, and additional headers.

    Browsers may send the request headers and read the answer headers besides the usual ones.
    """

    origins: str
    request_headers: Sequence[str]
    answer_headers: Sequence[str]


class CrossOriginAnswers:
    """The CORS answers of an API: preflights by Starlette's middleware, and answers' fields."""

    def __init__(
        self, allowed: CrossOrigin, handle: ASGIApp, operations: Iterable[Operation]
    ) -> None:
        origins = [origin.strip() for origin in allowed.origins.split(",") if origin.strip()]
        self._is_on = bool(origins)
        self.preflight = CORSMiddleware(
            handle,
            allow_origins=origins,
            allow_methods=sorted({"GET", *(one.method for one in operations)}),
            allow_headers=allowed.request_headers,
        )
        exposed = (b"access-control-expose-headers", ", ".join(allowed.answer_headers).encode())
        # An answer for one origin must not be cached for another.
        vary = [(b"vary", b"Origin")] if origins and origins != ["*"] else []
        self._by_origin = {
            origin.encode(): [(b"access-control-allow-origin", origin.encode()), exposed, *vary]
            for origin in origins
        }
        self._of_others = self._by_origin.get(b"*", vary)

    def is_preflight(self, scope: Scope) -> bool:
        return self._is_on and any(
            name == b"access-control-request-method" for name, _ in scope["headers"]
        )

    def fields(self, origin: bytes | None) -> Fields:
        """Return the fields of an answer to a request from this origin, None if it names none."""
        return self._by_origin.get(origin or b"", self._of_others)
