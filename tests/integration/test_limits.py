"""Rate limits, the metrics token and cross-origin callers, over HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.api import Api
from tests.servers import Servers
from tests.system import System

ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def limited(servers: Servers) -> Iterator[Api]:
    system = System(servers)
    command = system.start_command_api(
        rate_limit_member=2,
        rate_limit_service=50,
        metrics_token="let me see",
        cors_origins=f"{ORIGIN}, https://other.example.org",
    )
    with Api(command.url, command.url, system.service_key()) as client:
        yield client
    system.close()


def test_who_asks_too_often_is_told_when_to_come_again(limited: Api) -> None:
    ann, ben, movie_id = limited.sign_up(), limited.sign_up(), limited.movie()
    answers = [limited.rate(ann, movie_id, 4) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [201, 200, 429]
    assert [answer.headers["RateLimit"] for answer in answers] == [
        *('"member";r=1;t=30', '"member";r=0;t=60', '"member";r=0;t=60')
    ]
    assert {answer.headers["RateLimit-Policy"] for answer in answers} == {'"member";q=2;w=60'}
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 30
    assert answers[-1].json()["type"] == "urn:starfold:problem:too-many-requests"
    assert limited.rate(ben, movie_id, 4).status_code == 201


def test_a_service_has_a_limit_of_its_own(limited: Api) -> None:
    answer = limited.post("/v1/movies", {"title": "Mirror", "year": 1975}, limited.service)
    assert answer.headers["RateLimit-Policy"] == '"service";q=50;w=60'
    refused = limited.post("/v1/movies", {}, limited.service)
    assert refused.status_code == 422
    assert "RateLimit" in refused.headers


def test_a_forged_credential_counts_for_its_address(limited: Api) -> None:
    headers = {"Authorization": "Bearer forged"}
    answer = limited.post("/v1/ratings", {}, headers)
    assert answer.status_code == 401
    assert answer.headers["RateLimit-Policy"] == '"anonymous";q=3000;w=60'


def test_health_is_not_limited(limited: Api) -> None:
    for path in ("/health", "/ready", "/openapi.json"):
        assert "RateLimit" not in limited.command.get(path).headers


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    rating = f"/v1/movies/{movie_id}/rating"
    statuses = []
    for method, path, body in (
        *(("GET", "/health", b""), ("GET", "/docs", b""), ("GET", "/nothing", b"")),
        *(("GET", "/v1/movies", b""), ("PUT", rating, b'{"score": 4}'), ("PUT", rating, b"{}")),
        *(("POST", "/v1/ratings", b"{"), ("POST", "/v1/ratings", b" " * 300_000)),
        ("POST", "/v1/movies", b"{}"),
    ):
        headers = ann.headers | {"Content-Type": "application/json"}
        answer = api.command.request(method, path, content=body, headers=headers)
        statuses.append(answer.status_code)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert statuses == [200, 200, 404, 405, 201, 422, 400, 413, 422]


def test_metrics_want_their_token_where_one_is_set(limited: Api) -> None:
    def get(**headers: str) -> httpx.Response:
        return limited.command.get("/metrics", headers=headers)

    assert get().status_code == 401
    assert get(Authorization="Bearer let me in").status_code == 401
    assert "starfold_" in get(Authorization="Bearer let me see").text


def test_other_origins_are_let_in_only_where_they_are_set(limited: Api, api: Api) -> None:
    preflight = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization, idempotency-key",
    }
    allowed = limited.command.options("/v1/ratings", headers=preflight)
    assert allowed.status_code == 200
    assert allowed.headers["Access-Control-Allow-Origin"] == ORIGIN
    exposed = limited.command.get("/health", headers={"Origin": ORIGIN})
    assert "Starfold-Position" in exposed.headers["Access-Control-Expose-Headers"]
    stranger = {**preflight, "Origin": "https://evil.example.org"}
    for answer in (
        limited.command.options("/v1/ratings", headers=stranger),
        api.command.options("/v1/ratings", headers=preflight),
        api.command.get("/health", headers={"Origin": ORIGIN}),
    ):
        assert "Access-Control-Allow-Origin" not in answer.headers
