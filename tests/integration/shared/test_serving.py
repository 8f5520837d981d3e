"""Answers over a bare connection: whole, in order, also as the connection closes."""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress

import pytest

from shared.web.serving import protocol as serving
from tests.support.api import Api
from tests.support.system import System

PIPELINED = 100


def connected(api: Api) -> socket.socket:
    host, port = str(api.command.base_url.netloc.decode()).split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def sent(api: Api, requests: bytes) -> bytes:
    """All that the server says until it closes."""
    with connected(api) as connection:
        connection.sendall(requests)
        received = b""
        while part := connection.recv(65_536):
            received += part
    return received


def test_an_answer_is_whole_when_the_connection_closes_with_it(api: Api) -> None:
    answer = sent(api, b"GET /openapi.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    assert len(body) == int(length[1]) > 10_000


def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    ids = [f"0190f3c5-7a2e-7d3a-9c1e-{n:012x}" for n in range(PIPELINED)]
    requests = [f"GET /health HTTP/1.1\r\nhost: x\r\nx-request-id: {one}\r\n\r\n" for one in ids]
    requests[-1] = requests[-1].replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n")
    answers = sent(api, "".join(requests).encode())
    assert re.findall(r"x-request-id: (\S+)", answers.decode()) == ids


def test_what_is_no_request_is_refused_and_closed(api: Api) -> None:
    assert sent(api, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"PUT /v1/movies/x/rating HTTP/1.1\r\nhost: x\r\n",
        b"POST /v1/sessions HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        b"GET /health HTTP/1.1\r\nhost: x\r\n\r\nPOST /v1/sessions HTTP/1.1\r\n",
    ],
)
def test_who_does_not_finish_a_request_is_cut_off(
    system: System, monkeypatch: pytest.MonkeyPatch, begun: bytes
) -> None:
    """This includes a client that keeps sending slowly; and a stop need not wait for it."""
    monkeypatch.setattr(serving, "REQUEST_WITHIN_S", 0.5)
    command = system.start_command_api()
    with Api(command.url, command.url, "") as api, connected(api) as connection:
        connection.sendall(begun)
        received = b""
        with suppress(ConnectionError):
            while part := connection.recv(65_536):
                received += part
                connection.sendall(b"x")
        assert (b"200 OK" in received) == (b"health" in begun)


def test_a_connection_may_be_used_for_longer_than_a_request(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "REQUEST_WITHIN_S", 0.5)
    command = system.start_command_api()
    with Api(command.url, command.url, "") as api, connected(api) as connection:
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            connection.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
