"""Answers in one part are what uvicorn would send of the same status, fields and body."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from shared.web.answer import Answer, Fields, bytes_answer, send_answer, whole_sender
from tests.support.system import RunningApp, eventually

# More than both ends' sockets hold.
LARGE = bytes(8 * 1024 * 1024)
FORGED = [b"x\r\nset-cookie: y", b"x\ny", b"x\ry", b"x\0y"]
ANSWERS = {
    "/small": bytes_answer(b"small", "text/plain"),
    "/large": bytes_answer(LARGE, "application/octet-stream"),
    "/empty": Answer(204, []),
    "/known": Answer(304, [(b"etag", b'"1"')]),
    "/last": Answer(204, [(b"connection", b"close")]),
}
MORE: Fields = [(b"x-more", b"1")]


async def answering(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers as the path says: whole, in two messages, or with a field that is not one line."""
    if scope["type"] != "http":
        return
    way, path = scope["path"].strip("/").split("/")
    send_whole = whole_sender(scope)
    assert send_whole is not None
    if way == "forged":
        await send_whole(Answer(204, [(b"x-forged", FORGED[int(path)])]), [])
    elif way == "whole":
        await send_whole(ANSWERS[f"/{path}"], MORE)
    else:
        await send_answer(ANSWERS[f"/{path}"], send, MORE)


@pytest.fixture(scope="module")
def app() -> Iterator[RunningApp]:
    running = RunningApp(answering, lifespan="off", date_header=False)
    yield running
    running.stop()


def received(app: RunningApp, requests: bytes) -> bytes:
    """Return all that the server sends until it closes."""
    host, port = app.url.removeprefix("http://").split(":")
    parts = []
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(requests)
        while part := connection.recv(1_000_000):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize(
    "request_of",
    [
        b"GET %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        b"GET %b HTTP/1.0\r\nhost: x\r\n\r\n",
        (
            b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nabc"
            b"GET /whole/small HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        ),
    ],
)
def test_an_answer_is_the_same_in_one_part(app: RunningApp, path: str, request_of: bytes) -> None:
    whole, in_messages = (
        received(app, request_of % f"/{way}{path}".encode()) for way in ("whole", "messages")
    )
    assert whole == in_messages
    assert b"x-more: 1\r\n" in whole


@pytest.mark.parametrize("way", ["whole", "messages"])
def test_a_connection_ends_with_an_answer_that_says_so(app: RunningApp, way: str) -> None:
    """The client itself asks for no end."""
    answer = received(app, f"GET /{way}/last HTTP/1.1\r\nhost: x\r\n\r\n".encode())
    assert answer.count(b"connection: close\r\n") == 1


@pytest.mark.parametrize("forged", range(len(FORGED)))
def test_a_field_of_more_than_one_line_is_never_sent(app: RunningApp, forged: int) -> None:
    request = b"GET /forged/%d HTTP/1.1\r\nhost: x\r\n\r\n" % forged
    answer = received(app, request)
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"x-forged" not in answer


def test_a_client_that_takes_its_answers_late_gets_them_whole(app: RunningApp) -> None:
    one = b"GET /whole/large HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /whole/large HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    host, port = app.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(one + last)
        # Both answers wait in the server: the second one for the first.
        eventually(lambda: connection.recv(1, socket.MSG_PEEK) == b"H")
        length = 0
        while part := connection.recv(1_000_000):
            length += len(part)
    assert length > 2 * len(LARGE)
