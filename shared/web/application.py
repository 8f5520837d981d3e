"""What both APIs do for every request: documentation from their own assets, a log line, security
headers.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import fastapi_offline
import structlog
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from prometheus_client import Histogram
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.ids import new_uuid7
from shared.web.problems import PROBLEM_JSON, problem

ASSETS_PATH = "/docs/assets"
REQUEST_ID_HEADER = b"x-request-id"

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]

REQUESTS = Histogram(
    "starfold_request_seconds",
    "Time to answer a request, by route and status.",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

log = structlog.get_logger()


def serve_docs(app: FastAPI) -> None:
    """`/docs` with Swagger UI from a package's files: nothing is fetched from elsewhere."""
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(ASSETS_PATH, StaticFiles(directory=assets), name="docs-assets")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS_PATH}/favicon.png",
        )


class Service(FastAPI):
    """An application whose every refusal is a problem.

    FastAPI's limit of bodies answers with plain text from outside of every middleware, as an
    unexpected error is answered: both are put right outside of that. `ahead` is asked first and
    says whether it has answered. `before_refusal` is awaited before an error is sent. HEAD is GET
    without the body.
    """

    ahead: Callable[[Scope, Receive, Send], Awaitable[bool]] | None = None
    before_refusal: Callable[[Scope], Awaitable[None]] | None = None

    def openapi(self) -> dict[str, Any]:
        """Routes take a credential by themselves: without this the documentation knew of none."""
        described = super().openapi()
        schemes = described.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        described["security"] = [{}, {"bearer": []}]
        return described

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "HEAD":
            # The server keeps the scope that it made, and knows that no body is to come.
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        scope["app"] = self
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        answer = _Answer(scope, send, self.before_refusal)
        try:
            if self.ahead is not None and await self.ahead(scope, receive, send):
                return
            # The router takes a path with a line end for the path before it.
            if scope["path"].isprintable():
                await super().__call__(scope, receive, answer.send)
            else:
                await _no_such_path(scope, receive, answer.send)
        except Exception as error:
            # The application's last handler has answered and reported it, unless this came first.
            if answer.begun and not answer.ended:
                raise
            if not answer.begun:
                log.exception("request_failed", error=type(error).__name__)
                await answer.fail()


class _Answer:
    """What is sent of one answer. Puts right what comes from outside of every middleware: plain
    text for a body that is too large, and a failure without the fields that every answer has.
    """

    def __init__(
        self, scope: Scope, send: Send, before_refusal: Callable[[Scope], Awaitable[None]] | None
    ) -> None:
        self._scope = scope
        self._send = send
        self._before_refusal = before_refusal
        self._replaced = False
        self.begun = False
        self.ended = False

    async def send(self, message: Message) -> None:
        if self._replaced:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            status = message["status"]
            if status >= HTTPStatus.BAD_REQUEST and self._before_refusal is not None:
                await self._before_refusal(self._scope)
            if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                content_type = MutableHeaders(scope=message).get("content-type", "")
                if not content_type.startswith(PROBLEM_JSON):
                    detail = "the body is larger than this route takes"
                    await self._replace(problem(status, "too-large", detail))
                    return
            elif status == HTTPStatus.INTERNAL_SERVER_ERROR:
                names = {name for name, _ in message["headers"]}
                if REQUEST_ID_HEADER not in names:
                    message["headers"] = [*message["headers"], *self._own_headers()]
        elif not message.get("more_body", False):
            self.ended = True
        await self._send(message)

    async def fail(self) -> None:
        """Answer that the request failed."""
        self.begun = True
        detail = "the request failed; the log says why"
        await self._replace(problem(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", detail))

    async def _replace(self, response: Response) -> None:
        self._replaced = self.ended = True
        response.raw_headers += self._own_headers()
        for message in (
            {"status": response.status_code, "headers": response.raw_headers},
            {"body": bytes(response.body)},
        ):
            kind = "start" if "status" in message else "body"
            await self._send({"type": f"http.response.{kind}", **message})

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        state = self._scope.get("state") or {}
        return answer_headers(state.get("request_id") or request_id_of(self._scope))


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:
    response = problem(HTTPStatus.NOT_FOUND, "not-found", "Not Found")
    response.raw_headers += answer_headers(request_id_of(scope))
    await response(scope, receive, send)


def _without_body(send: Send) -> Send:
    ended = False

    async def send_head(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.body":
            if ended:
                return
            # Also of a stream: it is told then that its client is gone.
            message, ended = {"type": message["type"], "body": b"", "more_body": False}, True
        await send(message)

    return send_head


class RequestScope:
    """Gives each request an id, its answer the security headers, and with `access_log` a log line.

    The id is the caller's `X-Request-ID` if that is a UUID; it becomes the events' correlation id.
    A path is logged without its query string, which may hold what somebody searched for.
    """

    def __init__(self, app: ASGIApp, *, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = request_id_of(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        started = time.perf_counter()
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *answer_headers(request_id)]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            duration_s = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            REQUESTS.labels(scope["method"], route, status).observe(duration_s)
            if self._access_log:
                log.info(
                    "request_answered",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round(duration_s * 1_000, 1),
                    request_id=str(request_id),
                )


def answer_headers(request_id: UUID) -> list[tuple[bytes, bytes]]:
    """What every answer carries."""
    return [(REQUEST_ID_HEADER, str(request_id).encode()), *_SECURITY_HEADERS]


def request_id_of(scope: Scope) -> UUID:
    """The caller's `X-Request-ID` if that is a UUID, else a new one."""
    for name, value in scope["headers"]:
        if name == REQUEST_ID_HEADER:
            try:
                return UUID(value.decode("ascii"))
            except ValueError:
                break
    return new_uuid7()
