"""One reader takes no more than their share: reads, waiting reads, open streams, searches."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from query_api.catalogue.index import Filter, Index
from query_api.catalogue.search import Searches, search
from shared.errors import Overloaded
from tests.support.api import AT_LEAST, Api
from tests.support.system import System, eventually
from tests.unit.query_api.test_index import put

UNKNOWN = "01900000-0000-7000-8000-000000000001"


@contextmanager
def started(system: System, **settings: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=system.start_query_api(**settings).url, timeout=30) as reader:
        eventually(lambda: reader.get("/ready").status_code == 200)
        yield reader


@pytest.fixture
def reader(own: Api, system: System, monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    """Grant ten reads a minute to each caller.

    No search counts as long, however busy the machine is.
    """
    monkeypatch.setattr("query_api.catalogue.slicing.SLICE_S", 60.0)
    assert own.movie()
    with started(system, read_limit_address=10, read_limit_caller=5) as client:
        yield client


def require_refused(answer: httpx.Response) -> None:
    assert answer.status_code == 429, answer.text
    assert answer.json()["type"].endswith(":too-many-requests")
    assert int(answer.headers["retry-after"]) >= 1
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    "path", ["/v1/movies", f"/v1/movies/{UNKNOWN}", f"/v1/movies/{UNKNOWN}/stats", "/v1/movies?q=a"]
)
def test_an_address_reads_so_often_and_no_more(reader: httpx.Client, path: str) -> None:
    """Whether ahead of the framework or behind it; a read is charged once."""
    assert {reader.get(path).status_code for _ in range(10)} <= {200, 404}
    require_refused(reader.get(path))
    require_refused(reader.get(f"/v1/users/{UNKNOWN}/ratings"))
    assert reader.get("/ready").status_code == 200
    assert reader.get("/health").status_code == 200


def test_a_member_is_charged_and_not_their_address(own: Api, reader: httpx.Client) -> None:
    member = own.sign_up()
    own.read("/v1/users/me", member)
    answers = [reader.get("/v1/movies", headers=member.headers) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    require_refused(answers[-1])
    assert reader.get("/v1/movies").status_code == 200


def test_tokens_that_are_not_believed_are_charged_to_their_address(reader: httpx.Client) -> None:
    forged = {"Authorization": "Bearer x.y.z"}
    statuses = [reader.get("/v1/movies", headers=forged).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]


def test_every_answer_states_the_limit(own: Api, reader: httpx.Client) -> None:
    """Whatever it is, and of whom it is; a token more is there after 6 or 12 seconds."""
    member = own.sign_up()
    own.read("/v1/users/me", member)
    asked = [
        ("GET", "/v1/movies", {}, 200),
        ("GET", "/nowhere", {}, 404),
        ("PUT", "/v1/movies", {}, 405),
        ("GET", "/v1/movies?limit=0", {}, 422),
        ("GET", "/v1/users/me", {}, 401),
        ("GET", "/v1/movies", {"Authorization": "Bearer x.y.z"}, 401),
        ("GET", f"/v1/movies/{UNKNOWN}", {}, 404),
    ]
    for nth, (method, path, headers, status) in enumerate(asked):
        answer = reader.request(method, path, headers=headers)
        assert answer.status_code == status
        assert answer.headers["ratelimit-policy"] == '"address";q=10;w=60'
        assert answer.headers["ratelimit"] == f'"address";r={9 - nth};t=6', path
    answer = reader.get("/v1/movies", headers=member.headers)
    assert answer.headers["ratelimit"] == '"caller";r=4;t=12'
    for _ in range(4):
        answer = reader.get("/nowhere")
    assert answer.status_code == 429
    assert answer.headers["ratelimit"].startswith('"address";r=0;t=')


def test_one_caller_waits_for_so_many_positions_and_no_more(own: Api, system: System) -> None:
    with started(system, waiters_per_caller_max=2) as reader:
        wanted = {AT_LEAST: str(own.position + 1_000_000)}
        statuses: list[int] = []

        def wait() -> None:
            statuses.append(reader.get(f"/v1/movies/{UNKNOWN}", headers=wanted).status_code)

        threads = [threading.Thread(target=wait) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(statuses) == {429, 503}
        assert statuses.count(429) >= 1
        # Their places are free again.
        assert reader.get(f"/v1/movies/{UNKNOWN}", headers=wanted).status_code == 503


def test_one_caller_opens_so_many_streams_and_no_more(own: Api, system: System) -> None:
    member = own.sign_up()
    own.read("/v1/users/me", member)
    with started(system, streams_per_caller_max=2) as reader:
        with reader.stream("GET", "/v1/stream") as one, reader.stream("GET", "/v1/stream") as two:
            assert (one.status_code, two.status_code) == (200, 200)
            require_refused(reader.get("/v1/stream"))
            with reader.stream("GET", "/v1/stream", headers=member.headers) as of_member:
                assert of_member.status_code == 200

        def again() -> bool:
            with reader.stream("GET", "/v1/stream") as stream:
                return stream.status_code == 200

        eventually(again)


def test_long_searches_take_turns_with_everything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each continues after all others had a turn, and the loop turns between any two steps."""
    monkeypatch.setattr("query_api.catalogue.slicing.SLICE_S", 0.0)
    monkeypatch.setattr("query_api.catalogue.search.LONG_SEARCHES_MAX", 3)
    index = Index()
    for number in range(1, 4_000):
        put(index, number)

    async def run() -> tuple[int, list[object]]:
        searches, turns = Searches(), 0
        running = [
            asyncio.ensure_future(
                searches.run(search(index, "title", Filter(genre="none"), after=None, limit=9))
            )
            for _ in range(4)
        ]
        while not all(one.done() for one in running):
            await asyncio.sleep(0)
            turns += 1
        return turns, list(await asyncio.gather(*running, return_exceptions=True))

    turns, results = asyncio.run(run())
    assert results[:3] == [[], [], []]
    assert isinstance(results[3], Overloaded)
    assert turns >= 3 * 7
