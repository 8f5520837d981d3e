"""Servers that stop and come back: reads without PostgreSQL, writes without Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from query_api.redis_reads.coalescing import CoalescedReads
from shared.errors import Unavailable
from shared.read_model.keys import MOVIES, PartitionKeys
from tests.support.api import POSITION, Api
from tests.support.ports import free_port
from tests.support.system import System, eventually


def test_without_postgresql_every_read_answers(system: System, own: Api) -> None:
    ann = own.sign_up(name="Ann")
    movie_id = own.movie("Solaris")
    own.rate(ann, movie_id, 4.5)
    rating = {"movie_id": movie_id, "score": 2}
    paths = [
        "/v1/movies",
        "/v1/movies?q=sol",
        f"/v1/movies/{movie_id}",
        f"/v1/movies/{movie_id}/ratings",
        f"/v1/users/{ann.user_id}",
        "/v1/users/me",
        f"/v1/users/{ann.user_id}/ratings",
        f"/v1/users/{ann.user_id}/ratings/{movie_id}",
    ]
    before = [own.read(path, ann) for path in paths]
    system.servers.postgres.stop()
    try:
        assert [own.read(path, ann) for path in paths] == before
        refused = [
            own.rate(ann, movie_id, 2),
            own.post("/v1/sessions", {"email": ann.email, "password": "x" * 10}),
            own.post("/v1/movies", {"title": "Mirror", "year": 1975}, own.service),
            own.post("/v1/ratings/batch", {"ratings": [rating]}, ann.headers),
        ]
        for answer in refused:
            assert answer.status_code == 503
            assert answer.json()["type"].endswith(("unavailable", "outcome-unknown"))
            assert "Retry-After" in answer.headers
        assert own.command.get("/ready").status_code == 503
        assert own.command.get("/health").status_code == 200
    finally:
        system.servers.postgres.start()
    eventually(lambda: own.command.get("/ready").status_code == 200)
    assert own.rate(ann, movie_id, 2).status_code == 200
    eventually(lambda: own.get(f"/v1/movies/{movie_id}").status_code == 200)
    assert own.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 2


def test_without_redis_every_write_succeeds_and_shows_later(system: System, own: Api) -> None:
    ann, movie_id, operator = own.sign_up(), own.movie(), own.sign_up(role="operator")
    assert own.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 0
    system.servers.valkey.stop()
    try:
        assert own.rate(ann, movie_id, 3.5).status_code == 201
        ben = own.sign_up(name="Ben")
        assert own.rate(ben, movie_id, 0.5).status_code == 201
        for path in (f"/v1/movies/{movie_id}", f"/v1/users/{ann.user_id}"):
            answer = own.query.get(path)
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True), path
        assert own.query.get("/ready").status_code == 503
        assert own.get("/v1/projections", operator).status_code == 503
        listed = own.query.get("/v1/movies")
        assert listed.status_code == 200, "the catalogue's index is in memory"
        assert int(listed.headers[POSITION]) < own.position
    finally:
        system.servers.valkey.start()
    eventually(lambda: own.get(f"/v1/movies/{movie_id}").status_code == 200)
    assert own.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 2


def test_a_redis_that_hangs_is_a_503_until_it_goes_on(system: System, own: Api) -> None:
    ann, movie_id, operator = own.sign_up(), own.movie(), own.sign_up(role="operator")
    own.rate(ann, movie_id, 4)
    open_paths = [f"/v1/movies/{movie_id}", f"/v1/users/{ann.user_id}", "/ready"]
    paths = [*open_paths, "/v1/projections"]
    eventually(lambda: all(own.get(path, operator).status_code == 200 for path in paths))
    with hanging(system):
        answers = [own.get(path) for path in open_paths]
        answers += [own.get(path, operator) for path in paths]
        for answer in answers:
            assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
            assert answer.json()["type"].endswith(":unavailable")
    eventually(lambda: all(own.get(path, operator).status_code == 200 for path in paths))


def test_while_redis_hangs_one_read_tries_and_all_others_are_refused(system: System) -> None:
    keys = PartitionKeys(MOVIES, 1, 0)

    async def read() -> None:
        async with redis.asyncio.Redis.from_url(system.servers.home.redis_url()) as client:
            reads = CoalescedReads(client)
            await reads.documents(keys, ())
            with hanging(system):
                first = asyncio.create_task(reads.documents(keys, ()))
                with pytest.raises(Unavailable):
                    await first
                trying = asyncio.create_task(reads.documents(keys, ()))
                await asyncio.sleep(0)
                for _ in range(3):
                    with pytest.raises(Unavailable):
                        await reads.documents(keys, ())
                assert not trying.done()
            await trying
            await reads.documents(keys, ())

    asyncio.run(read())


def test_an_outage_is_logged_once_a_second_and_not_for_every_read(system: System) -> None:
    keys = PartitionKeys(MOVIES, 1, 0)

    async def read() -> None:
        # Nothing listens there.
        at_once = Retry(NoBackoff(), 0)
        async with redis.asyncio.Redis(port=free_port(), retry=at_once) as client:
            reads = CoalescedReads(client)
            for _ in range(50):
                with pytest.raises(Unavailable):
                    await reads.documents(keys, ())

    started = time.monotonic()
    with structlog.testing.capture_logs() as logged:
        asyncio.run(read())
    lines = [one for one in logged if one["event"] == "read_models_unavailable"]
    assert 1 <= len(lines) <= 1 + time.monotonic() - started


@contextmanager
def hanging(system: System) -> Iterator[None]:
    """Valkey takes connections and answers nothing."""
    process = system.redis.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_an_emptied_redis_is_never_a_false_404(system: System, own: Api) -> None:
    ann, movie_id = own.sign_up(), own.movie()
    own.rate(ann, movie_id, 4)
    assert own.read(f"/v1/movies/{movie_id}")["ratings"]["count"] == 1
    system.redis.flushall()
    statuses: set[int] = set()

    def rebuilt() -> bool:
        answers = [
            own.get(f"/v1/movies/{movie_id}"),
            own.get(f"/v1/users/{ann.user_id}"),
            own.get("/v1/movies"),
        ]
        statuses.update(answer.status_code for answer in answers)
        return all(answer.status_code == 200 for answer in answers)

    eventually(rebuilt)
    assert statuses <= {200, 503}
    assert own.read(f"/v1/movies/{movie_id}")["ratings"]["average"] == 4
