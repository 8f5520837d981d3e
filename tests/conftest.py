"""Fixtures: servers for the session, systems for modules and tests, and operators' commands.

Each module or test that asks for a system has its own.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from itertools import chain, groupby, islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import hypothesis
import pytest
import structlog
from rq import Worker
from rq.serializers import JSONSerializer
from typer.testing import CliRunner, Result

from ops.cli import app
from ops.home.access import jobs_settings
from ops.home.folder import Home
from ops.jobs import JobQueue
from ops.options import DEFAULT_HOME
from shared.log.schema import PROJECTOR_ROLE
from tests.support.api import Api
from tests.support.servers import Servers
from tests.support.system import System, eventually

# A shell has what it runs in the background ignore Ctrl-C, and so would every child of the tests.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# `nohup` does the same with a hang-up. The tests themselves still ignore it; their children do not,
# because a handler is not inherited.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda *_: None)

# Every client of httpx reads the machine's certificates, 20 ms of processor time each, although the
# tests speak plain HTTP. This folder does not exist, so that there are none to read.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.fspath(Path(__file__).with_name("no_certificates"))

# How long an example takes says how busy the machine is, and nothing of the code.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# By default, structlog renders the local variables of each frame of a traceback: seconds for some.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

_configure = structlog.configure

# The folders with the longest tests.
LONG = frozenset({"acceptance", "browser", "faults"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have each process begin with long tests, so that the short ones fill up the end."""
    processes: int = getattr(config, "workerinput", {}).get("workercount", 1)
    modules = [list(module) for _, module in groupby(items, key=lambda item: item.path)]
    long = [module for module in modules if module[0].path.parent.name in LONG]
    short = chain.from_iterable(
        module for module in modules if module[0].path.parent.name not in LONG
    )
    shares = [list(chain.from_iterable(long[place::processes])) for place in range(processes)]
    # Each process is first given as many tests in a row, and takes from the others' ends later.
    for share in shares:
        share.extend(islice(short, max(0, len(items) // processes - len(share))))
    if processes > 1:
        items[:] = [*chain.from_iterable(shares), *short]


def _configure_uncached(**options: Any) -> None:
    """A logger that is kept from one test would write to the streams of that test."""
    _configure(**options | {"cache_logger_on_first_use": False})


patch.object(structlog, "configure", _configure_uncached).start()

Starfold = Callable[..., Result]
Work = Callable[[], None]


@pytest.fixture(autouse=True)
def _own_process() -> Iterator[None]:
    """Give each test its own variables and log, which a command in this process sets."""
    log = structlog.get_config()
    with patch.dict(os.environ):
        yield
    structlog.configure(**log)


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
def module_system(servers: Servers) -> Iterator[System]:
    """The system that `api` calls, shared by a module's tests."""
    shared = System(servers)
    yield shared
    shared.close()


@pytest.fixture(scope="module")
def api(module_system: System) -> Iterator[Api]:
    """A whole running system, shared by a module's tests."""
    command, query = module_system.start_command_api(), module_system.start_query_api()
    module_system.start_projector()
    with Api(command.url, query.url, module_system.service_key()) as client:
        wait_ready(client)
        yield client


@pytest.fixture
def starfold(system: System, monkeypatch: pytest.MonkeyPatch) -> Starfold:
    settings = system.servers.home.environment(PROJECTOR_ROLE)
    for name, value in (settings | {"STARFOLD_DATABASE_SCHEMA": system.schema}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


@pytest.fixture
def work(starfold: Starfold) -> Iterator[Work]:
    """Does every job in the queue, by `starfold`'s settings; commands see a worker."""
    jobs = JobQueue(jobs_settings(Home(DEFAULT_HOME)))
    worker = Worker([jobs.queue], connection=jobs.connection, serializer=JSONSerializer)
    worker.register_birth()

    def work() -> None:
        for job in jobs.queue.jobs:
            jobs.queue.remove(job)
            job.perform()

    yield work
    worker.register_death()


def wait_ready(client: Api) -> None:
    eventually(lambda: client.query.get("/ready").status_code == 200)
