"""The reads that are most of the traffic, answered ahead of the framework.

A movie, a profile, a page of a user's ratings and a page of the catalogue are one coalesced read or
none, and a few bytes around it; the framework's layers cost several times that. What is answered
here is what the routes would answer: something found and public, or 304, or that Redis does not
answer. All else (other errors, private profiles, a credential, a read that has to wait) is left to
the application, which reads again.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, cast
from urllib.parse import parse_qsl
from uuid import UUID

from prometheus_client import Histogram
from starlette.types import Receive, Scope, Send

from query_api.catalogue.index import SORTS, Filter, Sort
from query_api.catalogue.search_key import search_key
from query_api.http.movies import catalogue_key, catalogue_list, sort_of
from query_api.http.parameters import LIMIT_DEFAULT, LIMIT_MAX, is_text
from query_api.http.responses import (
    Answer,
    Known,
    answer,
    page,
)
from query_api.http.users import ratings_key, ratings_list
from query_api.read_limits import ReadLimits
from query_api.redis_reads.freshness import parse_position
from query_api.redis_reads.reader import Reader
from query_api.views.cursors import Cursors
from query_api.views.pages import RATINGS_SORTS, Page, Pages, RatingsSort
from query_api.views.profiles import Profiles
from query_api.views.rendering import with_ratings
from shared.errors import Overloaded, StarfoldError, Unavailable
from shared.ids import START, Position
from shared.read_model.layout import MOVIES, PARKED
from shared.web.application import REQUESTS, answer_headers, request_id_of
from shared.web.problems import problem_of

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_PATH = re.compile(f"/v1/(?:(movies)(?:/({_UUID}))?|users/({_UUID})(/ratings)?)")
_YEAR = re.compile("[0-9]{1,4}")
_LIMIT = re.compile("[0-9]{1,3}")
_DOCUMENTS = ("movie", "stats", PARKED)

Query = dict[str, str]


class _Found(NamedTuple):
    """A body, its `Link`, and the positions that it states."""

    position: Position
    body: bytes
    link: str | None = None
    newest: Position = START


class _Asked(NamedTuple):
    """The headers that matter. With a credential a request is left to the application."""

    at_least: str | None
    known: Known
    authorized: bool


Read = Callable[[], Awaitable[_Found | None]]


class HotReads:
    """Says whether it has answered a request."""

    def __init__(
        self,
        reader: Reader,
        pages: Pages,
        profiles: Profiles,
        cursors: Cursors,
        limits: ReadLimits,
    ) -> None:
        self._reader = reader
        self._limits = limits
        self._pages = pages
        self._profiles = profiles
        self._cursors = cursors
        # To look a histogram up by its labels costs as much as to observe it.
        self._observed: dict[tuple[str, int], Histogram] = {}

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> bool:
        if scope["type"] != "http" or scope["method"] != "GET":
            return False
        matched = _PATH.fullmatch(scope["path"])
        if matched is None or (scope["query_string"] and not _is_list(matched)):
            return False
        asked = _asked(scope)
        if asked.authorized or not self._limits.admits(scope):
            return False
        started = time.perf_counter()
        route, read = self._route(matched, scope)
        made = await _answered(read, asked)
        if made is None:
            return False
        headers = [*answer_headers(request_id_of(scope)), *made.headers]
        status = int(made.status)
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": made.body})
        self._observe(route, status, time.perf_counter() - started)
        return True

    def _observe(self, route: str, status: int, seconds: float) -> None:
        observed = self._observed.get((route, status))
        if observed is None:
            observed = self._observed[route, status] = REQUESTS.labels("GET", route, status)
        observed.observe(seconds)

    def _route(self, matched: re.Match[str], scope: Scope) -> tuple[str, Read]:
        movies, movie_id, user_id, ratings = matched.groups()
        if movie_id:
            return "/v1/movies/{movie_id}", lambda: self._movie(UUID(movie_id))
        if movies:
            return "/v1/movies", lambda: self._catalogue(scope)
        if ratings:
            route = "/v1/users/{user_id}/ratings"
            return route, lambda: self._ratings(UUID(user_id), scope)
        return "/v1/users/{user_id}", lambda: self._profile(UUID(user_id))

    async def _movie(self, movie_id: UUID) -> _Found | None:
        found = await self._reader.documents(MOVIES, movie_id, _DOCUMENTS)
        movie, statistics, parked = found.values
        if movie is None or statistics is None:
            return None  # Not there, or lost: the route looks closer.
        return _Found(found.position, with_ratings(movie, statistics, parked))

    async def _profile(self, user_id: UUID) -> _Found | None:
        found = await self._profiles.profile(user_id, None)
        if found.body is None:
            return None
        return _Found(found.position, found.body, newest=found.newest)

    async def _catalogue(self, scope: Scope) -> _Found | None:
        query = _query(scope, _CATALOGUE)
        if query is None:
            return None
        sort = sort_of(cast("Sort | None", query.get("sort")), query.get("q"))
        genre, director = query.get("genre"), query.get("director")
        wanted = Filter(
            genre=search_key(genre) if genre else None,
            director=search_key(director) if director else None,
            year_min=_number(query.get("year_min")),
            year_max=_number(query.get("year_max")),
            q=query.get("q"),
        )
        cursor = query.get("cursor")
        after = catalogue_key(self._cursors, cursor, sort) if cursor else None
        found = await self._pages.catalogue(sort, wanted, after=after, limit=_limit(query))
        return self._paged(scope, query, found, catalogue_list(sort))

    async def _ratings(self, user_id: UUID, scope: Scope) -> _Found | None:
        query = _query(scope, _RATINGS)
        if query is None:
            return None
        sort = cast("RatingsSort", query.get("sort", "newest"))
        cursor = query.get("cursor")
        after = ratings_key(self._cursors, cursor, user_id, sort) if cursor else None
        found = await self._pages.ratings(user_id, None, sort, after=after, limit=_limit(query))
        return self._paged(scope, query, found, ratings_list(user_id, sort))

    def _paged(self, scope: Scope, query: Query, found: Page, of: str) -> _Found | None:
        if found.items is None:
            return None
        cursor = found.cursor(self._cursors, of)
        body, link = page(scope["path"], query, found.items, cursor)
        return _Found(found.position, body, link, found.newest)


def _is_list(matched: re.Match[str]) -> bool:
    """Only lists have parameters."""
    _, movie_id, user_id, ratings = matched.groups()
    return bool(ratings) or not (movie_id or user_id)


def _is_limit(value: str) -> bool:
    return bool(_LIMIT.fullmatch(value)) and 1 <= int(value) <= LIMIT_MAX


def _is_year(value: str) -> bool:
    return bool(_YEAR.fullmatch(value))


# What a parameter must be; all else is for the application to refuse.
_CATALOGUE: dict[str, Callable[[str], object]] = {
    "sort": SORTS.__contains__,
    "genre": is_text,
    "director": is_text,
    "q": is_text,
    "year_min": _is_year,
    "year_max": _is_year,
    "cursor": bool,
    "limit": _is_limit,
}
_RATINGS: dict[str, Callable[[str], object]] = {
    "sort": RATINGS_SORTS.__contains__,
    "cursor": bool,
    "limit": _is_limit,
}


def _query(scope: Scope, allowed: dict[str, Callable[[str], object]]) -> Query | None:
    """The parameters; None unless each is known, given once, and well-formed."""
    query_string = scope["query_string"]
    if not query_string:
        return {}
    given = parse_qsl(query_string.decode("latin-1"), keep_blank_values=True)
    query = dict(given)
    if len(query) != len(given):
        return None
    for name, value in query.items():
        is_valid = allowed.get(name)
        if is_valid is None or not is_valid(value):
            return None
    return query


def _limit(query: Query) -> int:
    return int(query.get("limit", LIMIT_DEFAULT))


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)


async def _answered(read: Read, asked: _Asked) -> Answer | None:
    """None if it is for the application to answer."""
    try:
        wanted = parse_position(asked.at_least) if asked.at_least is not None else START
        found = await read()
    except (Unavailable, Overloaded) as error:
        # To read again would keep the caller waiting twice.
        refusal = problem_of(error)
        return Answer(refusal.status_code, refusal.raw_headers, bytes(refusal.body))
    except StarfoldError:
        return None
    if found is None or found.position < wanted:
        return None
    return answer(found.body, found.position, asked.known, newest=found.newest, link=found.link)


def _asked(scope: Scope) -> _Asked:
    at_least = if_none_match = accept_encoding = None
    authorized = False
    for name, value in scope["headers"]:
        if name == b"starfold-at-least":
            given = value.decode("latin-1")
            at_least = given if at_least is None else f"{at_least}, {given}"
        elif name == b"if-none-match":
            if_none_match = value.decode("latin-1")
        elif name == b"accept-encoding":
            accept_encoding = value.decode("latin-1")
        elif name == b"authorization":
            authorized = True
    return _Asked(at_least, Known(if_none_match, accept_encoding), authorized)
