"""All of Starfold on one machine, under one supervisor in the foreground: `starfold up`."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys
from collections.abc import Mapping
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import httpx
import structlog

from ops.database import create_database
from ops.errors import OperatorError
from ops.home import redis_users
from ops.home.folder import (
    DATABASE,
    MAINTENANCE_DATABASE,
    OWNER_ROLE,
    Addresses,
    Home,
    write_private,
)
from ops.home.rotation import keys_in_use
from ops.local.child import Child, ChildSpec
from ops.local.servers import initialize_postgres, postgres_spec, valkey_spec
from ops.local.supervisor import Stopped, Supervisor
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate

API_READY_WITHIN_S = 60.0
CONSOLE_HOST = "127.0.0.1"

SERVICES_STOP_ORDER = (
    ("web", "console"),
    ("command-api", "query-api"),
    ("projector",),
    ("worker",),
    ("first-steps",),
)
STOP_ORDER = (*SERVICES_STOP_ORDER, ("valkey", "postgres"))

log = structlog.get_logger()


class Ports(NamedTuple):
    """The ports of the services that listen; pages without a port, 0, are not started."""

    command_api: int
    query_api: int
    web: int
    console: int


class Stack:
    """One local Starfold; `catalogue` is a file, `none`, or `default` for the built-in one."""

    def __init__(self, home: Home, *, host: str, ports: Ports, catalogue: str) -> None:
        self._home = home
        self._host = host
        self._ports = ports
        self._apis = Addresses(
            command_url=_url(host, ports.command_api), query_url=_url(host, ports.query_api)
        )
        self._catalogue = catalogue
        self._supervisor = Supervisor(home)
        self._keys_wanted = _content(home.keys_wanted)

    def run(self) -> None:
        """Run until a signal; raise `OperatorError` if something prevents the start."""
        self._home.create()
        with self._home.lock():
            self._run()

    def _run(self) -> None:
        self._home.require_secrets_of_data()
        for port in self._ports[:-1]:
            _require_free(self._host, port)
        _require_free(CONSOLE_HOST, self._ports.console)
        supervisor = self._supervisor
        supervisor.handle_signals()
        supervisor.end_leftovers()
        self._home.remember_addresses(self._apis)
        try:
            self._start_servers()
            self._start_services()
            print(f"ready: {', '.join(self._served())}", flush=True)
            while True:
                supervisor.watch()
                self._restart_with_new_keys()
        except Stopped:
            log.info("stopping")
        finally:
            supervisor.stop(STOP_ORDER)

    def _served(self) -> list[str]:
        served = [f"command API {self._apis.command_url}", f"query API {self._apis.query_url}"]
        if self._ports.web:
            served.append(f"pages {self._pages_url()}")
        if self._ports.console:
            served.append(f"console {_url(CONSOLE_HOST, self._ports.console)}")
        return served

    def _pages_url(self) -> str:
        """Return where browsers reach the pages, and where the links in mails lead."""
        return os.environ.get("STARFOLD_WEB_URL") or _url(self._host, self._ports.web)

    def _start_servers(self) -> None:
        initialize_postgres(self._home)
        servers = [
            self._supervisor.start(postgres_spec(self._home)),
            self._supervisor.start(valkey_spec(self._home)),
        ]
        self._supervisor.wait_ready(servers)
        create_database(self._home.owner_dsn(MAINTENANCE_DATABASE), DATABASE)
        migrate(self._home.owner_dsn(), roles=self._home.secrets().role_passwords)

    def _restart_with_new_keys(self) -> None:
        """Restart the services together if `starfold keys rotate` has changed what they need."""
        wanted = _content(self._home.keys_wanted)
        if wanted != self._keys_wanted:
            log.info("services_restart", reason="rotated keys")
            self._keys_wanted = wanted
            self._supervisor.end(SERVICES_STOP_ORDER)
            # Whatever is wrong with a service, the others and the servers keep running.
            self._start_services(patient=True)

    def _start_services(self, *, patient: bool = False) -> None:
        keys = keys_in_use(self._home.secrets()).encode()
        environment = self._home.environment
        trusted = {"STARFOLD_TRUSTED_PROXIES": trusted_by_apis(self._host, os.environ)}
        command_api = self._start(
            "command-api",
            "command_api",
            environment(COMMAND_ROLE) | trusted,
            self._ports.command_api,
        )
        query_api = self._start(
            "query-api",
            "query_api",
            environment(PROJECTOR_ROLE, redis_users.QUERY_API) | trusted,
            self._ports.query_api,
        )
        linked = {"STARFOLD_WEB_URL": self._pages_url()} if self._ports.web else {}
        projector = {**linked, **environment(PROJECTOR_ROLE, redis_users.PROJECTOR)}
        self._start("projector", "projector", projector)
        self._start("worker", "ops.worker", environment(PROJECTOR_ROLE))
        pages = self._start_pages()
        wait_ready = partial(
            self._supervisor.wait_ready, within_s=API_READY_WITHIN_S, patient=patient
        )
        wait_ready([command_api])
        wait_ready([query_api, self._supervisor.start(self._first_steps()), *pages])
        try:
            write_private(self._home.keys_in_use, keys)
        except OSError as error:  # Only `starfold keys rotate` needs it, and says that it waits.
            log.warning("keys_not_noted", reason=error.strerror)

    def _start_pages(self) -> list[Child]:
        """Start the pages that have a port; the console is for this machine, whatever the host."""
        apis = {
            "STARFOLD_COMMAND_URL": self._apis.command_url,
            "STARFOLD_QUERY_URL": self._apis.query_url,
        }
        pages = []
        if self._ports.web:
            pages.append(self._start("web", "web", apis, self._ports.web))
        if self._ports.console:
            environment = {**self._home.environment(PROJECTOR_ROLE), **apis}
            port = self._ports.console
            pages.append(self._start("console", "console", environment, port, CONSOLE_HOST))
        return pages

    def _start(
        self,
        name: str,
        module: str,
        environment: Mapping[str, str],
        port: int | None = None,
        host: str | None = None,
    ) -> Child:
        spec = ChildSpec(name, [sys.executable, "-m", module], environment)
        if port is not None:
            host = host or self._host
            listening = {"STARFOLD_HOST": host, "STARFOLD_PORT": str(port)}
            asked = f"{_url(host, port)}/ready"
            spec = spec._replace(
                environment={**environment, **listening}, ready=partial(_answers, asked)
            )
        return self._supervisor.start(spec)

    def _first_steps(self) -> ChildSpec:
        """Return the child that creates the operator's account and the catalogue if missing."""
        self._home.bootstrapped_file.unlink(missing_ok=True)
        return ChildSpec(
            name="first-steps",
            argv=[
                sys.executable,
                "-m",
                "ops.local.first_steps",
                "--home",
                str(self._home.path),
                "--catalogue",
                self._catalogue,
            ],
            environment=self._home.environment(OWNER_ROLE),
            ready=self._home.bootstrapped_file.exists,
            once=True,
        )


def trusted_by_apis(host: str, environment: Mapping[str, str]) -> str:
    """Return the proxies that both APIs trust: the operator's, and this machine itself.

    The pages call the APIs from an address of this machine, with the addresses of their readers.
    """
    own = ["127.0.0.1", "::1"]
    with contextlib.suppress(ValueError):  # A name leads to one of these.
        own.append(str(ip_address(_reachable(host))))
    return ",".join(filter(None, [environment.get("STARFOLD_TRUSTED_PROXIES", ""), *own]))


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


def _require_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise OperatorError(
                f"port {port} on {host} cannot be used: {error.strerror}"
            ) from error


def _answers(url: str) -> bool:
    try:
        # No certificates: loading them takes as long as many a request.
        none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with httpx.Client(verify=none, trust_env=False) as client:
            return client.get(url, timeout=2).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def _url(host: str, port: int) -> str:
    reachable = _reachable(host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _reachable(host: str) -> str:
    """Return the loopback address for one that means every address of the machine."""
    try:
        address = ip_address(host)
    except ValueError:
        return host  # A name.
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"
