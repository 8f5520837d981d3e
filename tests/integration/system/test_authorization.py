"""Every route of both APIs with every kind of caller: who gets 401, who 403, and who is let in.

The table below is the contract, written apart from the code that keeps it. A route without an entry
fails the test.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest

from tests.conftest import wait_ready
from tests.contract.test_docs import COMMAND_ROUTES, QUERY_ROUTES
from tests.support.api import AT_LEAST, PASSWORD, Api, User
from tests.support.callers import SCOPES, Callers
from tests.support.servers import Servers
from tests.support.system import System

NOBODY = {
    "anonymous",
    "an invalid token",
    "an expired token",
    "an ended session",
    "an erased user",
    "a revoked key",
    "an ended session of a key",
}
MEMBERS = {"a member", "a curator", "an operator"}
SERVICES = {f"a key for {scope}" for scope in SCOPES}
EVERYBODY = MEMBERS | SERVICES
CURATORS = {"a curator", "an operator", "a key for movies"}
RATERS = MEMBERS | {"a key for ratings"}
OPERATORS = {"an operator", "a key for operate"}

EXTERNAL = {"external_id": "x", "display_name": "Ann"}
MOVIE = {"title": "Mirror", "year": 1975}
RATING = {"score": 4}
CHOICES = {"choices": [{"film": 0, "movie_id": str(UUID(int=7))}]}


class Route(NamedTuple):
    """`body` would be accepted of a caller who is let in; None for a route that takes none."""

    allowed: set[str]
    body: object = None
    # The credential is not looked at, whatever it is.
    public: bool = False
    # The body is a file, of any content.
    takes_file: bool = False


PUBLIC = Route(set(), public=True)
COMMANDS = {
    "POST /v1/users": Route(EVERYBODY | {"anonymous"}, EXTERNAL),
    "POST /v1/users/batch": Route({"a key for users"}, {"users": [EXTERNAL]}),
    "PATCH /v1/users/me": Route(MEMBERS, {"display_name": "Anna"}),
    "PUT /v1/users/me/password": Route(MEMBERS, {"old": PASSWORD, "new": "another password"}),
    "POST /v1/password-resets": PUBLIC,
    "POST /v1/password-resets/use": PUBLIC,
    "POST /v1/users/me/verification": Route(MEMBERS),
    "POST /v1/verifications": PUBLIC,
    "DELETE /v1/users/me": Route(MEMBERS),
    "GET /v1/users/me/export": Route(MEMBERS),
    "DELETE /v1/users/{user_id}": Route({"an operator", "a key for erasure"}),
    "PUT /v1/users/{user_id}/role": Route({"an operator", "a key for roles"}, {"role": "member"}),
    "DELETE /v1/users/{user_id}/sessions": Route(OPERATORS),
    "POST /v1/keys": Route(OPERATORS, {"name": "x", "scopes": ["operate"]}),
    "DELETE /v1/keys/{key_id}": Route(OPERATORS),
    "POST /v1/sessions": PUBLIC,
    "POST /v1/sessions/refresh": PUBLIC,
    "GET /v1/users/me/sessions": Route(MEMBERS),
    "DELETE /v1/users/me/sessions/{session_id}": Route(MEMBERS),
    "POST /v1/movies": Route(CURATORS, MOVIE),
    "POST /v1/movies/batch": Route(CURATORS, {"movies": [MOVIE]}),
    "PATCH /v1/movies/{movie_id}": Route(CURATORS, {"year": 1976}),
    "POST /v1/movies/{movie_id}/merge": Route(CURATORS, {"into": str(UUID(int=8))}),
    "DELETE /v1/movies/{movie_id}": Route(CURATORS),
    "PUT /v1/movies/{movie_id}/rating": Route(MEMBERS, RATING),
    "DELETE /v1/movies/{movie_id}/rating": Route(MEMBERS),
    "POST /v1/ratings": Route(RATERS, {"movie_id": str(UUID(int=7)), **RATING}),
    "POST /v1/ratings/batch": Route(RATERS, {"ratings": [RATING]}),
    "POST /v1/users/me/imports": Route(MEMBERS, {}, takes_file=True),
    "GET /v1/users/me/imports": Route(MEMBERS),
    "GET /v1/users/me/imports/{import_id}": Route(MEMBERS),
    "GET /v1/users/me/imports/{import_id}/report": Route(MEMBERS),
    "POST /v1/users/me/imports/{import_id}/choices": Route(MEMBERS, CHOICES),
    "DELETE /v1/users/me/imports/{import_id}": Route(MEMBERS),
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /metrics": PUBLIC,
    "GET /.well-known/jwks.json": PUBLIC,
}
QUERY_EVERYBODY = {*MEMBERS, "a former operator", *(f"a token for {scope}" for scope in SCOPES)}
# The query API takes access tokens alone.
QUERY_NOBODY = NOBODY | {"a revoked key's token", "a key for users"}
OPEN = Route({"anonymous", *QUERY_EVERYBODY})
QUERIES = {
    "GET /v1/movies": OPEN,
    "GET /v1/movies/by/{catalogue}/{id}": OPEN,
    "GET /v1/genres": OPEN,
    "GET /v1/movies/{movie_id}": OPEN,
    "GET /v1/movies/{movie_id}/stats": OPEN,
    "GET /v1/movies/{movie_id}/history": OPEN,
    "GET /v1/movies/{movie_id}/ratings": OPEN,
    "GET /v1/users/me": Route({*MEMBERS, "a former operator"}),
    "GET /v1/users/{user_id}": OPEN,
    "GET /v1/users/{user_id}/ratings": OPEN,
    "GET /v1/users/{user_id}/ratings/{movie_id}": OPEN,
    "GET /v1/stream": OPEN,
    "GET /v1/projections": Route({"an operator"}),
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "GET /metrics": PUBLIC,
}
# A log-out may be repeated: the session that it ends has ended.
LOG_OUT = "DELETE /v1/sessions/current"


@pytest.fixture(scope="module")
def system(servers: Servers) -> Iterator[System]:
    made = System(servers)
    yield made
    made.close()


@pytest.fixture(scope="module")
def api(system: System) -> Iterator[Api]:
    unlimited = dict.fromkeys(("member", "service", "anonymous"), 0)
    command = system.start_command_api(
        **{f"rate_limit_{caller}": limit for caller, limit in unlimited.items()}
    )
    query = system.start_query_api()
    system.start_projector()
    with Api(command.url, query.url, system.service_key()) as client:
        wait_ready(client)
        yield client


@pytest.fixture(scope="module")
def callers(system: System, api: Api) -> Callers:
    return Callers(system, api)


@pytest.fixture(scope="module")
def bystander(api: Api) -> User:
    """The user whom paths name."""
    return api.sign_up()


def expected(route: Route, kind: str, nobody: set[str] = NOBODY) -> int | None:
    """The status of a refusal; None for a caller who is let in."""
    if kind in route.allowed:
        return None
    return 401 if kind in nobody else 403


def contents(route: Route) -> list[Any]:
    """Bodies as `httpx` takes them: the right one, what is no JSON, and what is not allowed."""
    if route.body is None:
        return [{}]
    json = {"Content-Type": "application/json"}
    if route.takes_file:
        return [{"content": b"a file"}, {"content": b""}]
    return [
        {"json": route.body},
        {"content": b"{", "headers": json},
        {"json": {"nonsense": 1}},
        {"content": b"", "headers": json},
    ]


def send(api: Api, name: str, headers: dict[str, str], content: Any, user: User) -> httpx.Response:
    method, path = name.split(" ")
    path = path.replace("{user_id}", user.user_id)
    path = path.replace("{movie_id}", str(UUID(int=7))).replace("{session_id}", str(UUID(int=7)))
    path = path.replace("{import_id}", str(UUID(int=9))).replace("{key_id}", str(UUID(int=9)))
    headers = {**content.get("headers", {}), **headers}
    return api.command.request(method, path, **{**content, "headers": headers})


def test_every_route_of_the_command_api_is_in_the_table() -> None:
    assert set(COMMAND_ROUTES) == {*COMMANDS, LOG_OUT}


@pytest.mark.parametrize("name", [name for name in COMMANDS if not COMMANDS[name].public])
def test_a_caller_is_refused_before_anything_else_of_a_command_is_looked_at(
    name: str, api: Api, callers: Callers, bystander: User
) -> None:
    """Whatever the body is: right, wrong, or no JSON."""
    route = COMMANDS[name]
    found = {
        (kind, number): send(api, name, callers.headers(kind), content, bystander).status_code
        for kind in callers.kinds
        for number, content in enumerate(contents(route))
        # What a caller who is let in does is tried with bodies that change nothing.
        if number > 0 or expected(route, kind) is not None
    }
    wrong = {
        cell: status
        for cell, status in found.items()
        if status != (expected(route, cell[0]) or (status if status in (400, 422) else 0))
    }
    assert wrong == {}


@pytest.mark.parametrize("name", [name for name in COMMANDS if COMMANDS[name].body is None])
def test_a_command_without_a_body_is_done_for_those_who_may(
    name: str, api: Api, callers: Callers
) -> None:
    for kind in COMMANDS[name].allowed:
        status = send(api, name, callers.new_headers(kind), {}, api.sign_up()).status_code
        assert status in (200, 204, 404), kind


@pytest.mark.parametrize("path", ["/v1/movies/nonsense/rating", "/v1/users/nonsense/role"])
def test_a_path_is_looked_at_after_the_credential(path: str, api: Api, callers: Callers) -> None:
    body = {"role": "member"} if path.endswith("role") else RATING
    for kind in NOBODY:
        answer = api.command.put(path, json=body, headers=callers.headers(kind))
        assert answer.status_code == 401, kind


def test_a_session_logs_out_once_and_says_so_again(api: Api, callers: Callers) -> None:
    statuses = {
        kind: send(api, LOG_OUT, callers.new_headers(kind), {}, api.sign_up()).status_code
        for kind in callers.kinds
    }
    assert statuses == {
        **dict.fromkeys(NOBODY, 401),
        **dict.fromkeys(MEMBERS, 204),
        **dict.fromkeys(SERVICES, 403),
        **dict.fromkeys(("an ended session", "an ended session of a key", "an erased user"), 204),
    }


def test_a_header_of_a_command_is_looked_at_after_the_credential(
    api: Api, callers: Callers
) -> None:
    path = f"/v1/movies/{UUID(int=7)}"
    for kind, status in (("an ended session", 401), ("an erased user", 401), ("a member", 403)):
        for headers in ({}, {"If-Match": "nonsense"}, {"Idempotency-Key": "two words"}):
            credential = callers.headers(kind)
            answer = api.command.patch(path, json={"year": 1976}, headers=credential | headers)
            assert answer.status_code == status, (kind, headers)


def test_a_dead_token_tests_no_password(api: Api, callers: Callers) -> None:
    """Neither is the attempt counted: the owner may still change it."""
    for kind in ("an ended session", "an erased user"):
        headers = callers.headers(kind)
        for old in (PASSWORD, "not the password"):
            body = {"old": old, "new": "another battery staple"}
            answer = api.command.put("/v1/users/me/password", json=body, headers=headers)
            assert answer.status_code == 401


def test_a_bulk_request_of_a_caller_who_was_shut_out_has_no_rows(api: Api) -> None:
    ann = api.sign_up(role="curator")
    api.command.put(f"/v1/users/{ann.user_id}/role", json={"role": "member"}, headers=api.service)
    rows = {"movies": [{**MOVIE, "external_id": str(uuid4())}]}
    assert api.post("/v1/movies/batch", rows, ann.headers).status_code == 403
    api.expect(204, api.command.delete("/v1/sessions/current", headers=ann.headers))
    for path, body in (("movies", rows), ("ratings", {"ratings": [RATING]})):
        assert api.post(f"/v1/{path}/batch", body, ann.headers).status_code == 401


def test_every_route_of_the_query_api_is_in_the_table() -> None:
    assert set(QUERY_ROUTES) == set(QUERIES)


@pytest.mark.parametrize("name", [name for name in QUERIES if not QUERIES[name].public])
def test_a_caller_is_refused_before_anything_else_of_a_read_is_looked_at(
    name: str, api: Api, callers: Callers, bystander: User
) -> None:
    """Whatever the path and the parameters are."""
    route, path = QUERIES[name], name.removeprefix("GET ")
    kinds = QUERY_NOBODY | QUERY_EVERYBODY
    credentials = {kind: callers.headers(kind) for kind in kinds}
    movie_id = api.movie()
    path = path.replace("{catalogue}", "imdb").replace("{id}", "tt0000007")
    real = path.replace("{user_id}", bystander.user_id).replace("{movie_id}", movie_id)
    unreal = path.replace("{user_id}", "nonsense").replace("{movie_id}", "nonsense")
    asked = [(real, {}), (f"{unreal}?nonsense=1&limit=0", {}), (real, {AT_LEAST: "nonsense"})]
    found = {
        (kind, number): status(api, url, {AT_LEAST: str(api.position), **headers, **more})
        for kind, headers in credentials.items()
        for number, (url, more) in enumerate(asked)
    }
    wrong = {}
    for (kind, number), seen in found.items():
        refusal = expected(route, kind, QUERY_NOBODY)
        right = {refusal} if refusal else {200, 404} if number == 0 else {200, 404, 422}
        if seen not in right:
            wrong[kind, number] = seen
    assert wrong == {}


def status(api: Api, url: str, headers: dict[str, str]) -> int:
    """Return the status of a read, or of a stream as it is opened."""
    with api.query.stream("GET", url, headers=headers) as answer:
        return answer.status_code
