"""Requests as bytes, and what a server answers to them, read by a strict parser."""

from __future__ import annotations

import json
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

import h11

WITHIN_S = 20.0
RECEIVED_BYTES = 65_536


class RawAnswer(NamedTuple):
    """An answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def ask(url: str, request: bytes) -> RawAnswer:
    """Send a request, and read its one answer.

    Fails without an answer, or if it is not well-formed.
    """
    at = urlsplit(url)
    assert at.hostname is not None
    parser = h11.Connection(our_role=h11.CLIENT)
    # The parser has to know of a request; how it was written is ours.
    method = request.split(b" ", 1)[0]
    parser.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    parser.send(h11.EndOfMessage())
    with socket.create_connection((at.hostname, at.port or 80), timeout=WITHIN_S) as connection:
        connection.sendall(request)
        status, headers, body = 0, dict[str, str](), b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(connection.recv(RECEIVED_BYTES))
            elif isinstance(event, h11.Response):
                status = event.status_code
                headers = {name.decode(): value.decode() for name, value in event.headers}
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            else:
                assert isinstance(event, h11.EndOfMessage), event
                break
    if headers.get("content-type", "").endswith("json") and body:
        json.loads(body)
    return RawAnswer(status, headers, body)
