"""An application of pages: visitors, safe forms, errors in words."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from pages.forms import FormErrors
from pages.rendering import Renderer
from pages.security import ForeignOrigin, Guard, TooLarge, require_own_origin
from pages.sessions import Sessions, Visitor
from pages.settings import PagesSettings
from shared.ids import new_uuid7
from shared.web.serving.protocol import END_STREAMS
from starfold_client import AsyncStarfold
from starfold_client.errors import (
    ClientError,
    ConnectionFailed,
    InvalidInput,
    Moved,
    NotAuthenticated,
    Problem,
    TryLater,
)

# A page is for a person who waits: rather an error now than an answer in a minute.
API_TIMEOUT_S = 10.0
API_PATIENCE_S = 3.0
RETRY_AFTER_S = 5

log = structlog.get_logger()

Page = Callable[[Request, Visitor], Awaitable[Response]]

_ERRORS = {
    400: ("This request cannot be read", "Go back and try again."),
    403: ("You may not do this", "Your account lacks the right to."),
    404: ("There is no such page", "The address may be wrong, or what it showed is private."),
    405: ("This is not done here", "Go back and try again."),
    409: ("This is not possible now", ""),
    410: ("This film is no longer in the catalogue", ""),
    412: ("Changed by someone since", "Load the page again to see the present state."),
    413: ("This is too large", "Send a smaller file or a shorter text."),
    422: ("Something in this is wrong", ""),
    429: ("Too many requests", "Wait a moment, then load the page again."),
    503: ("Not available at the moment", "Nothing is lost. Load the page again in a moment."),
}
_UNFORESEEN = ("Something went wrong on our side", "It has been noted in the log.")


class Pages(Protocol):
    """A room of pages."""

    def routes(self) -> Sequence[Route]:
        """Return the routes, each made with `Site.page`."""


class Site:
    """What all pages of a process share; makes handlers, and answers errors as pages."""

    def __init__(
        self, settings: PagesSettings, renderer: Renderer, *, name: str, origin: str
    ) -> None:
        self._settings = settings
        self.renderer = renderer
        self.client = AsyncStarfold(
            settings.command_url,
            settings.query_url,
            timeout_s=API_TIMEOUT_S,
            patience_s=API_PATIENCE_S,
        )
        self._origin = origin
        # The bounds of bodies by path, where they are not that of all pages.
        self._bounds: dict[str, int] = {}
        # Whether browsers reach the pages by TLS, so that cookies are for TLS alone.
        self.secure = origin.startswith("https://")
        self.sessions = Sessions(self.client, name, secure=self.secure)

    def page(
        self,
        path: str,
        page: Page,
        *,
        methods: Sequence[str] = ("GET",),
        body_bytes_max: int | None = None,
    ) -> Route:
        """Return the route of a page, whose unsafe methods only our own pages may use.

        A page that takes files has a bound of its own for bodies.
        """
        if body_bytes_max is not None:
            self._bounds[path] = body_bytes_max

        async def handle(request: Request) -> Response:
            visitor: Visitor | None = None
            try:
                require_own_origin(request.scope, self._origin)
                visitor = await self.sessions.visitor(request)
                response = await page(request, visitor)
            except NotAuthenticated:
                response = RedirectResponse(f"/login?next={quote(_here(request), safe='')}", 303)
            except Moved as moved:
                response = RedirectResponse(f"/movies/{moved.movie_id}", 301)
            except ClientDisconnect:
                response = Response(status_code=400)  # Nobody is there to read it.
            except (ClientError, ForeignOrigin, FormErrors, HTTPException, TooLarge) as error:
                response = self.error(request, error, visitor)
            except Exception as error:  # Any error: the visitor gets a page that says so.
                log.exception("request_failed", path=request.url.path)
                response = self.error(request, error, visitor)
            if visitor is not None:
                self.sessions.store(visitor, response)
            return response

        return Route(path, handle, methods=list(methods))

    def error(self, request: Request, error: Exception, visitor: Visitor | None = None) -> Response:
        """Return the page that says what happened, and what can be done."""
        status, detail = _said(error)
        title, advice = _ERRORS.get(status, _UNFORESEEN)
        response = self.renderer.page(
            "error.html",
            status=status,
            title=title,
            detail=detail or advice,
            request_id=request.scope.get("starfold.request_id", ""),
            visitor=visitor,
        )
        if status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER_S)
        return response

    def application(
        self,
        rooms: Sequence[Pages],
        *,
        body_bytes_max: int,
        end_streams: Callable[[], None] = lambda: None,
    ) -> Starlette:
        """Return the application that serves the rooms' pages.

        `end_streams` ends answers that have no end, when the server begins to stop.
        """

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[dict[str, object]]:
            yield {END_STREAMS: end_streams}
            await self.client.close()

        return Starlette(
            routes=[
                *(route for room in rooms for route in room.routes()),
                self.renderer.route,
                Route("/health", _healthy),
                Route("/ready", self._ready),
            ],
            middleware=[
                Middleware(RequestLog, enabled=self._settings.access_log),
                Middleware(
                    Guard,
                    body_bytes_max=body_bytes_max,
                    bounds=self._bounds,
                    secure=self.secure,
                ),
            ],
            exception_handlers={HTTPException: self._refused},
            lifespan=lifespan,
        )

    async def _ready(self, _: Request) -> Response:
        try:
            await self.client.query_ready()
            await self.client.command_ready()
        except ClientError as error:
            return PlainTextResponse(f"not ready: {error}\n", 503)
        return PlainTextResponse("ready\n")

    async def _refused(self, request: Request, error: Exception) -> Response:
        return self.error(request, error)


class RequestLog:
    """Gives each request an id, binds it to log lines, and logs each answer if told to."""

    def __init__(self, app: Any, *, enabled: bool) -> None:
        self._app = app
        self._enabled = enabled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = str(new_uuid7())
        scope["starfold.request_id"] = request_id
        status = 0
        started = time.perf_counter()

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, identified)
            if self._enabled:
                log.info(
                    "request_answered",
                    method=scope["method"],
                    path=scope["path"],
                    status=status,
                    duration_ms=round((time.perf_counter() - started) * 1_000, 1),
                )


def is_own_path(path: str) -> bool:
    """Whether a path that came in a query leads to these pages, and nowhere else."""
    parts = urlsplit(path)
    own = path.startswith("/") and not path.startswith(("//", "/\\"))
    return own and not parts.scheme and not parts.netloc and path.isprintable()


def _here(request: Request) -> str:
    """Return where to continue after a log-in: the page itself, or the one with the form."""
    if request.method == "GET":
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return urlsplit(request.headers.get("referer", "/")).path or "/"


def _said(error: Exception) -> tuple[int, str]:
    """Return the status of an error, and what it says if that is for people."""
    match error:
        case TooLarge():
            return 413, ""
        case ForeignOrigin():
            return 403, "This request did not come from a page of this site."
        case HTTPException():
            return error.status_code, ""
        case FormErrors():
            return 422, str(error)
        case InvalidInput():
            return 422, " ".join(one.detail for one in error.errors) or error.detail
        case Problem() if error.status in _ERRORS and not isinstance(error, TryLater):
            return error.status, error.detail
        case TryLater() if error.status == 429:
            return 429, ""
        case TryLater() | ConnectionFailed():
            return 503, ""
        case _:
            return 500, ""


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")
