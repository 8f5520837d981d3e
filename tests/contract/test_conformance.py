"""One answer to a bad request, whatever the route: every operation of the APIs against one table.

The operations are those that the applications themselves answer by, so that a new one is tested.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple, get_args
from urllib.parse import quote

import httpx
import pytest

import command_api.app
import query_api.app
from command_api.deciding.principal import Scope
from command_api.identity.access import SESSIONS, Access
from command_api.settings import CommandSettings
from query_api.settings import QuerySettings
from shared.web.operation import Operation
from tests.contract.test_docs import CONSOLE, SECRETS
from tests.support.api import Api
from tests.support.system import System, eventually

APPS = {
    "command": command_api.app.create_app(CommandSettings(**SECRETS)),
    "query": query_api.app.create_app(QuerySettings(**SECRETS)),
    "console": CONSOLE,
}
# With the API that each belongs to.
OPERATIONS = [(side, one) for side, app in APPS.items() for one in app.operations]
# A file may hold anything.
WITH_BODY = [(side, one) for side, one in OPERATIONS if one.body is not None and one.body.models]
CHECKED = [(side, one) for side, one in OPERATIONS if side != "query" and one.access is not None]
NOBODY = "00000000-0000-0000-0000-000000000007"
UUIDS = (
    "movie_id",
    "user_id",
    "session_id",
    "import_id",
    "stream_id",
    "verification_id",
    "act_id",
    "key_id",
    "mail_id",
)
PATH_VALUES = {
    **dict.fromkeys(UUIDS, NOBODY),
    "catalogue": "imdb",
    "id": "tt0000007",
    "projection": "movies",
    "number": "7",
    "replay_id": "movies-7",
    "parked_id": f"movies-{NOBODY}",
    "position": "7",
}
# The same id in forms that `format: uuid` does not allow.
NO_IDS = (
    NOBODY.replace("-", ""),
    f"urn:uuid:{NOBODY}",
    f"urn:{NOBODY.replace('-', '')}",
    f"{{{NOBODY}}}",
    f"{NOBODY}-",
    NOBODY.replace("-", "_"),
)
TOKEN = f"sfm_{0:032}_{0:064}"
NESTED = b"[" * 2_000 + b"]" * 2_000
JSON = "application/json"

# The conditions of lists that are ids; the first one takes several.
IDS_IN_QUERIES = ("movies", "stream", "user", "movie", "actor", "correlation")

Headers = list[tuple[str, str]]
Clients = dict[str, httpx.Client]


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
    "request_password_reset": {"email": "a@x.org"},
    "reset_password": {"token": TOKEN, "password": "another long one"},
    "verify_email": {"token": TOKEN},
    "change_role": {"role": "member"},
    "log_in": {"email": "a@x.org", "password": "correct horse battery"},
    "create_key": {"name": "x", "scopes": ["movies"]},
    "create_movie": {"title": "Mirror", "year": 1975},
    "create_movies": {"movies": [{"title": "Mirror", "year": 1975}]},
    "change_movie": {"title": "Mirror"},
    "merge_movie": {"into": NOBODY},
    "rate_movie": {"score": 4},
    "submit_rating": {"movie_id": NOBODY, "score": 4, "user_id": NOBODY},
    "submit_ratings": {"ratings": [{"movie_id": NOBODY, "score": 4, "user_id": NOBODY}]},
    "start_import": {},
    "choose_movies": {"choices": [{"film": 0, "movie_id": NOBODY}]},
    "start_replay": {},
    "switch_projection": {"generation": 7},
    "start_verification": {"movie": NOBODY, "user": NOBODY},
    "discard_parked": {"reason": "a test"},
    "reveal_event": {"reason": "a test"},
    "reveal_mail": {"reason": "a test"},
    "change_user_role": {"role": "member"},
}


@pytest.fixture(scope="module")
def clients(module_system: System, api: Api) -> Iterator[Clients]:
    with httpx.Client(base_url=module_system.start_console().url, timeout=30) as console:
        yield {"command": api.command, "query": api.query, "console": console}


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
    return one.path.format(**PATH_VALUES)


def send(client: httpx.Client, one: Operation, body: bytes, headers: Headers) -> httpx.Response:
    return client.request(one.method, path_of(one), content=body, headers=headers)


def kind_of(answer: httpx.Response) -> str:
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    kind: str = answer.json()["type"].rpartition(":")[2]
    return kind


@pytest.mark.parametrize("row", ROWS, ids=[row.name for row in ROWS])
def test_a_bad_body_has_one_answer(
    clients: Clients, credentials: dict[str, Headers], row: Row
) -> None:
    answers = {}
    for side, one in WITH_BODY:
        headers = [*credentials[caller_of(one.access)], *row.more]
        if row.content_type is not None:
            headers.append(("Content-Type", row.content_type))
        answer = send(clients[side], one, row.body, headers)
        answers[side, one.name] = (answer.status_code, kind_of(answer))
        assert "Body" not in answer.text, "the name of a class is no client's business"
    assert answers == dict.fromkeys(answers, (row.status, row.kind))


def test_without_a_credential_the_body_does_not_matter_and_the_address_is_charged(
    clients: Clients,
) -> None:
    for side, one in CHECKED:
        answer = send(clients[side], one, b"{", [("Content-Type", JSON)])
        if one.access.anonymous:
            assert answer.status_code == 400
        else:
            assert (answer.status_code, kind_of(answer)) == (401, "not-authenticated"), one.name
        assert answer.headers["RateLimit"].startswith('"anonymous";'), one.name


def test_two_credentials_are_none(clients: Clients, credentials: dict[str, Headers]) -> None:
    for side, one in OPERATIONS:
        headers = [*credentials["member"] * 2, ("Content-Type", JSON)]
        answer = send(clients[side], one, b"", headers)
        assert (answer.status_code, kind_of(answer)) == (400, "bad-request"), one.name
        assert "authorization" in answer.json()["detail"]


def test_every_read_refuses_what_it_does_not_know(
    clients: Clients, credentials: dict[str, Headers]
) -> None:
    for side, one in OPERATIONS:
        if side == "command" or one.method != "GET" or not one.path.startswith("/v1/"):
            continue
        url = f"{path_of(one)}?unknown=1"
        answer = clients[side].get(url, headers=httpx.Headers(credentials["operator"]))
        assert (answer.status_code, kind_of(answer)) == (422, "invalid-input"), one.name
        assert answer.json()["errors"][0]["pointer"] == "/query/unknown"
        for headers in ([("Authorization", "Bearer x")], [("Authorization", "Basic x")]):
            answer = clients[side].get(url, headers=httpx.Headers(headers))
            assert (answer.status_code, kind_of(answer)) == (401, "not-authenticated"), one.name


@pytest.mark.parametrize("no_id", NO_IDS)
def test_an_id_in_a_path_has_one_form(
    clients: Clients, credentials: dict[str, Headers], no_id: str
) -> None:
    for side, one in OPERATIONS:
        for name in set(re.findall(r"{(\w+)}", one.path)).intersection(UUIDS):
            path = one.path.format(**(PATH_VALUES | {name: quote(no_id)}))
            caller = "operator" if side == "query" else caller_of(one.access)
            body = json.dumps(BODIES[one.name]).encode() if one.body is not None else b""
            headers = [*credentials[caller], ("Content-Type", JSON)]
            answer = clients[side].request(one.method, path, content=body, headers=headers)
            assert (answer.status_code, kind_of(answer)) == (422, "invalid-input"), one.name
            assert answer.json()["errors"][0]["pointer"] == f"/path/{name}"


@pytest.mark.parametrize("no_id", NO_IDS)
def test_an_id_in_a_body_has_one_form(
    clients: Clients, credentials: dict[str, Headers], no_id: str
) -> None:
    """Each field that the document gives the format, of a whole body or of a row."""
    for side, one in WITH_BODY:
        document = APPS[side].openapi()
        asked = document["paths"][one.path][one.method.lower()]["requestBody"]
        for name in set(ids_in(document, asked["content"][JSON]["schema"])):
            body = BODIES[one.name]
            changed = (
                body | {name: no_id}
                if name in body
                else {field: [row | {name: no_id} for row in rows] for field, rows in body.items()}
            )
            headers = [*credentials[caller_of(one.access)], ("Content-Type", JSON)]
            answer = send(clients[side], one, json.dumps(changed).encode(), headers)
            is_bulk = one.path.endswith("/batch")
            if is_bulk:
                errors = answer.json()["results"][0]["problem"]["errors"]
            else:
                assert (answer.status_code, kind_of(answer)) == (422, "invalid-input"), one.name
                errors = answer.json()["errors"]
            where = f"/{name}" if name in body or is_bulk else f"/{next(iter(body))}/0/{name}"
            assert errors[0]["pointer"] == where


def ids_in(document: Any, schema: Any) -> Iterator[str]:
    """The names of the fields that are UUIDs, of a schema of the document."""
    if isinstance(schema, list):
        for one in schema:
            yield from ids_in(document, one)
    elif isinstance(schema, dict):
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            yield from ids_in(document, document["components"]["schemas"][name])
        for name, field in schema.get("properties", {}).items():
            if '"format": "uuid"' in json.dumps(field):
                yield name
        for one in schema.values():
            yield from ids_in(document, one)


@pytest.mark.parametrize("no_id", NO_IDS)
def test_an_id_in_a_query_has_one_form(
    clients: Clients, credentials: dict[str, Headers], no_id: str
) -> None:
    for side, one in OPERATIONS:
        # An actor of the audit log may be a name.
        names = [] if "acts" in one.path else IDS_IN_QUERIES
        for name in set(names).intersection(one.parameters.query_fields):
            given = {name: f"{NOBODY},{no_id}" if name == "movies" else no_id}
            headers = httpx.Headers(credentials["operator"])
            answer = clients[side].get(path_of(one), params=given, headers=headers)
            assert (answer.status_code, kind_of(answer)) == (422, "invalid-input"), (one.name, name)
            assert answer.json()["errors"][0]["pointer"] == f"/query/{name}"


@pytest.mark.parametrize("written", [str.upper, str.lower])
def test_an_id_may_be_in_capitals(api: Api, written: Any) -> None:
    movie_id = api.movie()
    assert api.read(f"/v1/movies/{written(movie_id)}")["movie_id"] == movie_id
    assert api.rate(api.sign_up(), written(movie_id), 4).status_code == 201


def test_a_method_that_a_path_lacks_is_405_and_says_which_it_has(clients: Clients) -> None:
    for side, one in OPERATIONS:
        of_path = {other.method for other in APPS[side].operations if other.path == one.path}
        answer = clients[side].request("TRACE", path_of(one))
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
    console = httpx.Client(base_url=system.start_console().url, timeout=30)
    clients = {"command": own.command, "console": console}
    system.servers.postgres.stop()
    try:
        for side, one in CHECKED:
            capfd.readouterr()
            body = json.dumps(bodies[one.name]).encode() if one.body is not None else b""
            headers = [
                *callers[caller_of(one.access)],
                ("If-Match", '"1"'),
                ("Content-Type", JSON),
            ]
            answer = send(clients[side], one, body, headers)
            assert answer.status_code == 503, (one.name, answer.text)
            assert kind_of(answer) in ("unavailable", "outcome-unknown"), one.name
            assert answer.headers["Retry-After"]
            printed = capfd.readouterr()  # An earlier test may have sent the log elsewhere.
            assert "store_unavailable" in printed.out + printed.err, one.name
    finally:
        system.servers.postgres.start()
        console.close()
    eventually(lambda: own.command.get("/ready").status_code == 200)
