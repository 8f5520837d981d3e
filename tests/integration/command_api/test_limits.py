"""Rate limits, the metrics token and cross-origin callers, over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from command_api.bodies.models import RATINGS_MAX
from command_api.deciding.principal import Anyone
from command_api.identity.authentication import Authentication
from command_api.identity.limits import RateLimits
from shared.errors import NotAuthenticated, TooManyRequests
from shared.web.tokens import TokenVerifier
from tests.support.api import Api
from tests.support.servers import Servers
from tests.support.system import System

ORIGIN = "https://app.example.org"


@pytest.fixture(scope="module")
def limited(servers: Servers) -> Iterator[Api]:
    system = System(servers)
    command = system.start_command_api(
        rate_limit_member=2,
        rate_limit_service=50,
        metrics_token="let-me-see",
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
        '"member";r=1;t=30',
        '"member";r=0;t=30',
        '"member";r=0;t=30',
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


@pytest.fixture
def rows_limited(system: System) -> Iterator[Api]:
    command = system.start_command_api(rate_limit_service=100)
    with Api(command.url, command.url, system.service_key()) as client:
        yield client


def users(name: str, count: int) -> dict[str, list[dict[str, str]]]:
    return {"users": [{"external_id": f"{name} {n}", "display_name": "Ann"} for n in range(count)]}


def test_a_batch_costs_its_rows(rows_limited: Api) -> None:
    """One that is over the limit is refused before any of its rows is committed."""
    api = rows_limited
    first = api.post("/v1/users/batch", users("first", 60), api.service)
    assert first.status_code == 200
    assert first.headers["RateLimit"].startswith('"service";r=40;')
    head = api.command.get("/ready").json()["position"]
    second = api.post("/v1/users/batch", users("second", 50), api.service)
    assert (second.status_code, second.json()["type"].rpartition(":")[2]) == (
        429,
        "too-many-requests",
    )
    assert 1 <= int(second.headers["Retry-After"]) <= 6
    assert api.command.get("/ready").json()["position"] == head
    assert api.post("/v1/users/batch", users("third", 20), api.service).status_code == 200


def test_a_batch_may_cost_no_more_than_there_is_in_a_minute(rows_limited: Api) -> None:
    api = rows_limited
    refused = api.post("/v1/users/batch", users("many", 101), api.service)
    assert refused.status_code == 429
    assert "send less" in refused.json()["detail"]
    assert api.post("/v1/users/batch", users("fewer", 90), api.service).status_code == 200


def test_a_long_body_costs_more_than_a_short_one(rows_limited: Api) -> None:
    api = rows_limited
    movie = {"title": "Mirror", "year": 1975}
    long = api.post("/v1/movies", {**movie, "description": "x" * 5_000}, api.service)
    assert long.headers["RateLimit"].startswith('"service";r=90;')
    short = api.post("/v1/movies", movie, api.service)
    assert short.headers["RateLimit"].startswith('"service";r=89;')


def test_a_long_body_costs_as_much_where_it_does_not_say_its_length(rows_limited: Api) -> None:
    body = json.dumps({"title": "Mirror", "year": 1975, "description": "x" * 5_000}).encode()
    headers = {"Content-Type": "application/json"} | rows_limited.service
    answer = rows_limited.command.post("/v1/movies", content=iter([body]), headers=headers)
    assert answer.status_code == 201
    assert answer.headers["RateLimit"].startswith('"service";r=90;')


def test_by_default_the_largest_batch_of_a_member_is_taken(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    rows = [{"movie_id": movie_id, "score": 4}] * RATINGS_MAX
    answer = api.post("/v1/ratings/batch", {"ratings": rows}, ann.headers)
    assert {row["status"] for row in api.expect(200, answer)["results"]} == {"created", "unchanged"}


class CountedLookUps(Authentication):
    """Counts the keys that it looks up in the database."""

    def __init__(self, system: System, *, anonymous: int) -> None:
        settings = system.command_settings()
        verifier = TokenVerifier(
            settings.token_public_key.get_secret_value(), issuer="s", audience="s", clock=time.time
        )
        self.limits = RateLimits({"member": 0, "service": 0, "anonymous": anonymous})
        super().__init__(verifier, system.command_store(), self.limits)
        self.looked_up: list[UUID] = []

    async def _look_up(self, key_id: UUID) -> Any:
        self.looked_up.append(key_id)
        return await super()._look_up(key_id)


def test_a_flood_with_an_unknown_key_is_one_look_up(system: System) -> None:
    """Also of requests that come at once, and where the first of them is cancelled."""
    authentication = CountedLookUps(system, anonymous=0)
    address = "192.0.2.1"

    async def flood() -> None:
        key = f"Bearer sfk_{uuid4().hex}_wrong"
        tasks = [asyncio.create_task(authentication.principal(key, address)) for _ in range(50)]
        await asyncio.sleep(0)
        tasks[0].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(one) for one in answers[1:]} == {NotAuthenticated}
        for _ in range(50):
            with pytest.raises(NotAuthenticated):
                await authentication.principal(key, address)

    asyncio.run(flood())
    assert len(authentication.looked_up) == 1


def test_an_address_over_its_limit_has_no_new_key_looked_up(system: System) -> None:
    """A key that is known works from there all the same, and any key from elsewhere."""
    authentication = CountedLookUps(system, anonymous=3)
    mine, other = (f"Bearer {system.service_key()}" for _ in range(2))
    address = "192.0.2.1"

    async def run() -> None:
        await authentication.principal(mine, address)
        for _ in range(3):
            with pytest.raises(NotAuthenticated):
                await authentication.principal(f"Bearer sfk_{uuid4().hex}_x", address)
            authentication.limits.charge(address, Anyone(), 0)
        assert len(authentication.looked_up) == 4
        for key in (f"Bearer sfk_{uuid4().hex}_x", other):
            with pytest.raises(TooManyRequests):
                await authentication.principal(key, address)
        assert len(authentication.looked_up) == 4
        await authentication.principal(mine, address)
        await authentication.principal(other, "192.0.2.2")

    asyncio.run(run())


def test_a_flood_with_wrong_keys_leaves_the_right_one_alone(system: System) -> None:
    command = system.start_command_api(rate_limit_anonymous=20)
    with Api(command.url, command.url, system.service_key()) as client:
        client.movie()
        answers = [
            client.post("/v1/movies", {}, {"Authorization": f"Bearer sfk_{uuid4().hex}_x"})
            for _ in range(30)
        ]
        assert {answer.status_code for answer in answers} == {401, 429}
        assert answers[-1].headers["Retry-After"]
        client.movie()


def test_a_forged_credential_counts_for_its_address(limited: Api) -> None:
    headers = {"Authorization": "Bearer forged"}
    answer = limited.post("/v1/ratings", {}, headers)
    assert answer.status_code == 401
    assert answer.headers["RateLimit-Policy"] == '"anonymous";q=3000;w=60'


def test_health_is_not_limited(limited: Api) -> None:
    for path in ("/health", "/ready"):
        assert "RateLimit" not in limited.command.get(path).headers


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    rating = f"/v1/movies/{movie_id}/rating"
    statuses = []
    for method, path, body in (
        ("GET", "/health", b""),
        ("GET", "/docs", b""),
        ("GET", "/nothing", b""),
        ("GET", "/v1/movies", b""),
        ("PUT", rating, b'{"score": 4}'),
        ("PUT", rating, b"{}"),
        ("POST", "/v1/ratings", b"{"),
        ("POST", "/v1/ratings", b" " * 300_000),
        ("POST", "/v1/movies", b"{}"),
    ):
        headers = ann.headers | {"Content-Type": "application/json"}
        answer = api.command.request(method, path, content=body, headers=headers)
        statuses.append(answer.status_code)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert statuses == [200, 200, 404, 405, 201, 422, 400, 413, 403]


def test_metrics_want_their_token_where_one_is_set(limited: Api) -> None:
    def get(**headers: str) -> httpx.Response:
        return limited.command.get("/metrics", headers=headers)

    assert get().status_code == 401
    assert get(Authorization="Bearer let-me-in").status_code == 401
    assert "starfold_" in get(Authorization="Bearer let-me-see").text


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
