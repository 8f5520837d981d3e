"""The two reads that are most of the traffic, answered ahead of the framework.

`GET /v1/movies/{movie_id}` and `GET /v1/users/{user_id}` are one coalesced read and a few bytes
around it; the framework's layers cost several times that. What is answered here is what the routes
would answer: a found and public document, or 304. All else (errors, private profiles, a credential,
a read that has to wait) is left to the application, which reads again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple
from uuid import UUID

import msgspec
from starlette.types import Receive, Scope, Send

from query_api.freshness import parse_position
from query_api.reader import Reader
from query_api.routes.answers import etag_of, knows, with_ratings
from shared.errors import StarfoldError
from shared.http import REQUESTS, answer_headers, request_id_of
from shared.ids import START
from shared.read_model import MOVIES, PARKED, PROFILES, ProfileDocument

_PATH = re.compile(
    "^/v1/(movies|users)/([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$"
)
_JSON = (b"content-type", b"application/json")
_CACHE = (b"cache-control", b"no-cache")

_decode_profile = msgspec.json.Decoder(ProfileDocument).decode


class _Hot(NamedTuple):
    """Where a document and its statistics are, and whether everybody may see it."""

    projection: str
    kinds: Sequence[str]
    is_public: Callable[[bytes], bool]
    route: str


class _Asked(NamedTuple):
    """The headers that matter. With a credential a request is left to the application."""

    at_least: str | None
    if_none_match: str | None
    authorized: bool


class HotReads:
    """Says whether it has answered a request."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._hot = {
            "movies": _Hot(MOVIES, ("movie", "stats", PARKED), _anybody, "/v1/movies/{movie_id}"),
            "users": _Hot(PROFILES, ("profile", "stats", PARKED), _public, "/v1/users/{user_id}"),
        }

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET":
            return False
        matched = _PATH.match(scope["path"])
        if matched is None:
            return False
        hot = self._hot[matched[1]]
        started = time.perf_counter()
        status = await self._answer(hot, UUID(matched[2]), scope, send)
        if status is None:
            return False
        REQUESTS.labels("GET", hot.route, status).observe(time.perf_counter() - started)
        return True

    async def _answer(self, hot: _Hot, entity: UUID, scope: Scope, send: Send) -> int | None:
        """The status that was answered with; None if it is for the application to answer."""
        asked = _asked(scope)
        if asked.authorized:
            return None
        try:
            wanted = parse_position(asked.at_least) if asked.at_least is not None else START
            found = await self._reader.documents(hot.projection, entity, hot.kinds)
        except StarfoldError:
            return None
        document, statistics, parked = found.values
        if document is None or statistics is None or found.position < wanted:
            return None
        if not hot.is_public(document):
            return None
        body = with_ratings(document, statistics, parked)
        etag = etag_of(body)
        known = asked.if_none_match is not None and knows(asked.if_none_match, etag)
        headers = [
            *answer_headers(request_id_of(scope)),
            _CACHE,
            (b"etag", etag.encode()),
            (b"starfold-position", b"%d" % found.position),
        ]
        if known:
            status, body = 304, b""
        else:
            status = 200
            headers += (_JSON, (b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
        return status


def _asked(scope: Scope) -> _Asked:
    at_least = if_none_match = None
    authorized = False
    for name, value in scope["headers"]:
        if name == b"starfold-at-least":
            at_least = value.decode("latin-1")
        elif name == b"if-none-match":
            if_none_match = value.decode("latin-1")
        elif name == b"authorization":
            authorized = True
    return _Asked(at_least, if_none_match, authorized)


def _anybody(_movie: bytes) -> bool:
    return True


def _public(profile: bytes) -> bool:
    return _decode_profile(profile).visibility == "public"
