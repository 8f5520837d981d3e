"""What people expect of a careful HTTP API, on both."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

import query_api.app
from shared.web.problems import PROBLEM_TYPES, TYPE_PREFIX
from tests.support.api import Api, User
from tests.support.system import RunningApp, System
from tests.support.web.raw_requests import ask

BOTH = pytest.mark.parametrize("side", ["command", "query"])


def url(api: Api, side: str) -> str:
    return str({"command": api.command, "query": api.query}[side].base_url).rstrip("/")


class TestHost:
    """The host of a request must be unambiguous (RFC 9112, 3.2)."""

    @BOTH
    @pytest.mark.parametrize("path", [b"/health", b"/docs", b"/nowhere", b"/v1/movies"])
    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n"])
    def test_no_host_or_two_is_a_400(self, api: Api, side: str, path: bytes, hosts: bytes) -> None:
        method = b"POST " if path == b"/v1/movies" and side == "command" else b"GET "
        answer = ask(url(api, side), method + path + b" HTTP/1.1\r\n" + hosts + b"\r\n")
        assert answer.status == 400
        assert b"urn:starfold:problem:bad-request" in answer.body
        assert {"x-request-id", "x-content-type-options"} <= set(answer.headers)

    @BOTH
    @pytest.mark.parametrize("request_", [b"1.1\r\nHost: a\r\n\r\n", b"1.0\r\n\r\n"])
    def test_one_is_right_and_http_1_0_needs_none(
        self, api: Api, side: str, request_: bytes
    ) -> None:
        assert ask(url(api, side), b"GET /health HTTP/" + request_).status == 200


@pytest.mark.parametrize("space", [b" ", b"\t", b"  \t "])
def test_white_space_around_a_header_is_no_part_of_it(api: Api, space: bytes) -> None:
    head = b"GET /v1/movies HTTP/1.1\r\nHost: a\r\nStarfold-At-Least:" + space + b"0" + space
    assert ask(url(api, "query"), head + b"\r\n\r\n").status == 200


class TestProblems:
    @BOTH
    def test_a_problem_leads_to_its_entry_on_a_page(self, api: Api, side: str) -> None:
        answer = httpx.get(f"{url(api, side)}/nowhere")
        problem = answer.json()
        assert problem["type"] == TYPE_PREFIX + "not-found"
        assert problem["title"] == PROBLEM_TYPES["not-found"].title
        target = answer.links["help"]["url"]
        page = httpx.get(url(api, side) + target)
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for code in PROBLEM_TYPES:
            assert f'id="{code}"' in page.text

    @BOTH
    def test_the_parsers_errors_are_problems_too(self, api: Api, side: str) -> None:
        answer = ask(url(api, side), b"GET  /x y HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert "x-request-id" in answer.headers
        assert answer.headers["link"] == '</docs/problems#malformed-request>; rel="help"'


@pytest.fixture
def ann(api: Api) -> User:
    return api.sign_up()


@pytest.mark.parametrize(
    "rated_at",
    [20240131, "20240131", "1706659200", 1.5e9, True, "2024-01-31", "2024-01-31T00:00:00", "0", ""],
)
def test_a_time_is_a_time_and_no_number(api: Api, ann: User, rated_at: Any) -> None:
    answer = api.rate(ann, api.movie(), 4, rated_at=rated_at)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/rated_at"
    row = {"movie_id": api.movie(), "score": 4, "rated_at": rated_at}
    batch = api.post("/v1/ratings/batch", {"ratings": [row]}, ann.headers)
    assert batch.json()["results"][0]["status"] == "rejected"


@pytest.mark.parametrize(
    "rated_at",
    [
        "2024-01-31T12:00:00Z",
        "2024-01-31t12:00:00.123456z",
        "2024-01-31 12:00:00+02:00",
        "2024-01-31T12:00Z",
    ],
)
def test_a_time_of_rfc_3339_is_taken(api: Api, ann: User, rated_at: str) -> None:
    assert api.rate(ann, api.movie(), 4, rated_at=rated_at).status_code == 201


HOST = b"Host: a\r\n"
REFUSALS = {
    "path": (404, b"GET /nowhere HTTP/1.1\r\n" + HOST),
    "method": (405, b"PUT /v1/movies HTTP/1.1\r\n" + HOST),
    "size": (413, b"POST /v1/movies HTTP/1.1\r\nContent-Length: 99999999\r\n" + HOST),
    "size of a read": (413, b"GET /v1/movies HTTP/1.1\r\nContent-Length: 99999999\r\n" + HOST),
    "host": (400, b"GET /health HTTP/1.1\r\n"),
    "syntax": (400, b"GET  /x y HTTP/1.1\r\n" + HOST),
    "head": (431, b"GET / HTTP/1.1\r\n" + HOST + b"a: b\r\n" * 101),
    "target": (414, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST),
    "credential": (401, b"GET /v1/users/me HTTP/1.1\r\nAuthorization: Bearer x\r\n" + HOST),
    "key": (401, b"POST /v1/movies HTTP/1.1\r\nAuthorization: Bearer sfk_x\r\n" + HOST),
}
ONLY = {"size": "command", "size of a read": "query", "credential": "query", "key": "command"}


class TestRateLimitFields:
    """Every answer states the caller's limit, also one that no operation has given."""

    @pytest.mark.parametrize(
        ("side", "name"),
        [
            (side, name)
            for name in REFUSALS
            for side in ("command", "query")
            if ONLY.get(name, side) == side
        ],
    )
    def test_a_refusal_states_the_limit_of_the_address(
        self, api: Api, side: str, name: str
    ) -> None:
        status, request = REFUSALS[name]
        answer = ask(url(api, side), request + b"\r\n")
        policy = {"command": "anonymous", "query": "address"}[side]
        assert answer.status == status
        assert re.fullmatch(rf'"{policy}";q=\d+;w=60', answer.headers["ratelimit-policy"])
        assert re.fullmatch(rf'"{policy}";r=\d+;t=\d+', answer.headers["ratelimit"])

    def test_every_read_states_the_limit_of_its_caller(self, api: Api, ann: User) -> None:
        """Also a 304, a 404 and a stream."""
        movie = f"/v1/movies/{api.movie()}"
        api.read(movie)
        api.read("/v1/users/me", ann)
        seen = api.query.get(movie)
        answers = [
            seen,
            api.query.get(movie, headers={"If-None-Match": seen.headers["etag"]}),
            api.query.get(f"/v1/movies/{ann.user_id}"),
            api.query.get("/v1/movies?limit=0"),
        ]
        with api.query.stream("GET", "/v1/stream") as stream:
            answers.append(stream)
        assert [answer.status_code for answer in answers] == [200, 304, 404, 422, 200]
        assert {answer.headers["ratelimit-policy"][:9] for answer in answers} == {'"address"'}
        own = api.query.get("/v1/users/me", headers=ann.headers)
        assert own.headers["ratelimit"].startswith('"caller";r=')

    def test_behind_a_proxy_the_parser_knows_no_address(self, module_system: System) -> None:
        app = query_api.app.create_app(module_system.query_settings())
        behind = RunningApp(app, proxy_headers=True, forwarded_allow_ips="127.0.0.1")
        try:
            answer = ask(behind.url, b"GET  /x y HTTP/1.1\r\n\r\n")
            assert answer.status == 400
            assert "ratelimit" not in answer.headers
        finally:
            behind.stop()


class TestVary:
    """An answer names the request headers that it depends on, so that no cache mixes them up."""

    def test_reads_depend_on_the_credential(self, api: Api, ann: User) -> None:
        api.read("/v1/users/me", ann)
        for path, headers in (
            ("/v1/movies", {}),
            (f"/v1/movies/{api.movie()}", {}),
            (f"/v1/users/{ann.user_id}", ann.headers),
            (f"/v1/users/{ann.user_id}", {}),
            ("/v1/users/me", {"Authorization": "Bearer x"}),
        ):
            assert "authorization" in api.query.get(path, headers=headers).headers["vary"]

    def test_a_large_read_depends_on_the_encodings_that_are_taken(self, api: Api) -> None:
        body = {"title": "Long", "year": 2001, "description": "x" * 5_000}
        movie = api.expect(201, api.post("/v1/movies", body, api.service))["movie_id"]
        api.read(f"/v1/movies/{movie}")
        for encoding in ("gzip", "identity"):
            answer = api.query.get(f"/v1/movies/{movie}", headers={"Accept-Encoding": encoding})
            assert answer.headers.get("content-encoding", "identity") == encoding
            assert "accept-encoding" in answer.headers["vary"].lower()

    def test_what_is_ones_own_is_kept_by_no_shared_cache(self, api: Api, ann: User) -> None:
        answer = api.command.get("/v1/users/me/export", headers=ann.headers)
        assert answer.headers["cache-control"] == "no-store"
