"""PostgreSQL vanishes without closing a connection: what needs it says so soon, and heals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import redis
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr

import projector.wiring
from projector.log import wakeup
from projector.log.wakeup import WakeUp
from query_api.read_limits import OpenPlaces
from query_api.redis_reads.freshness import Freshness
from shared.log import connections as postgres
from shared.log import event_store
from shared.log.connections import AsyncConnection
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE
from shared.read_model import clients as redis_clients
from shared.read_model.clients import async_redis_client
from tests.conftest import wait_ready
from tests.support.api import Api, User
from tests.support.faults.silent_proxy import SilentProxy, paused
from tests.support.system import System, eventually

# The deadlines of these tests; those of operation are a few times longer.
ANSWER_WITHIN_S = 1.0
CONNECT_WITHIN_S = 2  # psycopg's least.
# What a client is kept waiting for at most: a statement, a connection, and another statement.
SAID_WITHIN_S = 6.0
HEALED_WITHIN_S = 20.0


class Vanishing(Protocol):
    """Makes PostgreSQL vanish for as long as the context lasts."""

    def __call__(self) -> AbstractContextManager[None]: ...


@pytest.fixture(autouse=True)
def deadlines(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (projector.wiring, wakeup):
        monkeypatch.setattr(module, "ANSWER_WITHIN_S", ANSWER_WITHIN_S)
    for module in (event_store, postgres):
        monkeypatch.setattr(module, "CONNECT_WITHIN_S", CONNECT_WITHIN_S)
    monkeypatch.setattr(AsyncConnection, "answer_within_s", ANSWER_WITHIN_S)
    monkeypatch.setattr(wakeup, "RECONNECT_EVERY_S", 0.0)


@pytest.fixture
def proxy(system: System) -> Iterator[SilentProxy]:
    with SilentProxy(system.servers.home.sockets() / ".s.PGSQL.5432") as running:
        yield running


@pytest.fixture(params=["dropped packets", "a stopped server"])
def vanishing(request: pytest.FixtureRequest, system: System, proxy: SilentProxy) -> Vanishing:
    @contextmanager
    def dropping() -> Iterator[None]:
        proxy.silence()
        try:
            yield
        finally:
            proxy.heal()

    return (
        dropping if request.param == "dropped packets" else lambda: paused(system.servers.postgres)
    )


@pytest.fixture
def api(system: System, proxy: SilentProxy) -> Iterator[Api]:
    """A whole Starfold that reaches PostgreSQL through the proxy."""
    command = system.start_command_api(database_url=dsn(system, proxy, COMMAND_ROLE))
    query = system.start_query_api()
    system.start_projector(database_url=dsn(system, proxy, PROJECTOR_ROLE))
    with Api(command.url, query.url, system.service_key()) as client:
        wait_ready(client)
        yield client


def dsn(system: System, proxy: SilentProxy, role: str) -> str:
    return make_conninfo(system.dsn(role), host="127.0.0.1", port=proxy.port)


def test_what_needs_postgresql_is_503_while_it_is_silent_and_heals(
    system: System, api: Api, vanishing: Vanishing
) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    assert api.rate(ann, movie_id, 4).status_code == 201
    eventually(lambda: _score(api, ann, movie_id) == 4)
    unknown_key = {"Authorization": f"Bearer {system.service_key()}"}
    with vanishing():
        answers = [
            api.rate(ann, movie_id, 5),
            api.command.get("/ready"),
            api.command.post("/v1/movies", json={"title": "M", "year": 1931}, headers=unknown_key),
            api.command.post(
                "/v1/sessions", json={"email": ann.email, "password": "correct horse"}
            ),
        ]
        assert {answer.status_code for answer in answers} == {503}
        assert [answer.headers["content-type"] for answer in answers] == [
            "application/problem+json"
        ] * len(answers)
        assert max(answer.elapsed.total_seconds() for answer in answers) < SAID_WITHIN_S
        assert api.query.get(f"/v1/movies/{movie_id}").status_code == 200
    eventually(lambda: api.command.get("/ready").status_code == 200, HEALED_WITHIN_S)
    eventually(lambda: api.rate(ann, movie_id, 2).status_code == 200, HEALED_WITHIN_S)
    eventually(lambda: _score(api, ann, movie_id) == 2, HEALED_WITHIN_S)


def test_a_silent_postgresql_keeps_nobody_waiting_but_who_tries_it(
    api: Api, vanishing: Vanishing
) -> None:
    with vanishing():
        assert api.command.get("/ready").status_code == 503
        with httpx.Client(base_url=api.command.base_url, timeout=SAID_WITHIN_S) as other:
            assert other.get("/ready").status_code == 503
    eventually(lambda: api.command.get("/ready").status_code == 200, HEALED_WITHIN_S)


def test_a_connection_that_listens_to_silence_is_made_again(
    system: System, proxy: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wakeup, "SILENT_MAX_S", 0.0)
    wake_up = WakeUp(dsn(system, proxy, PROJECTOR_ROLE))
    wake_up.listen()
    proxy.silence()
    proxy.heal()
    wake_up.listen()
    with system.owner() as owner:
        owner.execute("NOTIFY events")
    began = time.monotonic()
    wake_up.wait(30.0)
    wake_up.close()
    assert time.monotonic() - began < 30.0


def _score(api: Api, user: User, movie_id: str) -> float | None:
    answer = api.query.get(f"/v1/users/{user.user_id}/ratings/{movie_id}", headers=user.headers)
    score: float | None = answer.json().get("score")
    return score


@pytest.fixture
def valkey(system: System) -> Iterator[SilentProxy]:
    with SilentProxy(system.servers.home.sockets() / "valkey.sock") as running:
        yield running


def behind(proxy: SilentProxy, url: SecretStr) -> str:
    """The same user and database, through the proxy."""
    own = urlsplit(url.get_secret_value())
    database = parse_qs(own.query).get("db", ["0"])[0]
    credentials, _, _ = own.netloc.rpartition("@")
    return f"redis://{credentials}@127.0.0.1:{proxy.port}/{database}"


def test_reads_are_503_while_redis_is_silent_and_heal(
    system: System, valkey: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_clients, "ANSWER_WITHIN_S", ANSWER_WITHIN_S)
    command = system.start_command_api()
    query = system.start_query_api(redis_url=behind(valkey, system.query_settings().redis_url))
    projecting = system.projector_settings()
    system.start_projector(redis_url=behind(valkey, projecting.redis_url))
    with Api(command.url, query.url, system.service_key()) as api:
        wait_ready(api)
        ann, movie_id = api.sign_up(), api.movie()
        api.rate(ann, movie_id, 4)
        eventually(lambda: _score(api, ann, movie_id) == 4)
        valkey.silence()
        answers = [api.query.get(path) for path in (f"/v1/movies/{movie_id}", "/ready")]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert max(answer.elapsed.total_seconds() for answer in answers) < SAID_WITHIN_S
        assert api.rate(ann, movie_id, 3).status_code == 200
        valkey.heal()
        eventually(lambda: api.query.get("/ready").status_code == 200, HEALED_WITHIN_S)
        eventually(lambda: _score(api, ann, movie_id) == 3, HEALED_WITHIN_S)


def test_a_subscription_that_is_silent_is_made_again(
    system: System, valkey: SilentProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("query_api.redis_reads.freshness.SILENT_MAX_S", 0.1)
    monkeypatch.setattr("query_api.redis_reads.freshness.LOOK_EVERY_S", 0.1)
    url = behind(valkey, system.query_settings().redis_url)

    async def lost_and_made_again() -> None:
        client = async_redis_client(url, connect_within_s=1)
        freshness = Freshness(client, OpenPlaces("waiting reads", 0))
        news = freshness.news
        await freshness.wait_for(news, 0)
        silenced = False

        def alive() -> None:
            nonlocal silenced
            if news.is_set() and not silenced:
                valkey.silence()
                silenced = True

        with pytest.raises(redis.ConnectionError):
            await freshness.step(alive)
        valkey.heal()
        again = freshness.news
        await freshness.wait_for(again, 0)
        listening = asyncio.create_task(freshness.step(lambda: None))
        await freshness.wait_for(again, 10)
        listening.cancel()
        await asyncio.wait({listening})
        await client.aclose()
        assert again.is_set()

    asyncio.run(lost_and_made_again())
