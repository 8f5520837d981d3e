"""The operators' API as the pages call it, within the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pages.sessions import Visitor
from shared.web.operation import REQUEST_ID_HEADER
from starfold_client.errors import NotAuthenticated, problem_of

# A page may wait for as long as an act of a moment takes.
ACT_TIMEOUT_S = 60.0
HOST = b"console"
ROOT = "/v1/operator"


class ShownForm:
    """The key of a form, for which its act is done once, and the version that it showed."""

    def __init__(self, key: str, version: str) -> None:
        self.key = key
        self.version = version


class OperatorsApi:
    """Sends a page's requests with the operator's own token: a page can do what the API permits."""

    def __init__(self, service: ASGIApp) -> None:
        self._service = service
        transport = httpx.ASGITransport(service, raise_app_exceptions=False)
        self._http = httpx.AsyncClient(
            transport=transport, base_url=f"http://{HOST.decode()}{ROOT}", timeout=ACT_TIMEOUT_S
        )

    async def get(self, visitor: Visitor, path: str, **query: object) -> dict[str, Any]:
        """Return what a route answers; raise its problem, as the client raises it."""
        given = {name: str(value) for name, value in query.items() if value not in (None, "")}
        headers = {"Authorization": _credential(visitor)}
        return _decoded(await self._http.get(path, params=given, headers=headers))

    async def act(
        self,
        visitor: Visitor,
        method: str,
        path: str,
        form: ShownForm,
        body: Mapping[str, object] | None = None,
    ) -> dict[str, Any]:
        """Send an act under the Idempotency-Key of its form, on the version that the form showed.

        Raises the route's problem, as the client raises it.
        """
        headers = {"Authorization": _credential(visitor), "Idempotency-Key": form.key}
        if form.version:
            headers["If-Match"] = f'"{form.version}"'
        return _decoded(await self._http.request(method, path, json=body, headers=headers))

    def passed_on(self, visitor: Visitor, path: str, query: Mapping[str, str]) -> Response:
        """Return a route's answer, which is sent part by part as it arrives, problem or not."""
        return PassedOn(self._service, ROOT + path, urlencode(query), _credential(visitor))

    async def close(self) -> None:
        await self._http.aclose()


class PassedOn(Response):
    """Has a service answer the request, under another path; adds the cookies that are set on it."""

    def __init__(self, service: ASGIApp, path: str, query: str, credential: str) -> None:
        super().__init__()
        self._service = service
        self._path = path
        self._query = query
        self._credential = credential

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = scope["starfold.request_id"].encode()
        cookies = [field for field in self.raw_headers if field[0] == b"set-cookie"]

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The pages add the id of the request to each answer.
                own = [field for field in message["headers"] if field[0] != REQUEST_ID_HEADER]
                message = {**message, "headers": [*own, *cookies]}
            await send(message)

        asked = {
            **scope,
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": self._query.encode(),
            "headers": [
                (b"host", HOST),
                (b"authorization", self._credential.encode()),
                (REQUEST_ID_HEADER, request_id),
            ],
            # An answer in one part would else pass by the pages on its way to the browser.
            "extensions": {},
        }
        await self._service(asked, receive, send_with_cookies)


def _decoded(answer: httpx.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise problem_of(answer)
    decoded: dict[str, Any] = msgspec.json.decode(answer.content)
    return decoded


def _credential(visitor: Visitor) -> str:
    session = visitor.client.session
    if session is None:
        raise NotAuthenticated("not-authenticated", 401)
    return f"Bearer {session.access_token}"
