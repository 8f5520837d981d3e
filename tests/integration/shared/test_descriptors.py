"""The limit of open files: raised at start, and else what follows from it."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from shared.process.descriptors import Descriptors
from shared.web.serving import protocol as serving
from tests.integration.shared.test_keep_alive import reading
from tests.support.system import RunningApp, System

RAISE = "from shared.process.descriptors import raise_descriptors as r; print(r().limit)"


def limited(soft: int, hard: int) -> str:
    """What a process prints that raises its limit."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    done = subprocess.run(
        [sys.executable, "-c", RAISE], preexec_fn=limit, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_limit_is_raised_as_far_as_the_system_allows_and_said_in_one_line() -> None:
    said, limit = limited(256, 1_000).strip().splitlines()
    assert limit == "1000"
    assert "descriptors_limited" in said
    assert all(word in said for word in ("256", "connections_max", "streams_max"))


def test_a_limit_that_cannot_be_raised_leaves_room_for_what_is_no_connection() -> None:
    assert limited(1_024, 1_024).strip().endswith("1024")
    allowed = Descriptors(1_024)
    assert allowed.streams_max < allowed.connections_max <= 1_024 - 64
    assert Descriptors(64).connections_max >= 1


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningApp]:
    monkeypatch.setattr(serving.GatheringProtocol, "_crowd", serving._Crowd())
    running = RunningApp(reading, lifespan="off", limit_concurrency=2)
    yield running
    running.stop()


def test_a_connection_beyond_the_maximum_hears_so_and_the_log_says_so(
    crowded: RunningApp, capfd: pytest.CaptureFixture[str]
) -> None:
    address = (urlsplit(crowded.url).hostname, urlsplit(crowded.url).port)
    connections = [socket.create_connection(address, timeout=20) for _ in range(3)]
    answers = []
    for connection in connections:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        answers.append(connection.recv(65_536))
    assert [answer.split()[1] for answer in answers] == [b"200", b"200", b"503"]
    assert json.loads(answers[2].partition(b"\r\n\r\n")[2])["type"].endswith(":overloaded")
    assert b"retry-after" in answers[2].lower()
    connections[2].close()
    connections[0].close()
    assert "connections_refused" in capfd.readouterr().out
    for connection in connections:
        connection.close()


def test_streams_are_no_more_than_the_limit_leaves(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.app.descriptors", lambda: Descriptors(70))
    query = system.start_query_api(streams_max=1_000)
    address = (urlsplit(query.url).hostname, urlsplit(query.url).port)
    statuses, held = [], []
    for _ in range(Descriptors(70).streams_max + 1):
        stream = socket.create_connection(address, timeout=20)
        held.append(stream)
        stream.sendall(b"GET /v1/stream HTTP/1.1\r\nhost: x\r\n\r\n")
        statuses.append(stream.recv(65_536).split()[1])
    for stream in held:
        stream.close()
    assert statuses[-1] == b"503"
