"""What a request may be before its body: bytes, fields, and what frames a chunked body."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from shared.web.serving.protocol import FIELDS_MAX, HEAD_BYTES_MAX
from tests.support.api import Api

FLOOD = 3 * 1024 * 1024


@pytest.fixture(params=["command", "query"])
def url(request: pytest.FixtureRequest, api: Api) -> str:
    client = api.command if request.param == "command" else api.query
    return str(client.base_url)


def exchanged(url: str, data: bytes, *, parts: int = 1) -> bytes:
    """All that the server says to it until it closes."""
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_connection(address, timeout=20) as connection:
        size = -(-len(data) // parts)
        with suppress(ConnectionError):
            for start in range(0, len(data), size):
                connection.sendall(data[start : start + size])
        received = b""
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                received += part
    return received


def padded(bytes_in_all: int) -> bytes:
    """A request whose head has this many bytes."""
    start = b"GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-padding: "
    return start + b"x" * (bytes_in_all - len(start) - 4) + b"\r\n\r\n"


def with_fields(count: int) -> bytes:
    own = b"host: x\r\nconnection: close\r\n"
    more = b"".join(b"x-%d: y\r\n" % number for number in range(count - 2))
    return b"GET /health HTTP/1.1\r\n" + own + more + b"\r\n"


def assert_refused(answer: bytes, status: int) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), head
    fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"connection"] == b"close"
    assert fields[b"x-content-type-options"] == b"nosniff"
    assert fields[b"x-request-id"]
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["type"].startswith("urn:starfold:problem:")


@pytest.mark.parametrize("parts", [1, 3])
def test_a_head_of_the_largest_size_is_served_and_a_byte_more_is_not(url: str, parts: int) -> None:
    assert exchanged(url, padded(HEAD_BYTES_MAX), parts=parts).startswith(b"HTTP/1.1 200 ")
    assert_refused(exchanged(url, padded(HEAD_BYTES_MAX + 1), parts=parts), 431)


def test_as_many_fields_as_may_be_are_served_and_one_more_is_not(url: str) -> None:
    assert exchanged(url, with_fields(FIELDS_MAX)).startswith(b"HTTP/1.1 200 ")
    assert_refused(exchanged(url, with_fields(FIELDS_MAX + 1)), 431)


@pytest.mark.parametrize("parts", [1, 20])
@pytest.mark.parametrize("end", [b" HTTP/1.1\r\nhost: x\r\n\r\n", b""], ids=["whole", "endless"])
def test_a_target_that_is_too_long_is_a_414(url: str, parts: int, end: bytes) -> None:
    request = b"GET /?q=" + b"x" * 2 * HEAD_BYTES_MAX + end
    assert_refused(exchanged(url, request, parts=parts), 414)


@pytest.mark.parametrize(
    "begun",
    [
        b"GET /health HTTP/1.1\r\nx: ",
        b"GET /health HTTP/1.1\r\n",
        b"GET /",
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nGET /health HTTP/1.1\r\nx: ",
        b"POST /v1/users HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;",
        b"POST /v1/users HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: ",
        b"\r\n",
    ],
    ids=["field", "name", "target", "pipelined", "chunk extension", "trailer", "empty lines"],
)
@pytest.mark.parametrize("unit", [b"x", b"x: y\r\n", b"\r\n"])
def test_what_never_ends_is_refused_and_closed(url: str, begun: bytes, unit: bytes) -> None:
    answer = exchanged(url, begun + unit * (FLOOD // len(unit)), parts=200)
    assert answer[answer.rindex(b"HTTP/1.1 ") :].startswith(b"HTTP/1.1 4")


def test_trailers_are_not_fields_of_the_request(api: Api) -> None:
    """What a proxy in front has not seen as a field must not become one."""
    me = api.sign_up()
    trailer = f"0\r\nauthorization: Bearer {me.token}\r\n\r\n"
    answer = exchanged(
        str(api.command.base_url),
        b"PATCH /v1/users/me HTTP/1.1\r\nhost: x\r\nconnection: close\r\n"
        b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
        + trailer.encode(),
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_a_problem_too(url: str, nonsense: bytes) -> None:
    assert_refused(exchanged(url, nonsense), 400)


def test_what_was_asked_before_nonsense_is_answered_first(url: str) -> None:
    answer = exchanged(url, b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * 3 + b"nonsense\r\n\r\n")
    statuses = [part.split()[0] for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"200", b"200", b"400"]


def test_a_body_that_cannot_be_read_is_a_problem(api: Api) -> None:
    answer = exchanged(
        str(api.command.base_url),
        b"POST /v1/users HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n"
        b"content-type: application/json\r\n\r\nnonsense\r\n",
    )
    assert_refused(answer, 400)


def test_who_sends_an_empty_line_between_requests_is_cut_off_all_the_same(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.web.serving.protocol.REQUEST_WITHIN_S", 0.3)
    asked = b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = exchanged(url, asked + b"\r\n", parts=len(asked) + 2)
    assert answer.startswith(b"HTTP/1.1 200 ")
