"""Nothing that a client sends is a server error: what went wrong in an earlier service."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import quote

import pytest

from command_api.bodies.models import MovieBody, MovieChangesBody
from command_api.identity.refusal_pace import RefusalPace
from tests.support.api import AT_LEAST, Api

SOMEBODY = "01900000-0000-7000-8000-000000000000"
# What a client may make of any field, as JSON.
NASTY = [
    b"null",
    b"true",
    b"-1",
    b"1e400",
    b"NaN",
    b"-Infinity",
    b"9" * 400,
    b"9" * 5_000,
    b"1e300",
    b'""',
    b'" "',
    rb'"\u0000"',
    rb'"\ud800"',
    rb'"\uffff"',
    b'"\xff"',
    rb'"\u202e"',
    b'"' + b"x" * 20_000 + b'"',
    b"[]",
    b"{}",
    b"[[]]",
    b"[null]",
    rb'["\ud800"]',
    b'"1979"',
    b'"9999-12-31T23:59:59-23:59"',
    b'"0001-01-01T00:00:00+23:59"',
    b"-62135596801",
    '"İ@x.org"'.encode(),
    b'"a@b..c"',
    b'"2026-01-01T00:00:00"',
    f'"{SOMEBODY}"'.encode(),
]
# The same in a URL.
ASKED = [
    "",
    " ",
    "\0",
    "null",
    "-1",
    "0",
    "1e400",
    "NaN",
    "9" * 400,
    "9999-12-31",
    "0000-00-00",
    "%",
    "%00",
    "'; DROP TABLE events; --",
    "../../x",
    "İ",
    "\u202e",
    "\uffff",
    "x" * 3_000,
    # What cursors were before they were sealed: a rank that is no number, an empty key.
    "kqZuZXdlc3SSy3_4AAAAAAAAxAF4",
    "kqV0aXRsZZA",
    SOMEBODY,
    "[]",
    "{}",
    "\r\nX: y",
]
PAGED = ["cursor", "limit"]


@pytest.fixture(autouse=True)
def no_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is refused all the time waits for each answer: here for minutes."""
    monkeypatch.setattr(RefusalPace, "delay_s", lambda _pace, _address: 0.0)


@pytest.fixture
def command_api(api: Api) -> Iterator[HTTPConnection]:
    """A client that costs little: some tests send thousands of requests."""
    with closing(HTTPConnection(api.command.base_url.netloc.decode(), timeout=30)) as connection:
        yield connection


@pytest.mark.parametrize(
    ("method", "path", "fields"),
    [
        ("POST", "/v1/users", ["email", "password", "display_name", "external_id"]),
        ("POST", "/v1/users/batch", ["users", "external_id", "display_name"]),
        ("PATCH", "/v1/users/me", ["display_name", "visibility"]),
        ("PUT", "/v1/users/me/password", ["old", "new"]),
        ("PUT", f"/v1/users/{SOMEBODY}/role", ["role"]),
        ("POST", "/v1/sessions", ["email", "password", "api_key"]),
        ("POST", "/v1/sessions/refresh", ["refresh_token"]),
        ("POST", "/v1/movies", sorted(MovieBody.model_fields)),
        ("POST", "/v1/movies/batch", ["movies", "title", "year", "imdb_id", "external_id"]),
        ("PATCH", "/v1/movies/{movie_id}", sorted(MovieChangesBody.model_fields)),
        ("PUT", "/v1/movies/{movie_id}/rating", ["score", "review", "rated_at"]),
        ("POST", "/v1/ratings", ["movie_id", "user_id", "score", "review", "rated_at"]),
        ("POST", "/v1/ratings/batch", ["ratings", "movie_id", "user_id", "score", "rated_at"]),
    ],
)
def test_nothing_that_a_client_sends_is_a_server_error(
    api: Api, command_api: HTTPConnection, method: str, path: str, fields: list[str]
) -> None:
    """Send each field by itself and beside valid ones, also in a row of a bulk request."""
    ann, movie_id = api.sign_up(), api.movie()
    path = path.format(movie_id=movie_id)
    right = {"title": "M", "year": 1931, "score": 3, "movie_id": movie_id}
    stated = {"Content-Type": "application/json", "If-Match": '"1"'}
    others = {name: right[name] for name in fields if name in right}
    for field, value in itertools.product(fields, NASTY):
        beside = json.dumps({n: v for n, v in others.items() if n != field})[1:-1].encode()
        named = f'"{field}":'.encode()
        row = b"{%s%s%s}" % (beside and beside + b",", named, value)
        for body in (
            value,
            row,
            b"{%s%s}" % (named, value),
            b"{%s[%s]}" % (named, value),
            b'{"%s":[%s]}' % (fields[0].encode(), row),
        ):
            for headers in (ann.headers, api.service):
                command_api.request(method, path, body, headers | stated)
                answer = command_api.getresponse()
                text = answer.read()
                assert answer.status < 500, (body[:200], text)


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("/v1/movies", ["sort", "genre", "director", "year_min", "year_max", "q", *PAGED]),
        ("/v1/movies/{movie_id}", []),
        ("/v1/movies/{movie_id}/ratings", ["sort", *PAGED]),
        ("/v1/movies/{movie_id}/stats", ["as_of"]),
        ("/v1/movies/{movie_id}/history", PAGED),
        ("/v1/users/{user_id}", []),
        ("/v1/users/{user_id}/ratings", ["sort", *PAGED]),
        ("/v1/users/{user_id}/ratings/{movie_id}", []),
    ],
)
def test_nothing_that_a_reader_asks_is_a_server_error(
    api: Api, path: str, parameters: list[str]
) -> None:
    """Neither in a parameter nor in the path nor in a header."""
    ids = {"movie_id": api.movie(), "user_id": api.sign_up().user_id}
    right = path.format_map(ids)
    for value in ASKED:
        for name in [*parameters, "offset", value[:50]]:
            answer = api.query.get(right, params={name: value})
            assert answer.status_code < 500, (name, value[:50], answer.text)
        for name in ids:
            wrong = path.format_map(ids | {name: quote(value[:200], safe="")})
            assert api.query.get(wrong).status_code < 500, wrong
        for header in (AT_LEAST, "If-None-Match", "Accept-Encoding", "X-Request-ID"):
            encoded = value.strip().encode()
            sent = {header.encode(): encoded} if value.isprintable() else {}
            assert api.query.get(right, headers=sent).status_code < 500
