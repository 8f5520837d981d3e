"""PgBouncer in transaction mode, in front of the tests' PostgreSQL.

If none is installed, the port leads to PostgreSQL itself: processes that are configured for a
pooler do without the features that a pooler lacks, and only that is tested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from tests.support.faults.silent_proxy import SilentProxy
from tests.support.ports import free_port
from tests.support.system import System, eventually

# Fewer than there are clients: each statement may come to another server connection.
SERVER_CONNECTIONS = 3
UNPRIVILEGED = "nobody"

_SETTINGS = """\
[databases]
* = host=127.0.0.1 port={target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {size}
ignore_startup_parameters = {ignored}
"""


class Pooled:
    """The address of the pooler, by role."""

    def __init__(self, system: System, port: int) -> None:
        self._system = system
        self._port = port

    def dsn(self, role: str) -> str:
        return make_conninfo(self._system.dsn(role), host="127.0.0.1", port=self._port)


@contextmanager
def pgbouncer(system: System, *, ignored: str = "extra_float_digits") -> Iterator[Pooled]:
    """`ignored` are start parameters that it drops instead of refusing them."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    with SilentProxy(system.servers.home.sockets() / ".s.PGSQL.5432") as server:
        if program is None:
            yield Pooled(system, server.port)
            return
        folder, port = Path(tempfile.mkdtemp(prefix="sf-pooler-")), free_port()
        passwords = system.servers.home.secrets().role_passwords
        (folder / "users").write_text(
            "".join(f'"{role}" "{password}"\n' for role, password in passwords.items())
        )
        settings = _SETTINGS.format(
            target=server.port, port=port, folder=folder, size=SERVER_CONNECTIONS, ignored=ignored
        )
        (folder / "pgbouncer.ini").write_text(settings)
        options = []
        if os.getuid() == 0:
            options = ["-u", UNPRIVILEGED]
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, UNPRIVILEGED)
        process = subprocess.Popen(
            [program, "-q", *options, str(folder / "pgbouncer.ini")], stderr=subprocess.DEVNULL
        )
        try:
            pooled = Pooled(system, port)
            role = next(iter(passwords))
            eventually(lambda: _answers(pooled.dsn(role)))
            yield pooled
        finally:
            process.terminate()
            process.wait(10)
            shutil.rmtree(folder)


def _answers(dsn: str) -> bool:
    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
