"""The application of both APIs: one path from a request to its answer.

    HEAD as GET -> preflight (CORS), answered here -> route -> size of the body
        -> one of each single-valued header -> the API's gate: credential and rate limit
        -> body: syntax, then values -> parameters -> the operation
        -> headers of every answer, log line, metrics

Any failure on this path becomes an answer too, in one place. FastAPI serves the rest: the
documentation and its assets.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import fastapi_offline
import structlog
from fastapi import FastAPI
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse
from starlette.types import Lifespan, Message, Receive, Scope, Send

from shared.errors import Moved, TooManyRequests
from shared.ids import uuid_text
from shared.web import operation as operations
from shared.web.answer import REFUSED_FROM, Answer, Fields, send_answer, whole_sender
from shared.web.cross_origin import CrossOrigin, CrossOriginAnswers
from shared.web.metrics import REQUESTS
from shared.web.openapi import Admission, described
from shared.web.operation import REQUEST_ID_HEADER, Operation, Request, operations_of
from shared.web.problems import PROBLEMS_PATH, Refused, problem_of, problems_page
from shared.web.routes import Found, Routes

ASSETS_PATH = "/docs/assets"

_SECURITY_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]

UNMATCHED = "unmatched"

log = structlog.get_logger()

Respond = Callable[[Request[Any, Any]], Awaitable[Answer]]


class Gate(Protocol):
    """An API's own way to admit callers and to charge their rate limits."""

    async def __call__(self, request: Request[Any, Any], respond: Respond) -> Answer:
        """Admit the caller of a request, charge their rate limit, and call `respond`."""

    def charge_address(self, scope: Scope, fields: Fields) -> None:
        """Charge a request without an operation to its address, and report the rest in the fields.

        Raises `TooManyRequests`.
        """


class Service(FastAPI):
    """Documents the operations of its rooms' classes, and serves the operations of their instances.

    Its lifespan calls `serve` with the instances. `translated` converts a library's error to one of
    Starfold's. `before_refusal` is awaited before an error is sent. `tags` and `admission` are for
    the documentation: the meaning of the operations' tags, and the callers that their access
    admits.
    """

    def __init__(
        self,
        rooms: Iterable[type],
        *,
        title: str,
        description: str,
        lifespan: Lifespan[FastAPI] | None,
        body_bytes_max: int,
        access_log: bool,
        cross_origin: CrossOrigin,
        tags: Mapping[str, str],
        admission: Callable[[Any], Admission],
    ) -> None:
        super().__init__(
            title=title,
            description=description,
            version="1",
            lifespan=lifespan,
            docs_url=None,
            redoc_url=None,
            redirect_slashes=False,
            telemetry={"tracing": False, "metrics": False},
        )
        self.operations = [one for room in rooms for one in operations_of(room)]
        self.translated: Callable[[Exception], Exception] = _as_it_is
        self.before_refusal: Callable[[Scope], Awaitable[None]] | None = None
        self._body_bytes_max = body_bytes_max
        self._tags = tags
        self._admission = admission
        self._access_log = access_log
        self._gate: Gate | None = None
        self._routes = Routes(())
        self._closing: Fields = []
        self._cross_origin = CrossOriginAnswers(cross_origin, self._handle, self.operations)
        self.add_exception_handler(HTTPException, _on_http_exception)
        self.add_exception_handler(Exception, _on_exception)
        _serve_docs(self)

    def serve(self, rooms: Iterable[object], gate: Gate) -> None:
        """Answer the operations of these rooms from now on."""
        self._gate = gate
        self._routes = Routes([one for room in rooms for one in operations_of(room)])

    def close_connections(self) -> None:
        """Close each connection with its next answer from now on."""
        self._closing = [(b"connection", b"close")]

    def route_of(self, scope: Scope) -> str:
        """Return the path of the operation that answers a request, as it is documented."""
        found = self._routes.find(scope["path"])
        return UNMATCHED if found is None else _operation(found, scope).path

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            info = {"title": self.title, "version": self.version, "description": self.description}
            self.openapi_schema = described(info, self.operations, self._tags, self._admission)
        return self.openapi_schema

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # The server keeps its own scope, and knows that HEAD has no body.
            scope, send = {**scope, "method": "GET", "extensions": {}}, _without_body(send)
        if scope["method"] == "OPTIONS" and self._cross_origin.is_preflight(scope):
            await self._cross_origin.preflight(scope, receive, send)
        else:
            await self._handle(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        gate = self._gate
        assert gate is not None, "the application has not started"
        found = self._routes.find(scope["path"])
        if found is None:
            request_id = request_id_of(scope)
            status = await self._other(scope, receive, send, request_id)
            self._ended(scope, UNMATCHED, status, started, request_id)
            return
        of = _operation(found, scope)
        bytes_max = of.body_bytes_max(self._body_bytes_max)
        request: Request[Any, Any] = Request(of, found.values, scope, receive, bytes_max)
        try:
            try:
                if scope["method"] not in found.methods:
                    raise _no_such_method(found.methods)
                request.require_head()
            except Refused:
                gate.charge_address(scope, request.answer_fields)
                raise
            answer = await gate(request, _respond)
        except ClientDisconnect:
            return  # Nobody reads an answer.
        except Exception as error:  # noqa: BLE001  # Any error is answered and logged.
            answer = problem_of(_located(self.translated(error), request))
        status = answer.status
        try:
            status = await self._send(answer, request, send)
        finally:
            self._ended(scope, of.path, status, started, request.request_id)

    async def _send(self, answer: Answer, request: Request[Any, Any], send: Send) -> int:
        """Send an answer, and return its status."""
        own = [
            *request.answer_fields,
            *request.operation.deprecation,
            *answer_headers(request.request_id),
            *self._cross_origin.fields(request.fields.get(b"origin")),
            *self._closing,
        ]
        if answer.stream is not None:
            begun = False

            async def send_with_fields(message: Message) -> None:
                nonlocal begun
                if message["type"] == "http.response.start":
                    begun = True
                    message["headers"] = [*message["headers"], *own]
                await send(message)

            try:
                await answer.stream(request.scope, request.receive, send_with_fields)
            except Exception as error:
                if begun:
                    raise
                answer = problem_of(self.translated(error))
            else:
                return answer.status
        if answer.status >= REFUSED_FROM and self.before_refusal is not None:
            await self.before_refusal(request.scope)
        send_whole = whole_sender(request.scope)
        if send_whole is not None:
            await send_whole(answer, own)
        else:
            await send_answer(answer, send, own)
        return answer.status

    async def _other(self, scope: Scope, receive: Receive, send: Send, request_id: UUID) -> int:
        """Answer a request without an operation: the documentation, or an unknown path."""
        status, ended = 0, False
        fields = dict(scope["headers"])
        cross_origin = self._cross_origin.fields(fields.get(b"origin"))
        own = [*answer_headers(request_id), *cross_origin, *self._closing]
        assert self._gate is not None

        async def send_noted(message: Message) -> None:
            nonlocal status, ended
            ended = message["type"] == "http.response.body" and not message.get("more_body")
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *own]
                if status >= REFUSED_FROM and self.before_refusal is not None:
                    await self.before_refusal(scope)
            await send(message)

        try:
            self._gate.charge_address(scope, own)
            operations.require_single_fields(scope, fields)
            # The router mistakes a path with a line end for the path without it.
            if scope["path"].isprintable():
                await super().__call__(scope, receive, send_noted)
            else:
                await send_answer(problem_of(_no_such_path()), send_noted, [])
        except (Refused, TooManyRequests) as error:
            await send_answer(problem_of(error), send_noted, [])
        except Exception:
            # Starlette raises an error again after its last handler has answered it.
            if not ended:
                raise
        return status

    def _ended(
        self, scope: Scope, route: str, status: int, started: float, request_id: UUID
    ) -> None:
        duration_s = time.perf_counter() - started
        REQUESTS.observe(scope["method"], route, status, duration_s)
        if self._access_log:
            # Without the query string, which may hold a user's search.
            log.info(
                "request_answered",
                method=scope["method"],
                path=scope["path"],
                status=status,
                duration_ms=round(duration_s * 1_000, 1),
                request_id=str(request_id),
            )


async def _respond(request: Request[Any, Any]) -> Answer:
    """Parse an admitted request, and answer it."""
    operation = request.operation
    if operation.body is not None:
        request.body = await operation.body.read(request)
    request.parse_parameters()
    return await operation.respond(request)


def _operation(found: Found, scope: Scope) -> Operation:
    """Return the operation; a method that the path lacks is answered like any other one of it."""
    return found.methods.get(scope["method"]) or next(iter(found.methods.values()))


def _as_it_is(error: Exception) -> Exception:
    return error


def _located(error: Exception, request: Request[Any, Any]) -> Exception:
    """Make a moved movie's error name the same path and query of the remaining movie."""
    if isinstance(error, Moved) and "movie_id" in request.path_values:
        values = {**request.path_values, "movie_id": str(error.into)}
        query: str = request.scope["query_string"].decode("latin-1")
        error.location = request.operation.path.format(**values) + (query and f"?{query}")
    return error


def _no_such_method(methods: Mapping[str, Operation]) -> Refused:
    allowed = {*methods, "HEAD"} if "GET" in methods else {*methods}
    return Refused(
        "method-not-allowed",
        "Method Not Allowed",
        {"Allow": ", ".join(sorted(allowed))},
    )


def _no_such_path() -> Refused:
    return Refused("not-found", "Not Found")


async def _on_http_exception(_request: Any, error: Exception) -> Any:
    """Answer an error of the documentation or its assets."""
    assert isinstance(error, HTTPException)
    code = (
        "method-not-allowed" if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED else "not-found"
    )
    return _Sent(problem_of(Refused(code, str(error.detail), error.headers)))


async def _on_exception(_request: Any, error: Exception) -> Any:
    return _Sent(problem_of(error))


class _Sent:
    """An answer in the form of a Starlette response."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        await send_answer(self._answer, send, [])


def _without_body(send: Send) -> Send:
    ended = False

    async def send_head(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.body":
            if ended:
                return
            # This also tells live updates that their client is gone.
            message, ended = {"type": message["type"], "body": b"", "more_body": False}, True
        await send(message)

    return send_head


def answer_headers(request_id: UUID) -> Fields:
    """Return the header fields of every answer."""
    return [(REQUEST_ID_HEADER, uuid_text(request_id)), *_SECURITY_HEADERS]


def request_id_of(scope: Scope) -> UUID:
    """Return the id of a request that no operation answers."""
    return operations.request_id_of(dict(scope["headers"]).get(REQUEST_ID_HEADER))


def _serve_docs(app: FastAPI) -> None:
    """Serve the documentation with local files only, and the page of problem types.

    `/docs` is Swagger UI from a package's files: nothing is fetched from elsewhere.
    """
    assets = Path(fastapi_offline.__file__).parent / "static"
    app.mount(ASSETS_PATH, StaticFiles(directory=assets), name="docs-assets")

    page = problems_page()

    @app.get(PROBLEMS_PATH, include_in_schema=False)
    async def problems() -> HTMLResponse:
        return HTMLResponse(page)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title=app.title,
            swagger_js_url=f"{ASSETS_PATH}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS_PATH}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS_PATH}/favicon.png",
        )
