"""The one way from a request to its answer, in both APIs.

For a request that the table of operations has, in this order: request id, size, repeated headers,
credential and rate limit (the API's gate), body, syntax, meaning, answer. Whatever comes of it is
sent with the headers that every answer carries, logged and measured. FastAPI serves the rest: the
documentation and its assets, and the 404 of a path that nothing has.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

import fastapi_offline
import structlog
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from prometheus_client import Histogram
from pydantic import ValidationError
from starlette.responses import HTMLResponse
from starlette.types import Message, Receive, Scope, Send

from shared.errors import TooLarge
from shared.web.application import ASSETS_PATH, REQUESTS, answer_headers
from shared.web.cross_origin import CrossOrigin
from shared.web.documentation import document
from shared.web.exchange import Answer, Exchange, Reply
from shared.web.operation import Operation, ParameterReader, Table
from shared.web.problems import (
    InvalidFields,
    install_problem_handlers,
    located,
    problem_answer,
    refusal_of,
)

log = structlog.get_logger()

Proceed = Callable[[], Awaitable[Reply]]


class Gate(Protocol):
    """An API's check of its callers, for operations that declare an `access`."""

    async def admit(self, exchange: Exchange) -> None:
        """Authenticate the caller and charge the rate limit, or raise. Called before the body."""

    async def guard(self, exchange: Exchange, proceed: Proceed) -> Reply:
        """Await the rest of the request; may check the caller beside it or before a refusal."""


class Api(FastAPI):
    """An application that answers by a table of operations, and whose every refusal is a problem.

    `serve` binds the operations to their parts once the lifespan has made them.
    `before_refusal` is awaited before an error is sent.
    """

    def __init__(
        self,
        *,
        operations: Sequence[Operation],
        body_bytes_max: int,
        access_log: bool,
        cross_origin: CrossOrigin | None = None,
        **documented: Any,
    ) -> None:
        super().__init__(
            docs_url=None,
            redoc_url=None,
            telemetry={"tracing": False, "metrics": False},
            **documented,
        )
        self._body_bytes_max = body_bytes_max
        self._access_log = access_log
        self._cross_origin = cross_origin
        self._table = Table(operations)
        self._gate: Gate | None = None
        self._before_refusal: Callable[[Scope], Awaitable[None]] | None = None
        # To look a histogram up by its labels costs as much as to observe it.
        self._observed: dict[tuple[str, str, int], Histogram] = {}
        install_problem_handlers(self)
        document(self, operations)
        _serve_docs(self)

    def serve(
        self,
        operations: Sequence[Operation],
        *,
        gate: Gate,
        before_refusal: Callable[[Scope], Awaitable[None]] | None = None,
    ) -> None:
        self._table = Table(operations)
        self._gate = gate
        self._before_refusal = before_refusal

    def openapi(self) -> dict[str, Any]:
        """Add the bearer scheme: the gate takes credentials, of which FastAPI knows nothing."""
        described = super().openapi()
        schemes = described.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["bearer"] = {"type": "http", "scheme": "bearer"}
        described["security"] = [{}, {"bearer": []}]
        return described

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        started = time.perf_counter()
        head = scope["method"] == "HEAD"
        if head:
            # The server keeps the scope that it made, and knows that no body is to come.
            scope = {**scope, "method": "GET"}
        exchange = Exchange(scope, receive)
        sending = _Sending(exchange, send, self._cross_origin, self._before_refusal, head=head)
        try:
            try:
                reply = await self._reply(exchange)
                if not isinstance(reply, Answer):
                    await reply(scope, receive, sending.send)
                    return
            except Exception as error:
                if sending.begun:
                    # FastAPI raises an unexpected error again, once its handler has answered.
                    if sending.ended:
                        return
                    raise
                reply = refusal_of(error)
            await sending.answer(reply)
        finally:
            exchange.release()
            self._note(exchange, sending.status, time.perf_counter() - started)

    async def _reply(self, exchange: Exchange) -> Reply:
        scope = exchange.scope
        found = self._table.find(scope["method"], scope["path"])
        if found is None:
            _require_size(exchange, self._body_bytes_max)
            return self._unmatched(scope)
        operation, reader, exchange.path_values = found
        exchange.operation, exchange.parts = operation, operation.parts
        body_bytes_max = self._body_bytes_max
        if operation.body is not None and operation.body.bytes_max is not None:
            body_bytes_max = operation.body.bytes_max
        _require_size(exchange, body_bytes_max)
        exchange.join_headers()
        if operation.access is None:
            return await _answered(exchange, operation, reader, body_bytes_max)
        gate = self._gate
        assert gate is not None
        await gate.admit(exchange)
        return await gate.guard(
            exchange, partial(_answered, exchange, operation, reader, body_bytes_max)
        )

    def _unmatched(self, scope: Scope) -> Reply:
        """What FastAPI answers, unless the path has other methods or is none at all."""
        if self._cross_origin is not None and scope["method"] == "OPTIONS":
            preflight = self._cross_origin.preflight(scope)
            if preflight is not None:
                return preflight
        if not scope["path"].isprintable():
            return problem_answer(HTTPStatus.NOT_FOUND, "not-found", "Not Found")
        allowed = self._table.methods(scope["path"])
        if allowed:
            if "GET" in allowed:
                allowed.add("HEAD")
            return problem_answer(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method-not-allowed",
                "Method Not Allowed",
                headers={"Allow": ", ".join(sorted(allowed))},
            )
        return super().__call__

    def _note(self, exchange: Exchange, status: int, duration_s: float) -> None:
        """Measure and log. A path is logged without its query, which may hold what somebody
        searched for.
        """
        scope, operation = exchange.scope, exchange.operation
        method = scope["method"]
        if operation is not None:
            route = operation.path
        else:
            route = getattr(scope.get("route"), "path", "unmatched")
        key = method, route, status
        observed = self._observed.get(key)
        if observed is None:
            observed = REQUESTS.labels(*key)
            if operation is not None:
                self._observed[key] = observed
        observed.observe(duration_s)
        if self._access_log:
            log.info(
                "request_answered",
                method=method,
                path=scope["path"],
                status=status,
                duration_ms=round(duration_s * 1_000, 1),
                request_id=str(exchange.request_id),
            )


class _Sending:
    """Sends one answer with the headers that every answer carries; to HEAD, without its body."""

    def __init__(
        self,
        exchange: Exchange,
        send: Send,
        cross_origin: CrossOrigin | None,
        before_refusal: Callable[[Scope], Awaitable[None]] | None,
        *,
        head: bool,
    ) -> None:
        self._exchange = exchange
        self._send = send
        self._cross_origin = cross_origin
        self._before_refusal = before_refusal
        self._head = head
        self.begun = False
        self.ended = False
        self.status = 0

    async def answer(self, answer: Answer) -> None:
        await self.send(
            {
                "type": "http.response.start",
                "status": int(answer.status),
                "headers": answer.headers,
            }
        )
        await self.send({"type": "http.response.body", "body": answer.body})

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            self.status = status = message["status"]
            if status >= HTTPStatus.BAD_REQUEST and self._before_refusal is not None:
                await self._before_refusal(self._exchange.scope)
            message["headers"] = [*message["headers"], *self._headers()]
        elif self._head:
            if self.ended:
                return
            # Also of a stream: it is told then that its client is gone.
            message, self.ended = {"type": message["type"], "body": b"", "more_body": False}, True
        elif not message.get("more_body", False):
            self.ended = True
        await self._send(message)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        exchange = self._exchange
        headers = answer_headers(exchange.request_id)
        if exchange.answer_headers:
            headers += exchange.answer_headers
        if self._cross_origin is not None:
            headers += self._cross_origin.headers(exchange.headers.get(b"origin"))
        return headers


async def _answered(
    exchange: Exchange, operation: Operation, reader: ParameterReader, body_bytes_max: int
) -> Reply:
    """The body, its syntax, the meaning of everything, the answer."""
    body = operation.body
    if body is None:
        if operation.parameters is None:
            return await operation.answer(operation.parts, exchange)
        return await operation.answer(operation.parts, exchange, reader.parameters(exchange))
    exchange.body = await body.read(exchange, body_bytes_max)
    entries: list[Any] = []
    parameters = value = None
    try:
        value = await body.parsed(exchange, exchange.body)
    except ValidationError as error:
        entries += located(error, "body")
    except InvalidFields as error:
        entries += error.entries
    if operation.parameters is not None:
        try:
            parameters = reader.parameters(exchange)
        except InvalidFields as error:
            entries = [*error.entries, *entries]
    if entries:
        raise InvalidFields(entries)
    if operation.parameters is None:
        return await operation.answer(operation.parts, exchange, value)
    return await operation.answer(operation.parts, exchange, parameters, value)


def _require_size(exchange: Exchange, bytes_max: int) -> None:
    length = exchange.headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > bytes_max:
        raise TooLarge


def _serve_docs(app: FastAPI) -> None:
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
