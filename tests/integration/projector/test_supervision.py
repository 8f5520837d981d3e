"""The projector's threads: none dies unnoticed, and each finds the Redis that takes writes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import redis
from prometheus_client import REGISTRY

from ops.home.folder import Home
from ops.home.redis_users import OWNER
from ops.local.servers import valkey_spec
from projector.building.upkeep import Upkeep
from projector.following.follower import Follower
from projector.scrubber import Scrubber
from projector.status import StatusKeeper
from shared.read_model.status import STATUS_KEY
from tests.support.api import AT_LEAST
from tests.support.ports import free_port
from tests.support.read_models import wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.servers import Server, Servers
from tests.support.system import System, eventually

FAILURES = "starfold_task_failures_total"
STEPS: dict[str, tuple[type, str]] = {
    "following": (Follower, "run_pass"),
    "upkeep": (Upkeep, "run_once"),
    "scrubbing": (Scrubber, "run_once"),
    "status": (StatusKeeper, "run_once"),
}
HEALED_WITHIN_S = 30.0


class Unforeseen(Exception):
    """No task expects it."""


@pytest.mark.parametrize("task", STEPS)
def test_a_thread_survives_an_error_that_nobody_foresaw(
    system: System, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    """It is logged with its task, counted, and the task resumes its work."""
    owner, step = STEPS[task]
    real, calls = getattr(owner, step), []

    def fails_at_first(self: Any, *arguments: Any) -> Any:
        calls.append(task)
        if len(calls) == 1:
            raise Unforeseen
        return real(self, *arguments)

    monkeypatch.setattr(owner, step, fails_at_first)
    before = REGISTRY.get_sample_value(FAILURES, {"task": task}) or 0
    history = History(system)
    system.start_projector()
    eventually(lambda: len(calls) > 2)
    assert REGISTRY.get_sample_value(FAILURES, {"task": task}) == before + 1
    history.go_on()
    wait_until_applied(system.projector_wiring())
    eventually(lambda: system.redis.exists(STATUS_KEY))


@pytest.fixture
def other(servers: Servers) -> Iterator[Home]:
    """A second Valkey, empty, with the same users."""
    folder = Path(tempfile.mkdtemp(prefix="sf-other-"))
    home = Home(folder / "home")
    home.create()
    servers.home.secrets()
    shutil.copy2(servers.home.path / "secrets.json", home.path)
    server = Server(valkey_spec(home))
    server.start()
    yield home
    server.stop()
    shutil.rmtree(folder)


def _linked(home: Home, link: Path) -> str:
    """The address of a home's Valkey by a link, which can be made to lead elsewhere."""
    socket = quote(str(home.sockets() / "valkey.sock"))
    return home.redis_url().replace(socket, quote(str(link)))


def _lead(link: Path, home: Home) -> None:
    fresh = link.with_suffix(".new")
    fresh.symlink_to(home.sockets() / "valkey.sock")
    fresh.replace(link)


def _demote(client: Any, primary: Any, home: Home) -> None:
    """Make a server the replica of another one, in place: its connections stay."""
    port = free_port()
    primary.config_set("bind", "127.0.0.1")
    primary.config_set("port", port)
    client.config_set("masteruser", OWNER)
    client.config_set("masterauth", home.secrets().redis_passwords[OWNER])
    client.replicaof("127.0.0.1", port)
    eventually(lambda: client.info("replication")["master_link_status"] == "up")


class TestARedisThatIsDemotedInPlace:
    def test_is_left_by_every_thread_for_the_new_primary(self, system: System, other: Home) -> None:
        own = system.servers.home
        new: Any = redis.Redis.from_url(other.redis_url())
        link = other.path / "address"
        _lead(link, own)
        url = _linked(own, link)
        old: Any = system.redis
        history = History(system)
        query = system.start_query_api(redis_url=url)
        system.start_projector(redis_url=url)
        wait_until_applied(system.projector_wiring())
        path = f"{query.url}/v1/movies/{history.movies[0]}"
        eventually(lambda: httpx.get(path).status_code == httpx.codes.OK)
        try:
            _demote(old, new, own)
            _lead(link, other)
            history.go_on()
            head = str(system.event_store().head())
            eventually(
                lambda: httpx.get(path, headers={AT_LEAST: head}).status_code == httpx.codes.OK,
                HEALED_WITHIN_S,
            )
            written_at = new.get(STATUS_KEY)
            eventually(lambda: new.get(STATUS_KEY) != written_at)
        finally:
            old.replicaof("NO", "ONE")
            new.close()

    def test_is_filled_again_when_it_is_promoted(self, system: System, other: Home) -> None:
        """As a replica it lost all that it had."""
        own = system.servers.home
        new: Any = redis.Redis.from_url(other.redis_url())
        old: Any = system.redis
        history = History(system)
        query = system.start_query_api()
        system.start_projector()
        wait_until_applied(system.projector_wiring())
        path = f"{query.url}/v1/movies/{history.movies[0]}"
        eventually(lambda: httpx.get(path).status_code == httpx.codes.OK)
        try:
            _demote(old, new, own)
            assert old.dbsize() == 0
            history.go_on()
        finally:
            old.replicaof("NO", "ONE")
            new.close()
        head = str(system.event_store().head())
        eventually(
            lambda: httpx.get(path, headers={AT_LEAST: head}).status_code == httpx.codes.OK,
            HEALED_WITHIN_S,
        )
