"""A real `starfold up` in a temporary home, and the peers on the same PostgreSQL."""

from __future__ import annotations

import base64
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import UUID

import httpx
import psutil
import psycopg
from psycopg import sql

from bench.load import HOST
from ops.home.bootstrap import operator_of
from ops.home.folder import Home
from ops.local.child import POLL_S, Child, ChildSpec, stop_all
from projector.documents.store import ABSENT
from projector.projections import DEFINITIONS
from projector.settings import ProjectorSettings
from projector.wiring import Wiring, wire
from shared.ids import UserId
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE
from shared.read_model.checkpoints import decode_checkpoint
from shared.read_model.keys import PartitionKeys
from shared.web.tokens import TokenIssuer

REPOSITORY = Path(__file__).parents[1]
PREFIX = "STARFOLD_"
PEERS_DATABASE = "peers"
READY_WITHIN_S = 120.0
# All read models of a log of millions.
BUILT_WITHIN_S = 900.0
STOP_WITHIN_S = 40.0
CAUGHT_UP_WITHIN_S = 120.0
CAUGHT_UP_POLL_S = 0.01
# Length of a child's output to show when it does not start.
SHOWN_CHARS = 2_000


class Stack:
    """Everything that is measured; it cleans up whatever happens."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sf-bench-"))
        self.home = Home(self.folder / "home")
        self.command_port, self.query_port = _free_port(), _free_port()
        self.peers: dict[str, int] = {}
        self._children: list[Child] = []
        self._wiring: Wiring | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:  # Also on Ctrl-C: stop everything, then raise it again.
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def wiring(self) -> Wiring:
        """Connections with the projector's rights."""
        if self._wiring is None:
            self._wiring = wire(self.projector_settings)
        return self._wiring

    @property
    def projector_settings(self) -> ProjectorSettings:
        return _projector_settings(self.home.environment(PROJECTOR_ROLE))

    @property
    def service_key(self) -> str:
        return operator_of(self.home).api_key

    @property
    def peers_dsn(self) -> str:
        return self.home.owner_dsn(PEERS_DATABASE)

    def access_tokens(self, user_ids: Sequence[UUID]) -> list[str]:
        """Return tokens like a log-in's, without hashing a password for each."""
        private_key = base64.b64decode(self.home.secrets().token_private_key)
        issuer = TokenIssuer(private_key, issuer="starfold", audience="starfold")
        now_s = time.time()
        return [issuer.issue(UserId(user_id), "member", now_s=now_s) for user_id in user_ids]

    def start_peer(self, name: str) -> int:
        """Start `bench.peers.<name>` unless it runs; return its port."""
        if name not in self.peers:
            port = _free_port()
            self._start_child(
                ChildSpec(
                    name,
                    [sys.executable, "-m", f"bench.peers.{name}", str(port)],
                    self.peer_environment(),
                    ready=lambda: _answers(port),
                    output=self.folder / f"{name}.log",
                )
            )
            self.peers[name] = port
        return self.peers[name]

    @contextmanager
    def more_command_apis(self, count: int, **settings: str) -> Iterator[list[int]]:
        """Start more command APIs, with other settings if given; yield their ports."""
        ports = [_free_port() for _ in range(count)]
        environment = self.home.environment(COMMAND_ROLE)
        environment |= {f"{PREFIX}{name}": value for name, value in settings.items()}
        with self._beside([self._command_api(port, environment) for port in ports]):
            yield ports

    @contextmanager
    def other_read_models(self, settings: Mapping[str, str]) -> Iterator[int]:
        """Build all read models with the given settings, and start a query API on them.

        A projector builds them and stops; yield the query API's port.
        """
        environment = self.home.environment(PROJECTOR_ROLE)
        environment |= {f"{PREFIX}{name}": value for name, value in settings.items()}
        wiring = wire(_projector_settings(environment))
        try:
            built = ChildSpec(
                "projector-beside",
                [sys.executable, "-m", "projector"],
                environment,
                ready=lambda: _is_built(wiring),
                output=self.folder / "projector-beside.log",
            )
            with self._beside([built], within_s=BUILT_WITHIN_S):
                pass
        finally:
            wiring.close()
        with self.other_query_api(settings) as port:
            yield port

    @contextmanager
    def other_query_api(self, settings: Mapping[str, str]) -> Iterator[int]:
        """Start another query API with other settings; yield its port."""
        port = _free_port()
        environment = self.home.environment(PROJECTOR_ROLE)
        environment |= {f"{PREFIX}{name}": value for name, value in settings.items()}
        serving = ChildSpec(
            f"query-api-{port}",
            [sys.executable, "-m", "query_api"],
            environment | {f"{PREFIX}PORT": str(port)},
            ready=lambda: _answers(port, "/ready"),
            output=self.folder / f"query-api-{port}.log",
        )
        with self._beside([serving], within_s=BUILT_WITHIN_S):
            yield port

    @contextmanager
    def pages(self) -> Iterator[int]:
        """Start the public pages; yield their port."""
        port = _free_port()
        apis = {"COMMAND": self.command_port, "QUERY": self.query_port}
        addresses = {f"{PREFIX}{name}_URL": f"http://{HOST}:{at}" for name, at in apis.items()}
        serving = ChildSpec(
            "web",
            [sys.executable, "-m", "web"],
            addresses | {f"{PREFIX}PORT": str(port)},
            ready=lambda: _answers(port, "/ready"),
            output=self.folder / "web.log",
        )
        with self._beside([serving]):
            yield port

    @contextmanager
    def _beside(
        self, specs: Sequence[ChildSpec], *, within_s: float = READY_WITHIN_S
    ) -> Iterator[None]:
        running = len(self._children)
        try:
            for spec in specs:
                self._start_child(spec, within_s=within_s)
            yield
        finally:
            added = self._children[running:]
            stop_all(added)
            self._children = [child for child in self._children if child not in added]

    def _command_api(self, port: int, environment: dict[str, str]) -> ChildSpec:
        return ChildSpec(
            f"command-api-{port}",
            [sys.executable, "-m", "command_api"],
            environment | {f"{PREFIX}PORT": str(port)},
            ready=lambda: _answers(port),
            output=self.folder / f"command-api-{port}.log",
        )

    def peer_environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(REPOSITORY),
            "BENCH_DSN": self.peers_dsn,
            "BENCH_TOKEN_PUBLIC_KEY": self.home.secrets().token_public_key,
        }

    def lowest_position(self) -> int:
        """Return the lowest position of all active partitions; -1 while one has none."""
        generations = [one for one in self.wiring.generations.all() if one.state == "active"]
        return self._lowest([keys for one in generations for keys in one.all_keys])

    def wait_caught_up(self, *, within_s: float = CAUGHT_UP_WITHIN_S) -> None:
        """Wait until every active partition is at the head of the log."""
        head = self.wiring.reader.head()
        give_up_at = time.monotonic() + within_s
        generations = [one for one in self.wiring.generations.all() if one.state == "active"]
        keys = [partition for one in generations for partition in one.all_keys]
        while self._lowest(keys) < head:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the projector has not reached position {head}")
            time.sleep(CAUGHT_UP_POLL_S)

    def _lowest(self, partitions: Sequence[PartitionKeys]) -> int:
        stored = self.wiring.store.checkpoints(partitions)
        return -1 if ABSENT in stored else min(map(_position, stored))

    @contextmanager
    def paused_projector(self) -> Iterator[Callable[[], None]]:
        """Stop the projector's process for a while; yield a function that resumes it earlier."""
        process = self._service("projector")
        process.send_signal(signal.SIGSTOP)
        try:
            yield lambda: process.send_signal(signal.SIGCONT)
        finally:
            process.send_signal(signal.SIGCONT)

    def core_seconds(self) -> dict[str, float]:
        """Return the processor time so far of each running program."""
        used: dict[str, float] = {}
        for process in self._processes():
            try:
                times, name = process.cpu_times(), _program(process)
            except psutil.NoSuchProcess:
                continue
            used[name] = used.get(name, 0.0) + times.user + times.system
        return used

    def resident_bytes(self) -> dict[str, int]:
        """Return the memory of each program's largest process."""
        held: dict[str, int] = {}
        for process in self._processes():
            with suppress(psutil.NoSuchProcess):
                name = _program(process)
                held[name] = max(held.get(name, 0), process.memory_info().rss)
        return held

    def _start(self) -> None:
        output = self.folder / "up.log"
        self._start_child(
            ChildSpec(
                "starfold",
                [
                    str(Path(sys.executable).with_name("starfold")),
                    "up",
                    "--home",
                    str(self.home.path),
                    "--catalogue",
                    "none",
                    "--command-port",
                    str(self.command_port),
                    "--query-port",
                    str(self.query_port),
                    "--web-port",
                    "0",
                    "--console-port",
                    "0",
                ],
                {},
                ready=lambda: any(
                    line.startswith("ready")
                    for line in output.read_text(errors="replace").splitlines()
                ),
                stop_within_s=STOP_WITHIN_S,
                output=output,
            )
        )
        with psycopg.connect(self.home.owner_dsn("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(PEERS_DATABASE)))

    def _start_child(self, spec: ChildSpec, *, within_s: float = READY_WITHIN_S) -> None:
        child = Child(spec)
        self._children.append(child)
        child.start()
        give_up_at = time.monotonic() + within_s
        while not spec.ready():
            if not child.running or time.monotonic() > give_up_at:
                assert spec.output is not None
                said = spec.output.read_text(errors="replace")[-SHOWN_CHARS:]
                raise RuntimeError(f"{spec.name} did not start:\n{said}")
            time.sleep(POLL_S)

    def _stop(self) -> None:
        if self._wiring is not None:
            self._wiring.close()
        # The peers first: they use Starfold's database server.
        stop_all(self._children[1:])
        stop_all(self._children[:1])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for child in self._children:
            if child.running and child.pid is not None:
                found += psutil.Process(child.pid).children(recursive=True)
        return found

    def _service(self, module: str) -> psutil.Process:
        for process in self._processes():
            # A guardian's command line ends in the same words; an ended process has none.
            with suppress(psutil.NoSuchProcess):
                if process.cmdline()[1:] == ["-m", module]:
                    return process
        raise RuntimeError(f"{module} does not run")


def _program(process: psutil.Process) -> str:
    if process.name() in ("postgres", "valkey-server"):
        return process.name()
    line = process.cmdline()
    return line[line.index("-m") + 1] if "-m" in line else process.name()


def _position(stored: bytes) -> int:
    return decode_checkpoint(stored).position


def _projector_settings(environment: Mapping[str, str]) -> ProjectorSettings:
    settings = {n.removeprefix(PREFIX).lower(): value for n, value in environment.items()}
    return ProjectorSettings.model_validate(settings)


def _is_built(wiring: Wiring) -> bool:
    active = [one for one in wiring.generations.all() if one.state == "active"]
    return {one.projection for one in active} == set(DEFINITIONS)


def _answers(port: int, path: str = "/health") -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}{path}", timeout=2).is_success
    except httpx.HTTPError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port
