"""What people expect of a careful HTTP API, on both."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from shared.web.problems import PROBLEM_TYPES, TYPE_PREFIX
from tests.support.api import Api, User
from tests.support.raw_requests import ask

BOTH = pytest.mark.parametrize("side", ["command", "query"])


def url(api: Api, side: str) -> str:
    return str({"command": api.command, "query": api.query}[side].base_url).rstrip("/")


class TestHost:
    """Whom a request is for must be clear (RFC 9112, 3.2)."""

    @BOTH
    @pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a\r\nHost: a\r\n"])
    def test_no_host_or_two_is_a_400(self, api: Api, side: str, hosts: bytes) -> None:
        answer = ask(url(api, side), b"GET /health HTTP/1.1\r\n" + hosts + b"\r\n")
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
