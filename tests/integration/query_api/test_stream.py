"""The stream of changes: what it says, where it resumes, whom it drops, and how it ends.

Tests with a system of their own come first: a new system empties Redis.
"""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx
import pytest

import query_api.app
from projector.generations.table import Generation
from projector.wiring import Wiring
from query_api.views.live_updates import STREAMS
from shared.read_model.keys import CHANGES, MOVIES
from tests.support.api import AT_LEAST, POSITION, Api, User
from tests.support.read_models import active
from tests.support.scenarios.projector_steps import built
from tests.support.system import RunningApp, System, eventually
from tests.support.web.live_updates import LAST_EVENT_ID, live_updates


def url(api: Api) -> str:
    return str(api.query.base_url)


def test_a_place_that_the_stream_has_forgotten_is_reset(
    system: System, own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.feed.change_feed.HISTORY_MAX", 1)
    ann, movie_id = own.sign_up(), own.movie()
    forgotten = own.position
    for score in (1, 2, 3, 4, 5):
        own.rate(ann, movie_id, score)
    own.read("/v1/movies")
    later = system.start_query_api()
    with httpx.Client(base_url=later.url, headers={AT_LEAST: str(own.position)}) as client:
        eventually(lambda: client.get("/v1/movies").status_code == 200)
    with live_updates(later.url, last_event_id=forgotten) as stream:
        reset = stream.next()
        assert (reset.kind, reset.data) == ("reset", {})
        assert reset.id is not None
        assert reset.id >= own.position
        own.rate(ann, movie_id, 1.5)
        assert stream.next().data["average"] == 1.5


def test_streams_are_capped_and_their_places_come_back(system: System, own: Api) -> None:
    capped = system.start_query_api(streams_max=2)
    with httpx.Client(base_url=capped.url) as client, ExitStack() as open_streams:
        eventually(lambda: client.get("/ready").status_code == 200)
        for _ in range(2):
            open_streams.enter_context(live_updates(capped.url))
        refused = client.get("/v1/stream")
        assert refused.status_code == 503
        assert refused.json()["type"].endswith("overloaded")
        assert "Retry-After" in refused.headers
        open_streams.close()
        eventually(lambda: client.head("/v1/stream").status_code == 200)


def test_streams_read_redis_together(system: System, own: Api) -> None:
    ann, movie_id = own.sign_up(), own.movie()
    own.read("/v1/movies")
    before = len(system.redis.client_list())
    with ExitStack() as open_streams:
        streams = [
            open_streams.enter_context(live_updates(url(own), after=own.position))
            for _ in range(20)
        ]
        own.rate(ann, movie_id, 4)
        assert {stream.next().data["average"] for stream in streams} == {4.0}
        # A pool grows by one or two of its own accord, never by one for each stream.
        assert len(system.redis.client_list()) < before + len(streams) // 2


def test_a_stream_ends_when_its_server_stops(system: System, own: Api) -> None:
    other = system.start_query_api()
    with httpx.Client(base_url=other.url) as client:
        eventually(lambda: client.get("/ready").status_code == 200)
    with live_updates(other.url) as stream:
        next(iter(stream))
        other.stop()
        assert [event.data for event in stream] == []


def test_a_client_that_takes_nothing_is_cut_off(
    system: System, own: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.web.serving.protocol.STALLED_MAX_S", 0.05)
    # In total some 110 KB of events.
    rows = [{"title": f"A film {n}", "year": 1980} for n in range(1_000)]
    own.expect(200, own.post("/v1/movies/batch", {"movies": rows}, own.service))
    app = query_api.app.create_app(system.query_settings())
    running = RunningApp(app, send_bytes_max=4_096)
    try:
        with httpx.Client(base_url=running.url) as client:
            at_least = {AT_LEAST: str(own.position)}
            eventually(lambda: client.get("/v1/movies", headers=at_least).status_code == 200)
        address = urlsplit(running.url)
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect((address.hostname, address.port))
            slow.sendall(b"GET /v1/stream?after=0 HTTP/1.1\r\nhost: x\r\n\r\n")
            eventually(lambda: _open_streams() == 1)
            eventually(lambda: _open_streams() == 0)
    finally:
        running.stop()


@pytest.mark.parametrize("projection", [MOVIES, CHANGES])
def test_a_switch_of_generations_is_not_seen(system: System, own: Api, projection: str) -> None:
    wiring = system.projector_wiring()
    ann = own.sign_up()
    movies = [own.movie(f"Switched {n}") for n in range(3)]
    stop = threading.Event()
    with live_updates(url(own), after=own.position) as stream:
        rating = threading.Thread(target=_rate_until, args=(own, ann, movies, stop))
        rating.start()
        stream.take(5)
        before = active(wiring, projection)
        _switch(wiring, built(wiring, projection))
        eventually(lambda: active(wiring, projection) != before)
        stream.take(20)
        stop.set()
        rating.join()
        told: dict[str, float] = {}
        ids = [0]
        while ids[-1] < own.position:
            event = stream.next()
            assert event.kind == "message"
            told[event.data["movie_id"]] = event.data["average"]
            ids.append(event.id or 0)
    assert ids == sorted(ids)
    for movie_id, average in told.items():
        assert average == own.read(f"/v1/movies/{movie_id}")["ratings"]["average"]


def test_a_change_is_told_without_a_person(api: Api) -> None:
    ann, movie_id, other = api.sign_up(), api.movie(), api.movie()
    with live_updates(url(api), movies=movie_id, after=api.position) as stream:
        assert stream.response.headers["content-type"].startswith("text/event-stream")
        assert int(stream.response.headers[POSITION]) >= api.position
        api.rate(ann, other, 2)
        api.rate(ann, movie_id, 4.5, review="The bell.")
        told = stream.next()
    assert (told.kind, told.id) == ("message", api.position)
    assert told.data == {"movie_id": movie_id, "count": 1, "average": 4.5}


def test_without_a_place_to_go_on_from_it_begins_now(api: Api) -> None:
    ann, before, after = api.sign_up(), api.movie(), api.movie()
    api.rate(ann, before, 1)
    api.read("/v1/movies")
    with live_updates(url(api), movies=f"{before}, {after}") as stream:
        api.rate(ann, after, 2)
        assert stream.next().data["movie_id"] == after


def test_it_resumes_after_the_last_event_with_each_movie_once(api: Api) -> None:
    ann = api.sign_up()
    movies = [api.movie(f"Resumed {n}") for n in range(4)]
    with live_updates(url(api), movies=",".join(movies), after=api.position) as stream:
        api.rate(ann, movies[0], 3)
        seen = stream.next()
    for score in (1, 2, 5):
        for movie_id in movies[1:]:
            api.rate(ann, movie_id, score)
    api.read("/v1/movies")
    for narrowed in ({"movies": ",".join(movies)}, {}):
        with live_updates(url(api), last_event_id=seen.id, after=0, **narrowed) as stream:
            told = stream.take(3)
        assert [event.data["movie_id"] for event in told] == movies[1:]
        assert [event.data["average"] for event in told] == [5.0] * 3
        assert [event.id for event in told] == sorted(event.id or 0 for event in told)


@pytest.mark.parametrize(
    ("parameters", "last_event_id"),
    [
        ({"movies": "x"}, None),
        ({"movies": ""}, None),
        ({"movies": ",".join(f"{n:032x}" for n in range(101))}, None),
        ({"after": "-1"}, None),
        ({"after": "x"}, None),
        ({}, "x"),
        ({}, "9" * 30),
    ],
)
def test_what_cannot_be_followed_is_refused(
    api: Api, parameters: dict[str, str], last_event_id: str | None
) -> None:
    headers = {} if last_event_id is None else {LAST_EVENT_ID: last_event_id}
    answer = api.query.get("/v1/stream", params=parameters, headers=headers)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_head_ends(api: Api) -> None:
    answer = api.query.head("/v1/stream")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_a_place_in_another_log_is_reset(api: Api) -> None:
    with live_updates(url(api), last_event_id=api.position + 1_000_000) as stream:
        assert stream.next().kind == "reset"


def test_a_stream_at_rest_is_kept_alive_and_its_id_moves_on(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.views.live_updates.HEARTBEAT_S", 0.02)
    ann, quiet, busy = api.sign_up(), api.movie(), api.movie()
    with live_updates(url(api), movies=quiet, after=api.position) as stream:
        api.rate(ann, busy, 4)
        alive = next(event for event in stream if event.id and event.id >= api.position)
    assert alive.comment == "still here"
    assert alive.data is None


def _rate_until(api: Api, user: User, movies: list[str], stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        api.rate(user, movies[number % len(movies)], number % 10 / 2 + 0.5)


def _switch(wiring: Wiring, generation: Generation) -> None:
    assert wiring.generations.switch(generation.projection, generation.number)


def _open_streams() -> float:
    return STREAMS._value.get()  # type: ignore[no-any-return]  # The client has no public way to read it.
