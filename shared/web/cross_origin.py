"""CORS: which origins browsers may call from, asked in a preflight and told with every answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Scope

from shared.web.answer import Fields
from shared.web.operation import Operation


class CrossOrigin(NamedTuple):
    """Which origins browsers may call from, separated by commas, and the headers that they may send
    and read beside the usual ones.
    """

    origins: str
    request_headers: Sequence[str]
    answer_headers: Sequence[str]


class CrossOriginAnswers:
    """What browsers on other origins are told: before a request by Starlette's middleware, with
    each answer by its fields.
    """

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
        # What an answer says to one origin is not for another's cache.
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
        """Of an answer to a request from this origin; None is a request that names none."""
        return self._by_origin.get(origin or b"", self._of_others)
