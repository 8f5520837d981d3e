"""The operators' API as the pages call it: over HTTP, within the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from starlette.types import ASGIApp

from pages.sessions import Visitor
from starfold_client.errors import NotAuthenticated, problem_of

# A page may wait for as long as an act of a moment takes.
ACT_TIMEOUT_S = 60.0
BASE = "http://console/v1/operator"


class OperatorsApi:
    """Sends a page's requests with the operator's own token.

    A page can do nothing that the API refuses, and every act of a page is an act of the API.
    """

    def __init__(self, service: ASGIApp) -> None:
        transport = httpx.ASGITransport(service, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(transport=transport, timeout=ACT_TIMEOUT_S)

    async def get(self, visitor: Visitor, path: str, **query: object) -> dict[str, Any]:
        """Return what a route answers; raise its problem, as the client raises it."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        answer = await self.send(visitor, "GET", path, query=given)
        decoded: dict[str, Any] = msgspec.json.decode(answer.content)
        return decoded

    async def send(
        self,
        visitor: Visitor,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        if_match: str = "",
        key: str = "",
    ) -> httpx.Response:
        """Send a request; `key` makes a repeat of an act safe, `if_match` names what it is on."""
        session = visitor.client.session
        if session is None:
            raise NotAuthenticated("not-authenticated", 401)
        headers = {"Authorization": f"Bearer {session.access_token}"}
        if method != "GET":
            headers["Idempotency-Key"] = key or str(uuid4())
        if if_match:
            headers["If-Match"] = if_match
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = msgspec.json.encode(body)
        answer = await self._http.request(
            method, BASE + path, params=query, headers=headers, content=content
        )
        if not answer.is_success:
            raise problem_of(answer)
        return answer

    async def close(self) -> None:
        await self._http.aclose()
