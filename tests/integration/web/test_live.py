"""Streams of live numbers: places, silence, and one feed for all visitors."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.api import Api
from tests.support.system import eventually


@contextmanager
def listening(site: str, movie_id: str) -> Iterator[Iterator[str]]:
    """Open a stream, and read it up to the current state, with which it begins."""
    with httpx.stream("GET", f"{site}/movies/{movie_id}/live", timeout=30) as answer:
        assert answer.status_code == 200
        lines = answer.iter_lines()
        assert next(line for line in lines if line.startswith("data:"))
        yield lines


def test_an_address_has_so_many_streams_and_gets_the_places_back(
    api: Api, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live_feed.LISTENERS_PER_ADDRESS_MAX", 1)
    movie_id = api.movie()
    api.read(f"/v1/movies/{movie_id}")
    address = f"{site}/movies/{movie_id}/live"
    with listening(site, movie_id):
        assert httpx.get(address).status_code == 429
        assert httpx.get(f"{site}/live", params={"movies": movie_id}).status_code == 429

    def has_a_place() -> bool:
        with httpx.stream("GET", address, timeout=30) as answer:
            return answer.status_code == 200

    eventually(has_a_place)


def test_requests_that_come_at_once_get_no_more_places(
    api: Api, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream whose place was taken meanwhile ends without the current state."""
    monkeypatch.setattr("web.live_feed.LISTENERS_PER_ADDRESS_MAX", 5)
    movie_id = api.movie()
    api.read(f"/v1/movies/{movie_id}")
    place = urlsplit(site)
    head = f"GET /movies/{movie_id}/live HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode()
    with ExitStack() as opened:
        streams = [
            opened.enter_context(socket.create_connection((place.hostname or "", place.port or 0)))
            for _ in range(40)
        ]
        for one in streams:
            one.sendall(head)
        begun = [_until(one, b"\ndata: ", b"\r\n0\r\n\r\n", b" 429 ") for one in streams]
    assert sum(b"\ndata: " in one for one in begun) == 5


def _until(stream: socket.socket, *ends: bytes) -> bytes:
    """Read a stream until one of these has come."""
    received = b""
    stream.settimeout(30)
    while not any(one in received for one in ends):
        received += stream.recv(4_096)
    return received


def test_a_silent_stream_says_that_it_is_open(
    api: Api, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("web.live_feed.SILENCE_MAX_S", 0.05)
    movie_id = api.movie()
    api.read(f"/v1/movies/{movie_id}")
    with listening(site, movie_id) as lines:
        assert next(line for line in lines if line == ":")


def test_who_comes_as_the_last_one_leaves_is_served(api: Api, site: str) -> None:
    """The feed ends with its last listener, and must not end the listeners of the next feed."""
    movie_id, ann = api.movie(), api.sign_up()
    api.read(f"/v1/movies/{movie_id}")
    for score in (1, 2, 3):
        with listening(site, movie_id):
            pass
        with listening(site, movie_id) as lines:
            api.rate(ann, movie_id, score)
            shown = f'"average":"{score:.2f}"'
            assert next(line for line in lines if shown in line)


def test_the_listeners_of_a_film_share_the_reads_of_a_change(api: Api, site: str) -> None:
    movie_id, ann = api.movie(), api.sign_up()
    api.read(f"/v1/movies/{movie_id}")
    with ExitStack() as opened:
        streams = [opened.enter_context(listening(site, movie_id)) for _ in range(12)]
        before = _reads_of_movies(api)
        api.rate(ann, movie_id, 4)
        for lines in streams:
            assert next(line for line in lines if '"average":"4.00"' in line)
        assert _reads_of_movies(api) == before + 1


def _reads_of_movies(api: Api) -> float:
    """How many answers the query API has given about one film."""
    lines = api.query.get("/metrics").text.splitlines()
    route = 'route="/v1/movies/{movie_id}"'
    counted = [one for one in lines if "_seconds_count" in one and route in one]
    return sum(float(one.split()[-1]) for one in counted)
