"""The pipeline of both APIs, with an API of three operations and no server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pytest
from fastapi import Header, Query
from pydantic import BaseModel
from starlette.types import Message

from shared.errors import Forbidden, MalformedJson
from shared.web.cross_origin import CrossOrigin
from shared.web.exchange import Answer, Exchange, Reply
from shared.web.operation import Operation, Parameters, bound, read_body
from shared.web.pipeline import Api, Proceed

BODY_BYTES_MAX = 20


class Asked(Parameters):
    query_is_closed = True

    number: int
    limit: Annotated[int, Query(ge=1, le=9)] = 5
    if_match: Annotated[str | None, Header()] = None


class Note(BaseModel):
    text: str


class NoteBody:
    bytes_max = BODY_BYTES_MAX
    model = Note

    async def read(self, exchange: Exchange, bytes_max: int) -> bytes:
        return await read_body(exchange.receive, bytes_max)

    async def parsed(self, _exchange: Exchange, data: bytes) -> Note:
        try:
            value = json.loads(data)
        except ValueError as error:
            raise MalformedJson from error
        return Note.model_validate(value)


class Notes:
    def __init__(self, mark: str) -> None:
        self._mark = mark

    async def get_note(self, exchange: Exchange, asked: Asked) -> Answer:
        """Answer what was asked."""
        shown = {"mark": self._mark, "caller": exchange.caller, **asked.model_dump()}
        return Answer(200, [], json.dumps(shown).encode())

    async def put_note(self, _exchange: Exchange, asked: Asked, note: Note) -> Answer:
        return Answer(201, [], f"{asked.number}: {note.text}".encode())

    async def fail(self, _exchange: Exchange) -> Answer:
        raise RuntimeError("broken")


OPERATIONS = [
    Operation("GET", "/notes/{number}", Notes.get_note, parameters=Asked, access="anyone"),
    Operation("PUT", "/notes/{number}", Notes.put_note, parameters=Asked, body=NoteBody()),
    Operation("GET", "/fails", Notes.fail),
]


class NameGate:
    """The credential is the caller's name."""

    async def admit(self, exchange: Exchange) -> None:
        exchange.caller = exchange.header(b"authorization")
        exchange.answer_headers.append((b"ratelimit", b"9"))

    async def guard(self, exchange: Exchange, proceed: Proceed) -> Reply:
        if exchange.caller == "nobody":
            raise Forbidden("not you")
        return await proceed()


class Received:
    def __init__(self, messages: list[Message]) -> None:
        start, *parts = messages
        self.status: int = start["status"]
        self.names = [name.decode() for name, _ in start["headers"]]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}
        self.body = b"".join(part["body"] for part in parts)

    @property
    def problem(self) -> Any:
        return json.loads(self.body)


@pytest.fixture
def api() -> Api:
    api = Api(
        title="Notes",
        operations=OPERATIONS,
        body_bytes_max=BODY_BYTES_MAX,
        access_log=True,
        cross_origin=CrossOrigin("https://a.example", methods=["GET"]),
    )
    api.serve(bound(OPERATIONS, Notes("m")), gate=NameGate())
    return api


def ask(
    api: Api,
    method: str,
    path: str,
    *,
    query: str = "",
    headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    body: list[bytes] | None = None,
) -> Received:
    sent: list[Message] = []
    parts = list(body or [b""])
    pairs = headers.items() if isinstance(headers, Mapping) else headers

    async def receive() -> Message:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in pairs],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(api(scope, receive, send))
    return Received(sent)


def test_an_operation_is_given_its_parts_its_caller_and_its_parameters(api: Api) -> None:
    answer = ask(api, "GET", "/notes/7", query="limit=3", headers={"Authorization": "Ann"})
    assert answer.status == 200
    assert answer.problem == {
        "mark": "m",
        "caller": "Ann",
        "number": 7,
        "limit": 3,
        "if_match": None,
    }
    assert answer.headers["ratelimit"] == "9"
    assert answer.names.count("x-request-id") == 1
    assert answer.headers["x-frame-options"] == "DENY"
    head = ask(api, "HEAD", "/notes/7")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("path", "query", "pointers"),
    [
        ("/notes/x", "limit=0", ["/path/number", "/query/limit"]),
        ("/notes/1", "limit=1&limit=2", ["/query/limit"]),
        ("/notes/1", "other=1", ["/query/other"]),
    ],
)
def test_a_parameter_that_is_refused_is_named(
    api: Api, path: str, query: str, pointers: list[str]
) -> None:
    answer = ask(api, "GET", path, query=query)
    assert answer.status == 422
    assert [entry["pointer"] for entry in answer.problem["errors"]] == pointers


@pytest.mark.parametrize("name", ["Authorization", "Idempotency-Key", "Content-Type", "If-Match"])
def test_a_header_that_may_come_once_is_refused_when_it_comes_twice(api: Api, name: str) -> None:
    answer = ask(api, "GET", "/notes/1", headers=[(name, "a"), (name, "b")])
    assert (answer.status, answer.problem["type"]) == (400, "urn:starfold:problem:bad-request")
    assert name in answer.problem["detail"]


def test_syntax_is_told_before_meaning_and_all_fields_together(api: Api) -> None:
    assert ask(api, "PUT", "/notes/1", body=[b'{"text": ', b'"a"}']).body == b"1: a"
    malformed = ask(api, "PUT", "/notes/x", body=[b"{"])
    assert (malformed.status, malformed.problem["type"][-14:]) == (400, "malformed-json")
    wrong = ask(api, "PUT", "/notes/x", body=[b"{}"])
    assert wrong.status == 422
    assert [entry["pointer"] for entry in wrong.problem["errors"]] == ["/path/number", "/text"]


def test_a_body_is_refused_by_what_it_states_and_by_what_it_is(api: Api) -> None:
    stated = ask(api, "PUT", "/notes/1", headers={"Content-Length": "21"})
    in_parts = ask(api, "PUT", "/notes/1", body=[b"x" * 11, b"x" * 11])
    for answer in (stated, in_parts):
        assert (answer.status, answer.problem["type"][-9:]) == (413, "too-large")


def test_an_error_that_nobody_expected_is_a_problem(api: Api) -> None:
    answer = ask(api, "GET", "/fails")
    assert (answer.status, answer.problem["type"]) == (500, "urn:starfold:problem:internal")
    assert "broken" not in answer.problem["detail"]
    assert answer.names.count("x-request-id") == 1


def test_a_refusal_of_the_gate_is_a_problem(api: Api) -> None:
    assert ask(api, "GET", "/notes/1", headers={"Authorization": "nobody"}).status == 403


def test_what_the_table_lacks_is_404_or_405(api: Api) -> None:
    assert ask(api, "GET", "/nothing").status == 404
    assert ask(api, "GET", "/notes/1\n").status == 404
    answer = ask(api, "DELETE", "/notes/1")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT")


def test_only_known_origins_are_allowed_and_preflights_are_answered(api: Api) -> None:
    for origin, allowed in (("https://a.example", True), ("https://b.example", False)):
        headers = {"Origin": origin}
        for path in ("/notes/1", "/fails", "/nothing"):
            answer = ask(api, "GET", path, headers=headers)
            assert ("access-control-allow-origin" in answer.headers) is allowed
        preflight = headers | {"Access-Control-Request-Method": "GET"}
        assert ask(api, "OPTIONS", "/notes/1", headers=preflight).status == (
            200 if allowed else 400
        )


def test_every_operation_is_documented(api: Api) -> None:
    described = api.openapi()["paths"]
    get = described["/notes/{number}"]["get"]
    assert (get["summary"], get["description"]) == ("Get Note", "Answer what was asked.")
    assert [(one["name"], one["in"]) for one in get["parameters"]] == [
        ("number", "path"),
        ("limit", "query"),
        ("if-match", "header"),
    ]
    assert "requestBody" in described["/notes/{number}"]["put"]
