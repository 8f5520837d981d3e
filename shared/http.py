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
from starlette.responses import HTMLResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.ids import new_uuid7
from shared.problems import PROBLEM_JSON, problem

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
    """An application whose refusal of a too large body is a problem too.

    FastAPI's limit answers with plain text from outside of every middleware, so it is put right
    outside of that. `ahead` is asked first and says whether it has answered. HEAD is GET without
    the body.
    """

    ahead: Callable[[Scope, Receive, Send], Awaitable[bool]] | None = None

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
        if self.ahead is not None and await self.ahead(scope, receive, send):
            return
        refused = False

        async def send_problem(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                content_type = MutableHeaders(scope=message).get("content-type", "")
                too_large = message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
                refused = too_large and not content_type.startswith(PROBLEM_JSON)
                if refused:
                    detail = "the body is larger than this route takes"
                    response = problem(message["status"], "too-large", detail)
                    response.raw_headers += answer_headers(request_id_of(scope))
                    await response(scope, receive, send)
            if not refused:
                await send(message)

        await super().__call__(scope, receive, send_problem)


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
