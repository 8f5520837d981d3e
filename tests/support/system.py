"""A whole Starfold in this process, on real servers.

It has its own database schema, an empty Redis, and a thread for each service.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol, TypeVar
from uuid import uuid4

import psycopg
import redis
import uvicorn
from psycopg import sql

import command_api.app
import console.app
import query_api.app
from command_api.commit.committer import Committer
from command_api.settings import CommandSettings
from command_api.store.commit_store import CommitStore
from command_api.store.server import Server
from command_api.store.store import Store as CommandStore
from console.pages.site import Console
from console.settings import ConsoleSettings
from ops.home import redis_users
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from projector.worker import Projector
from query_api.settings import QuerySettings
from shared.log.codec import Codec
from shared.log.event_store import EventStore
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate
from shared.log.sealing import KeyWrap
from shared.web.serving.protocol import GatheringProtocol
from tests.support.servers import Servers

WITHIN_S = 20.0
POLL_S = 0.01
PREFIX = "STARFOLD_"
ALL_SCOPES = ["users", "ratings", "movies", "roles", "erasure", "operate"]

# The least that the settings allow: what a password costs is no matter of the tests.
CHEAP_ARGON2 = {"argon2_memory_kib": 8 * 1024, "argon2_iterations": 1, "argon2_parallelism": 1}


class Stoppable(Protocol):
    """A service that a system stops when it is closed."""

    def stop(self) -> None: ...


Running = TypeVar("Running", bound=Stoppable)
Store = TypeVar("Store", bound=CommitStore)
Value = TypeVar("Value")

_numbers = itertools.count(1)


class RunningApp:
    """An application that listens on a free port of this machine.

    With `send_bytes_max` the kernel takes no more than some such of what is sent and not yet read;
    `options` are uvicorn's.
    """

    def __init__(self, app: Any, *, send_bytes_max: int | None = None, **options: Any) -> None:
        self._socket = socket.socket()
        if send_bytes_max is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes_max)
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=GatheringProtocol,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=5,
                **{"proxy_headers": False, **options},
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="app", daemon=True
        )
        self._thread.start()
        eventually(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the application does not stop"
        self._socket.close()


class RunningProjector:
    """A projector on a thread; `stop` is what SIGTERM does."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self._projector = Projector(settings)
        self._thread = threading.Thread(target=self._projector.run, name="projector", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._projector.stop()
        self._thread.join(WITHIN_S)
        assert not self._thread.is_alive(), "the projector does not stop"


class System:
    """The parts that a test needs; a service starts on first use.

    Only one at a time: a new one empties Redis, unless it is created to keep the contents.
    """

    def __init__(
        self,
        servers: Servers,
        *,
        keep_redis: bool = False,
        redis_url: Callable[[str], str] | None = None,
    ) -> None:
        """`redis_url` gives the URL of other servers for the read models, by user."""
        self.servers = servers
        self._redis_url = redis_url
        self.schema = f"t{os.getpid()}_{next(_numbers)}"
        self._closers: list[Callable[[], object]] = []
        home = servers.home
        migrate(home.owner_dsn(), schema=self.schema, roles=home.secrets().role_passwords)
        self.redis = redis.Redis.from_url(home.redis_url())
        if not keep_redis:
            self.redis.flushall()

    def command_settings(self, **changes: Any) -> CommandSettings:
        return CommandSettings(**{**self._environment(COMMAND_ROLE), **CHEAP_ARGON2, **changes})

    def command_environment(self) -> dict[str, str]:
        """The same as variables, for a process of its own."""
        return _variables({**self._environment(COMMAND_ROLE), **CHEAP_ARGON2})

    def projector_environment(self) -> dict[str, str]:
        return _variables(self._environment(PROJECTOR_ROLE, redis_users.PROJECTOR))

    def projector_settings(self, **changes: Any) -> ProjectorSettings:
        # A command that ran in this process may have left its home's outbox in the environment.
        without_mails = {"mail_outbox": None, "smtp_url": None}
        own = self._environment(PROJECTOR_ROLE, redis_users.PROJECTOR)
        return ProjectorSettings(**{**own, **without_mails, **changes})

    def query_settings(self, **changes: Any) -> QuerySettings:
        return QuerySettings(
            **{**self._environment(PROJECTOR_ROLE, redis_users.QUERY_API), **changes}
        )

    def console_settings(self, **changes: Any) -> ConsoleSettings:
        return ConsoleSettings(**{**self._environment(PROJECTOR_ROLE), **changes})

    def start_console(self, **changes: Any) -> RunningApp:
        settings = self.console_settings(**changes)
        return self.closing(RunningApp(Console(console.app.create_app(settings), settings)))

    def start_command_api(self, **changes: Any) -> RunningApp:
        return self.closing(
            RunningApp(command_api.app.create_app(self.command_settings(**changes)))
        )

    def start_query_api(self, **changes: Any) -> RunningApp:
        return self.closing(RunningApp(query_api.app.create_app(self.query_settings(**changes))))

    def start_projector(self, **changes: Any) -> RunningProjector:
        return self.closing(RunningProjector(self.projector_settings(**changes)))

    def event_store(self, role: str = COMMAND_ROLE, *, pool_size: int = 4) -> EventStore:
        store = EventStore(self.dsn(role), schema=self.schema, pool_size=pool_size)
        self._closers.append(store.close)
        return store

    def commit_store(self, kind: type[Store] = CommitStore) -> Store:  # type: ignore[assignment]  # The default is the widest.
        store = kind(self.command_server())
        self._closers.append(lambda: asyncio.run(store.close()))
        return store

    def command_server(self) -> Server:
        return Server(self.dsn(COMMAND_ROLE), schema=self.schema)

    def command_store(self) -> CommandStore:
        store = CommandStore(self.command_server())
        self._closers.append(lambda: asyncio.run(store.close()))
        return store

    def committer(self, store: CommitStore | None = None) -> Committer:
        return Committer(store or self.commit_store(), self.codec(), self.key_wrap())

    def projector_wiring(self) -> Wiring:
        wiring = wire(self.projector_settings())
        self._closers.append(wiring.close)
        return wiring

    def codec(self) -> Codec:
        return Codec()

    def key_wrap(self) -> KeyWrap:
        return KeyWrap(self.command_settings().sealing_key.get_secret_value())

    def dsn(self, role: str) -> str:
        home = self.servers.home
        return home.dsn(role, home.secrets().role_passwords[role])

    def owner(self) -> psycopg.Connection[Any]:
        """A connection that may do everything in this system's schema."""
        connection = psycopg.connect(
            self.servers.home.owner_dsn(),
            autocommit=True,
            options=f"-c search_path={self.schema}",
        )
        self._closers.append(connection.close)
        return connection

    def service_key(self, scopes: list[str] | None = None) -> str:
        key_id, secret = uuid4(), secrets.token_urlsafe(32)
        with psycopg.connect(self.servers.home.owner_dsn()) as connection:
            connection.execute(
                sql.SQL(
                    "INSERT INTO {}.service_keys (key_id, name, secret_hash, scopes)"
                    " VALUES (%s, 'test', %s, %s)"
                ).format(sql.Identifier(self.schema)),
                [
                    key_id,
                    hashlib.sha256(secret.encode()).digest(),
                    ALL_SCOPES if scopes is None else scopes,
                ],
            )
        return f"sfk_{key_id.hex}_{secret}"

    def closing(self, running: Running) -> Running:
        """It is stopped when the system is closed."""
        self._closers.append(running.stop)
        return running

    def close(self) -> None:
        for close in reversed(self._closers):
            close()
        self.redis.close()
        with psycopg.connect(self.servers.home.owner_dsn()) as connection:
            connection.execute(
                sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.schema))
            )

    def _environment(self, role: str, redis_user: str = redis_users.WORKER) -> dict[str, Any]:
        own = self.servers.home.environment(role, redis_user)
        if self._redis_url is not None:
            own["STARFOLD_REDIS_URL"] = self._redis_url(redis_user)
        return {name.removeprefix(PREFIX).lower(): value for name, value in own.items()} | {
            "database_schema": self.schema
        }


def _variables(settings: dict[str, Any]) -> dict[str, str]:
    return {f"{PREFIX}{name.upper()}": str(value) for name, value in settings.items()}


def eventually(condition: Callable[[], Value | None], within_s: float = WITHIN_S) -> Value:
    """Wait until it holds, and return what it then is; fails the test when it never does."""
    give_up_at = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < give_up_at, "it never happened"
        time.sleep(POLL_S)
    return value
