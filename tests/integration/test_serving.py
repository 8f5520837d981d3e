"""Answers over a bare connection: whole, in order, also as the connection closes."""

from __future__ import annotations

import re
import socket

from tests.api import Api

PIPELINED = 100


def sent(api: Api, requests: bytes) -> bytes:
    """All that the server says until it closes."""
    host, port = str(api.command.base_url.netloc.decode()).split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
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
