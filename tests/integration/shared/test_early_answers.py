"""An answer that comes before its request has ended is read by every client as such."""

from __future__ import annotations

import http.client
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from shared.web.answer import bytes_answer, whole_sender
from shared.web.problems import PROBLEM_TYPES, problem
from shared.web.serving import protocol as serving
from tests.support.system import RunningApp, System
from tests.support.web.nginx import Proxy

STATUSES = [401, 413, 429, 503]
TIMES = 10
# More than both ends' sockets hold.
BODY = bytes(6 * 1024 * 1024)
ENDLESS = "content-length: 10000000000\r\n"

CODES = {str(kind.status): code for code, kind in PROBLEM_TYPES.items()}

Post = Callable[[str, str], int]


async def refusing(scope: Scope, _receive: Receive, _send: Send) -> None:
    """Answers with the status that the path names, and reads no body."""
    if scope["type"] != "http":
        return
    code = CODES.get(scope["path"].strip("/"))
    answer = problem(code, "at once") if code else bytes_answer(b"alive", "text/plain")
    send_whole = whole_sender(scope)
    assert send_whole is not None
    await send_whole(answer, [])


@pytest.fixture(scope="module")
def app() -> Iterator[RunningApp]:
    running = RunningApp(refusing, lifespan="off")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def proxied(app: RunningApp) -> Iterator[str]:
    with Proxy(app.url) as proxy:
        yield proxy.url


def by_urllib(url: str, path: str) -> int:
    """HTTP/1.1 with `Connection: close`."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}{path}", BODY, timeout=20)
    with refused.value as answer:
        assert json.loads(answer.read())["status"] == answer.code
        return int(answer.code)


def by_http_client(url: str, path: str) -> int:
    """HTTP/1.1 with keep-alive; the connection is good for another request."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.request("POST", path, BODY)
    answer = connection.getresponse()
    assert json.loads(answer.read())["status"] == answer.status
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"alive"
    connection.close()
    return answer.status


def by_http_10(url: str, path: str) -> int:
    """HTTP/1.0: the answer ends with the connection."""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 20) as connection:
        connection.sendall(f"POST {path} HTTP/1.0\r\ncontent-length: {len(BODY)}\r\n\r\n".encode())
        connection.sendall(BODY)
        received = b""
        while part := connection.recv(65_536):
            received += part
    assert json.loads(received.partition(b"\r\n\r\n")[2])
    return int(received.split()[1])


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("post", [by_urllib, by_http_client, by_http_10])
def test_an_answer_before_the_end_of_the_body_is_read(
    app: RunningApp, post: Post, status: int
) -> None:
    assert {post(app.url, f"/{status}") for _ in range(TIMES)} == {status}


@pytest.mark.parametrize("status", STATUSES)
def test_a_proxy_passes_on_an_answer_before_the_end_of_the_body(proxied: str, status: int) -> None:
    assert {by_urllib(proxied, f"/{status}") for _ in range(TIMES)} == {status}


def test_both_apis_refuse_a_body_that_is_too_large_behind_a_proxy(system: System) -> None:
    for running in (system.start_command_api(), system.start_query_api()):
        with Proxy(running.url) as proxy:
            assert by_urllib(proxy.url, "/v1/ratings/batch") in (401, 404, 413)
            assert by_urllib(proxy.url, "/v1/users") in (404, 405, 413)


def flood(url: str, head: str, *, part: bytes, most: int) -> tuple[bytes, int]:
    """Send for ever; what was received, and how much was sent before the connection broke."""
    sent, received = 0, b""
    with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), 20) as connection:
        connection.sendall(head.encode())
        with suppress(ConnectionError):
            while sent < most:
                connection.sendall(part)
                sent += len(part)
        with suppress(ConnectionError):
            while more := connection.recv(65_536):
                received += more
    return received, sent


@pytest.mark.parametrize("close", ["close", "keep-alive"])
def test_who_sends_on_after_an_answer_is_cut_off_after_so_many_bytes(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch, close: str
) -> None:
    monkeypatch.setattr(serving, "LINGER_BYTES_MAX", 1024 * 1024)
    head = f"POST /413 HTTP/1.1\r\nhost: x\r\nconnection: {close}\r\n{ENDLESS}\r\n"
    _, sent = flood(app.url, head, part=bytes(65_536), most=200 * 1024 * 1024)
    assert sent < 100 * 1024 * 1024


def test_who_stays_after_an_answer_is_let_go_of_soon(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LINGER_IDLE_S", 0.1)
    head = "POST /401 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 9\r\n\r\n"
    received, _ = flood(app.url, head, part=b"x", most=1)
    assert received.startswith(b"HTTP/1.1 401")


def test_who_sends_slowly_after_an_answer_is_let_go_of_in_the_end(
    app: RunningApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "LINGER_IDLE_S", 0.2)
    monkeypatch.setattr(serving, "LINGER_MAX_S", 0.5)
    head = f"POST /401 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{ENDLESS}\r\n"
    with socket.create_connection((urlsplit(app.url).hostname, urlsplit(app.url).port)) as slow:
        slow.sendall(head.encode())
        assert slow.recv(65_536).startswith(b"HTTP/1.1 401")
        slow.settimeout(0.05)
        with pytest.raises(ConnectionError):
            _dribble(slow)


def _dribble(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        with suppress(TimeoutError):
            connection.recv(1)


def test_a_refusal_of_a_body_that_was_announced_closes_the_connection(app: RunningApp) -> None:
    """Its client may send the body or not: nobody can tell where the next request begins."""
    with socket.create_connection((urlsplit(app.url).hostname, urlsplit(app.url).port)) as asking:
        asking.sendall(
            b"POST /413 HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n"
        )
        received = b""
        while part := asking.recv(65_536):
            received += part
    assert b"connection: close" in received.lower()


def test_after_an_early_answer_and_its_body_a_connection_is_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is closed when it has been idle for long enough, as any other."""
    running = RunningApp(refusing, lifespan="off", timeout_keep_alive=0.2)
    try:
        head = "POST /401 HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
        received, _ = flood(running.url, head, part=b"x", most=9)
        assert received.startswith(b"HTTP/1.1 401")
    finally:
        running.stop()
