"""Connections that idle between requests, as a pool's do."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from shared.web.serving import server
from tests.support.system import RunningApp, System

LATENCY_S = 0.01
# What uvicorn keeps a connection for by default, and what nginx keeps its own for.
UVICORN_S, NGINX_S = 5, 60


async def reading(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await Response(b"read")(scope, receive, send)


def options_of(
    monkeypatch: pytest.MonkeyPatch, system: System, **settings: object
) -> dict[str, object]:
    """What uvicorn is run with."""
    seen: dict[str, object] = {}
    monkeypatch.setattr("uvicorn.run", lambda _app, **options: seen.update(options))
    server.serve(reading, system.query_settings(**settings), port=0)
    return seen


def test_an_idle_connection_is_kept_for_longer_than_proxies_keep_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept_s = options_of(monkeypatch, system)["timeout_keep_alive"]
    assert isinstance(kept_s, float)
    assert kept_s > NGINX_S > UVICORN_S


def test_how_long_an_idle_connection_is_kept_is_a_setting(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert options_of(monkeypatch, system, keep_alive_s=7.5)["timeout_keep_alive"] == 7.5
    app = RunningApp(reading, lifespan="off", timeout_keep_alive=0.2)
    began = time.monotonic()
    with socket.create_connection((urlsplit(app.url).hostname, urlsplit(app.url).port)) as idle:
        idle.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        while idle.recv(65_536):
            pass
    assert time.monotonic() - began >= 0.2
    app.stop()


@contextmanager
def far_away(url: str) -> Iterator[str]:
    """The same server, 10 ms away in each direction."""
    listener = socket.create_server(("127.0.0.1", 0))
    ends: list[socket.socket] = []

    def copy(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65_536):
                time.sleep(LATENCY_S)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            target = socket.create_connection((urlsplit(url).hostname, urlsplit(url).port))
            ends.extend([client, target])
            for pair in ((client, target), (target, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()
        for end in ends:
            end.close()


def test_a_pool_far_away_loses_no_request_as_long_as_it_lets_go_first() -> None:
    """Idle for up to three quarters of what the server keeps, over a line of 10 ms."""
    app = RunningApp(reading, lifespan="off", timeout_keep_alive=0.4)
    with far_away(app.url) as url:
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
        for idle_s in (0.0, 0.1, 0.2, 0.3, 0.0, 0.3):
            time.sleep(idle_s)
            connection.request("POST", "/", b"x" * 1_000)
            assert connection.getresponse().read() == b"read"
        connection.close()
    app.stop()
