"""Every process is replaced under load, one after the other: no client sees an error.

`STARFOLD_OLD_RELEASE` names a checkout with its own `.venv` from which the first processes run;
without it they are of this release.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest

from ops.home import redis_users
from projector.projections import DEFINITIONS
from shared.log.events import RatingSubmitted
from shared.log.schema import PROJECTOR_ROLE, migrate
from tests.conftest import Starfold
from tests.support.api import AT_LEAST, PASSWORD, POSITION
from tests.support.faults.balancer import Balanced, Balancer
from tests.support.log import assert_unbroken, read_log
from tests.support.processes import PRESENT, CommandProcess, Process, Release
from tests.support.read_models import assert_exact_at_head
from tests.support.system import System, eventually

OLD = os.environ.get("STARFOLD_OLD_RELEASE")
COPIES, CLIENTS, MOVIES = 2, 4, 8
# Longer than the balancer needs to notice, also on a busy machine.
DRAIN_S = 3
WITHOUT_DRAIN_S = 1.0
ROUNDS_BETWEEN = 25


class Clients:
    """Each rates as a user of its own, and reads at the position of its last rating."""

    def __init__(self, command: Balancer, query: Balancer, movies: list[str]) -> None:
        self._command, self._query = command, query
        self._movies = movies
        self._stop = threading.Event()
        self.rounds = [0] * CLIENTS
        self.acknowledged: list[tuple[str, str, float]] = []
        self.errors: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            tasks = [pool.submit(self._work, number) for number in range(CLIENTS)]
            try:
                yield
            finally:
                self._stop.set()
            for task in tasks:
                task.result()

    def wait_rounds(self) -> None:
        """Wait until every client has continued undisturbed for a while."""
        wanted = [rounds + ROUNDS_BETWEEN for rounds in self.rounds]
        eventually(
            lambda: (
                self.errors or all(now >= one for now, one in zip(self.rounds, wanted, strict=True))
            ),
            within_s=60.0,
        )
        assert self.errors == []

    def _work(self, number: int) -> None:
        with Balanced(self._command) as command, Balanced(self._query) as query:
            try:
                user, headers = _signed_up(command, number)
                for turn in itertools.count():
                    if self._stop.is_set():
                        return
                    self._rate_and_read(command, query, user, headers, turn)
                    self.rounds[number] += 1
            except Exception as error:  # noqa: BLE001  # The test shows it.
                self.errors.append(f"client {number}: {error!r}")

    def _rate_and_read(
        self,
        command: Balanced,
        query: Balanced,
        user: str,
        headers: Mapping[str, str],
        turn: int,
    ) -> None:
        movie = self._movies[turn % MOVIES]
        # Another one than the time before: the same opinion again records nothing.
        score = 0.5 + (turn + turn // MOVIES) % 10 / 2
        path = f"/v1/movies/{movie}/rating"
        rated = command.send("PUT", path, json={"score": score}, headers=headers)
        assert rated.is_success, rated.text
        self.acknowledged.append((user, movie, score))
        at = {AT_LEAST: rated.headers[POSITION]}
        own = query.send("GET", f"/v1/users/{user}/ratings/{movie}", headers=at)
        assert own.is_success, own.text
        assert own.json()["score"] == score
        for path in (f"/v1/movies/{movie}", f"/v1/users/{user}", "/v1/movies?sort=average"):
            read = query.send("GET", path, headers=at)
            assert read.is_success, read.text


def _signed_up(command: Balanced, number: int) -> tuple[str, dict[str, str]]:
    body = {"email": f"client{number}@example.org", "password": PASSWORD, "display_name": "Ann"}
    created = command.send("POST", "/v1/users", json=body)
    assert created.is_success, created.text
    del body["display_name"]
    opened = command.send("POST", "/v1/sessions", json=body)
    assert opened.is_success, opened.text
    return created.json()["user_id"], {"Authorization": f"Bearer {opened.json()['access_token']}"}


class Deployment:
    """Copies of both APIs behind a balancer each, a projector and a worker."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.balancers = {service: Balancer() for service in ("command_api", "query_api")}
        for balancer in self.balancers.values():
            system.closing(balancer)
        self._running: dict[str, list[Process]] = {}

    def start(self, service: str, release: Release) -> None:
        process = self._system.closing(self._process(service, release))
        if service in self.balancers:
            self.balancers[service].add(process.url)
        else:
            process.wait_logged(f"{service.removeprefix('ops.')}_started")
        self._running.setdefault(service, []).append(process)

    def stop_oldest(self, service: str) -> None:
        process = self._running[service].pop(0)
        balancer = self.balancers.get(service)
        if balancer is not None and OLD is not None:
            balancer.remove(process.url)  # Earlier releases stop at once.
            time.sleep(WITHOUT_DRAIN_S)
        process.request_stop()
        assert process.wait_stopped() in (0, -signal.SIGTERM), process.output.read_text()

    def replace(self, service: str) -> None:
        """Start a process of this release for each running one, then stop that one."""
        for _ in self._running[service].copy():
            self.start(service, PRESENT)
            self.stop_oldest(service)

    def _process(self, service: str, release: Release) -> Process:
        drain = {"STARFOLD_DRAIN_S": str(DRAIN_S)}
        if service == "command_api":
            return CommandProcess(self._system, drain, release)
        users = {
            "query_api": redis_users.QUERY_API,
            "projector": redis_users.PROJECTOR,
            "ops.worker": redis_users.WORKER,
        }
        own = self._system.servers.home.environment(PROJECTOR_ROLE, users[service])
        own |= {"STARFOLD_DATABASE_SCHEMA": self._system.schema}
        return Process(self._system, service, own | drain, release)


@pytest.fixture
def deployment(system: System) -> Deployment:
    old = PRESENT if OLD is None else Release(f"{OLD}/.venv/bin/python", Path(OLD))
    deployed = Deployment(system)
    for service in ("projector", "query_api", "command_api", "ops.worker"):
        for _ in range(COPIES if service in deployed.balancers else 1):
            deployed.start(service, old)
    return deployed


@pytest.mark.timeout(900)
def test_no_client_sees_an_error(
    system: System, deployment: Deployment, starfold: Starfold
) -> None:
    service_key = {"Authorization": f"Bearer {system.service_key()}"}
    command, query = deployment.balancers["command_api"], deployment.balancers["query_api"]
    with Balanced(command) as curator:
        answers = [
            curator.send(
                "POST", "/v1/movies", json={"title": "Film", "year": 1970 + n}, headers=service_key
            )
            for n in range(MOVIES)
        ]
    clients = Clients(command, query, [answer.json()["movie_id"] for answer in answers])
    home = system.servers.home
    with clients.running():
        clients.wait_rounds()
        for _ in range(2):
            migrate(home.owner_dsn(), schema=system.schema, roles=home.secrets().role_passwords)
            assert starfold("replay", "movies", "--detach").exit_code == 0
            # In the order of docs/operating.md.
            for service in ("projector", "ops.worker", "query_api", "command_api"):
                deployment.replace(service)
                if service == "projector":
                    eventually(lambda: _all_switched(system), within_s=120.0)
                clients.wait_rounds()
    assert clients.errors == []
    log = read_log(system.event_store(), system.key_wrap())
    assert_unbroken(log)
    assert_exact_at_head(system)
    given = [
        (entry.event.user_id, entry.event.movie_id, entry.event.half_stars / 2)
        for entry in log
        if isinstance(entry.event, RatingSubmitted)
    ]
    wanted = [(UUID(user), UUID(movie), score) for user, movie, score in clients.acknowledged]
    assert sorted(given) == sorted(wanted)
    print(f"{len(wanted)} ratings, {sum(clients.rounds)} rounds of reads, no error")


def _all_switched(system: System) -> bool:
    """Whether this release's definitions are the live ones."""
    live = {
        one.projection: one.definition_version
        for one in system.projector_wiring().generations.all()
        if one.state == "active"
    }
    return live == {name: one.version for name, one in DEFINITIONS.items()}
