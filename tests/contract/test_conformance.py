"""One answer to a bad request, whatever the route: every operation of both APIs against one table.

The operations are those that the applications themselves answer by, so that a new one is tested.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, get_args

import httpx
import pytest

import command_api.app
import query_api.app
from command_api.deciding.principal import Scope
from command_api.identity.access import SESSIONS, Access
from command_api.settings import CommandSettings
from query_api.settings import QuerySettings
from shared.web.operation import Operation
from tests.contract.test_docs import SECRETS
from tests.support.api import Api
from tests.support.system import System, eventually

COMMANDS = command_api.app.create_app(CommandSettings(**SECRETS)).operations
READS = query_api.app.create_app(QuerySettings(**SECRETS)).operations
WITH_BODY = [one for one in COMMANDS if one.body is not None]
CHECKED = [one for one in COMMANDS if one.access is not None]
NOBODY = "00000000-0000-0000-0000-000000000007"
NESTED = b"[" * 2_000 + b"]" * 2_000
JSON = "application/json"

Headers = list[tuple[str, str]]


class Row(NamedTuple):
    """A bad request, and the status and the problem's type that it gets everywhere."""

    name: str
    body: bytes
    status: int
    kind: str
    content_type: str | None = JSON
    more: tuple[tuple[str, str], ...] = ()


ROWS = [
    Row("a lone surrogate", b'{"\\ud800": 1}', 400, "malformed-json"),
    Row("a byte-order mark", b"\xef\xbb\xbf{}", 400, "malformed-json"),
    Row("UTF-16", "{}".encode("utf-16"), 400, "malformed-json"),
    Row("no UTF-8", b'{"\xff": 1}', 400, "malformed-json"),
    Row("no JSON", b"{", 400, "malformed-json"),
    Row("2,000 nested lists", NESTED, 422, "invalid-input"),
    Row("a list", b"[]", 422, "invalid-input"),
    Row("null", b"null", 422, "invalid-input"),
    Row("no body", b"", 422, "invalid-input"),
    Row("text", b"{}", 415, "unsupported-media-type", content_type="text/plain"),
    Row("no content type", b"{}", 415, "unsupported-media-type", content_type=None),
    Row("two content types", b"{}", 400, "bad-request", more=(("Content-Type", JSON),)),
    Row("two keys", b"{}", 400, "bad-request", more=(("Idempotency-Key", "a"),) * 2),
]
# What the store is asked for, by the operation's name; the others decide without a body.
BODIES: dict[str, dict[str, Any]] = {
    "sign_up": {"email": "a@x.org", "password": "correct horse battery", "display_name": "A"},
    "create_external_users": {"users": [{"external_id": "x", "display_name": "A"}]},
    "change_profile": {"display_name": "B"},
    "change_password": {"old": "correct horse battery", "new": "another long one"},
    "change_role": {"role": "member"},
    "log_in": {"email": "a@x.org", "password": "correct horse battery"},
    "create_movie": {"title": "Mirror", "year": 1975},
    "create_movies": {"movies": [{"title": "Mirror", "year": 1975}]},
    "change_movie": {"title": "Mirror"},
    "merge_movie": {"into": NOBODY},
    "rate_movie": {"score": 4},
    "submit_rating": {"movie_id": NOBODY, "score": 4, "user_id": NOBODY},
    "submit_ratings": {"ratings": [{"movie_id": NOBODY, "score": 4, "user_id": NOBODY}]},
}


@pytest.fixture(scope="module")
def credentials(module_system: System, api: Api) -> dict[str, Headers]:
    key = module_system.service_key(list(get_args(Scope)))
    return {
        "service": [("Authorization", f"Bearer {key}")],
        "member": list(api.sign_up().headers.items()),
        "operator": list(api.sign_up(role="operator").headers.items()),
        "nobody": [],
    }


def caller_of(access: Access) -> str:
    """The kind of caller that an operation admits."""
    if access.credential_ignored:
        return "nobody"
    # An API key that logs out has no session.
    return "service" if access.scopes and access != SESSIONS else "member"


def path_of(one: Operation) -> str:
    return one.path.format(movie_id=NOBODY, user_id=NOBODY)


def send(client: httpx.Client, one: Operation, body: bytes, headers: Headers) -> httpx.Response:
    return client.request(one.method, path_of(one), content=body, headers=headers)


def kind_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    kind: str = answer.json()["type"].rpartition(":")[2]
    return kind


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_bad_body_has_one_answer(api: Api, credentials: dict[str, Headers], row: Row) -> None:
    answers = {}
    for one in WITH_BODY:
        headers = [*credentials[caller_of(one.access)], *row.more]
        if row.content_type is not None:
            headers.append(("Content-Type", row.content_type))
        answer = send(api.command, one, row.body, headers)
        answers[one.name] = (answer.status_code, kind_of(answer))
        assert "Body" not in answer.text, "the name of a class is no client's business"
    assert answers == dict.fromkeys(answers, (row.status, row.kind))


def test_without_a_credential_the_body_does_not_matter_and_the_address_is_charged(api: Api) -> None:
    for one in CHECKED:
        answer = send(api.command, one, b"{", [("Content-Type", JSON)])
        if one.access.anonymous:
            assert answer.status_code == 400
        else:
            assert (answer.status_code, kind_of(answer)) == (401, "not-authenticated"), one.name
        assert answer.headers["RateLimit"].startswith('"anonymous";'), one.name


@pytest.mark.parametrize("side", ["command", "query"])
def test_two_credentials_are_none(api: Api, credentials: dict[str, Headers], side: str) -> None:
    client, operations = (api.command, COMMANDS) if side == "command" else (api.query, READS)
    for one in operations:
        headers = [*credentials["member"] * 2, ("Content-Type", JSON)]
        answer = send(client, one, b"", headers)
        assert (answer.status_code, kind_of(answer)) == (400, "bad-request"), one.name
        assert "authorization" in answer.json()["detail"]


def test_every_read_refuses_what_it_does_not_know(
    api: Api, credentials: dict[str, Headers]
) -> None:
    for one in READS:
        if not one.path.startswith("/v1/"):
            continue
        url = f"{path_of(one)}?unknown=1"
        answer = api.query.get(url, headers=httpx.Headers(credentials["operator"]))
        assert (answer.status_code, kind_of(answer)) == (422, "invalid-input"), one.name
        assert answer.json()["errors"][0]["pointer"] == "/query/unknown"
        for headers in ([("Authorization", "Bearer x")], [("Authorization", "Basic x")]):
            answer = api.query.get(url, headers=httpx.Headers(headers))
            assert (answer.status_code, kind_of(answer)) == (401, "not-authenticated"), one.name


@pytest.mark.parametrize("side", ["command", "query"])
def test_a_method_that_a_path_lacks_is_405_and_says_which_it_has(api: Api, side: str) -> None:
    client, operations = (api.command, COMMANDS) if side == "command" else (api.query, READS)
    for one in operations:
        of_path = {other.method for other in operations if other.path == one.path}
        answer = client.request("TRACE", path_of(one))
        assert (answer.status_code, kind_of(answer)) == (405, "method-not-allowed")
        allowed = of_path | {"HEAD"} if "GET" in of_path else of_path
        assert answer.headers["Allow"] == ", ".join(sorted(allowed)), one.path


def test_without_the_store_every_command_is_a_503_and_a_line_in_the_log(
    system: System, own: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    key = system.service_key(list(get_args(Scope)))
    callers = {
        "service": [("Authorization", f"Bearer {key}")],
        "member": list(own.sign_up().headers.items()),
        "nobody": [],
    }
    own.post("/v1/movies", {"title": "Solaris", "year": 1972}, dict(callers["service"]))
    session = own.post("/v1/sessions", {"api_key": key}).json()
    bodies = BODIES | {"refresh": {"refresh_token": session["refresh_token"]}}
    system.servers.postgres.stop()
    try:
        for one in CHECKED:
            capfd.readouterr()
            body = json.dumps(bodies[one.name]).encode() if one.body is not None else b""
            headers = [
                *callers[caller_of(one.access)],
                ("If-Match", '"1"'),
                ("Content-Type", JSON),
            ]
            answer = send(own.command, one, body, headers)
            assert answer.status_code == 503, (one.name, answer.text)
            assert kind_of(answer) in ("unavailable", "outcome-unknown"), one.name
            assert answer.headers["Retry-After"]
            assert "store_unavailable" in capfd.readouterr().out, one.name
    finally:
        system.servers.postgres.start()
    eventually(lambda: own.command.get("/ready").status_code == 200)
