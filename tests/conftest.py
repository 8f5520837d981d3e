"""Fixtures: the servers once a session, a system of its own for a module or for a test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api import Api
from tests.servers import Servers
from tests.system import System, eventually


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    started = Servers()
    try:
        started.start()
        yield started
    finally:
        started.close()


@pytest.fixture
def system(servers: Servers) -> Iterator[System]:
    """A system for one test, which may break it."""
    own = System(servers)
    yield own
    own.close()


@pytest.fixture
def own(system: System) -> Iterator[Api]:
    """A whole running system for one test, which may stop its servers."""
    command, query = system.start_command_api(), system.start_query_api()
    system.start_projector()
    with Api(command.url, query.url, system.service_key()) as client:
        wait_ready(client)
        yield client


@pytest.fixture(scope="module")
def api(servers: Servers) -> Iterator[Api]:
    """A whole running system, shared by a module's tests."""
    shared = System(servers)
    command, query = shared.start_command_api(), shared.start_query_api()
    shared.start_projector()
    with Api(command.url, query.url, shared.service_key()) as client:
        wait_ready(client)
        yield client
    shared.close()


def wait_ready(client: Api) -> None:
    eventually(lambda: client.query.get("/ready").status_code == 200)
