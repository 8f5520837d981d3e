"""Connections to a command API process that break off, and a process that stops, mid-commit."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPResponse

import httpx
import msgspec
import pytest

from tests.support.api import Api, User
from tests.support.log import rating_of, read_log
from tests.support.processes import CommandProcess, start_processes
from tests.support.system import WITHIN_S, System, eventually

USERS = 6


@pytest.fixture
def process(system: System) -> CommandProcess:
    return start_processes(system, 1)[0]


@pytest.fixture
def api(system: System, process: CommandProcess) -> Iterator[Api]:
    with Api(process.url, process.url, system.service_key()) as client:
        yield client


class Begun:
    """A rating that a server has begun to read and cannot have answered yet."""

    def __init__(self, url: str, user: User, movie_id: str) -> None:
        body = msgspec.json.encode({"score": 4})
        address = httpx.URL(url)
        head = [
            f"PUT /v1/movies/{movie_id}/rating HTTP/1.1",
            f"host: {address.host}",
            f"authorization: Bearer {user.token}",
            "content-type: application/json",
            f"content-length: {len(body)}",
            "expect: 100-continue",
            "",
            "",
        ]
        self._socket = socket.create_connection((address.host, address.port or 80), WITHIN_S)
        self._socket.sendall("\r\n".join(head).encode())
        assert self._socket.recv(1_000).startswith(b"HTTP/1.1 100 ")
        self._socket.sendall(body)

    def status(self) -> int:
        response = HTTPResponse(self._socket)
        response.begin()
        self.close()
        return response.status

    def close(self) -> None:
        self._socket.close()


@contextmanager
def held_append_lock(system: System) -> Iterator[Callable[[], bool]]:
    """Nobody appends meanwhile; yields what says whether somebody wants to."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with system.owner() as owner, owner.transaction():
        owner.execute("SELECT hold_append_lock()")
        yield lambda: owner.execute(waiting).fetchone() != (0,)


def test_who_goes_away_during_the_commit_has_rated_all_the_same(
    system: System, process: CommandProcess, api: Api
) -> None:
    ann, ben, movie_id = api.sign_up(), api.sign_up(), api.movie()
    with ThreadPoolExecutor(1) as pool:
        with held_append_lock(system) as somebody_waits:
            gone = Begun(process.url, ann, movie_id)
            eventually(somebody_waits)
            gone.close()
            stays = pool.submit(api.rate, ben, movie_id, 4)
        assert stays.result().status_code == 201
    recorded = [one.stream_id for one in read_log(system.event_store(), system.key_wrap())[-2:]]
    assert recorded == [rating_of(user.user_id, movie_id) for user in (ann, ben)]


def test_a_stop_answers_whom_it_has_heard(
    system: System, process: CommandProcess, api: Api
) -> None:
    """SIGTERM in the middle of a commit, with others waiting behind it."""
    users, movie_id = [api.sign_up() for _ in range(USERS)], api.movie()
    with held_append_lock(system) as somebody_waits:
        begun = [Begun(process.url, user, movie_id) for user in users]
        eventually(somebody_waits)
        process.request_stop()
        eventually(lambda: _refuses(process))
    assert [one.status() for one in begun] == [201] * USERS
    assert process.wait_stopped() == -signal.SIGTERM
    recorded = [one.stream_id for one in read_log(system.event_store(), system.key_wrap())]
    assert set(recorded[-USERS:]) == {rating_of(user.user_id, movie_id) for user in users}


def _refuses(process: CommandProcess) -> bool:
    """It takes no connections any more."""
    try:
        httpx.get(f"{process.url}/health", timeout=2)
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        return False  # It was connected just before.
    return False
