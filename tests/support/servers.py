"""Real servers for the tests: one PostgreSQL and one Valkey in a temporary home."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from ops.database import create_database
from ops.home.folder import DATABASE, MAINTENANCE_DATABASE, OWNER_ROLE, Home
from ops.local.child import POLL_S, Child, ChildSpec, stop_all
from ops.local.servers import initialize_postgres, postgres_spec, valkey_spec
from tests.support.faults.process_tree import kill_all

READY_WITHIN_S = 60.0


class Server:
    """One server; `stop`, `kill` and `start` it as often as a test needs."""

    def __init__(self, spec: ChildSpec) -> None:
        self._spec = spec
        self._child = Child(spec)

    @property
    def pid(self) -> int:
        """The pid of its guardian."""
        assert self._child.pid is not None
        return self._child.pid

    def start(self) -> None:
        self._child.start()
        give_up_at = time.monotonic() + READY_WITHIN_S
        while not self._spec.ready():
            assert time.monotonic() < give_up_at, f"{self._spec.name} is not ready"
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Stop it; it may be started again."""
        stop_all([self._child])
        self._child = Child(self._spec)

    def kill(self) -> None:
        """SIGKILL, to its guardian as well."""
        assert self._child.pid is not None
        guardian = psutil.Process(self._child.pid)
        everything = [guardian, *guardian.children(recursive=True)]
        kill_all(everything)
        psutil.wait_procs(everything[1:], timeout=10)
        self.stop()


class Servers:
    """Both servers and the home that they are in. The path is short, for their sockets."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="sf-test-"))
        self.home = Home(self._folder / "home")
        self.home.create()
        initialize_postgres(self.home)
        self.postgres = Server(postgres_spec(self.home))
        self.valkey = Server(valkey_spec(self.home))

    def start(self) -> None:
        self.postgres.start()
        self.valkey.start()
        create_database(self.home.owner_dsn(MAINTENANCE_DATABASE), DATABASE)
        self._hash_passwords_cheaply()

    def _hash_passwords_cheaply(self) -> None:
        """Use 1 round of SCRAM instead of 4,096 for every connection.

        They took most of a connection's 15 ms of processor time, on both ends, and the tests open
        tens of thousands of connections.
        """
        dsn = self.home.owner_dsn()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET scram_iterations = 1")
            connection.execute("SELECT pg_reload_conf()")
        while not _hashes_cheaply(dsn):
            time.sleep(POLL_S)
        with psycopg.connect(dsn, autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(
                self.home.secrets().owner_password.encode(), OWNER_ROLE.encode(), b"scram-sha-256"
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(OWNER_ROLE), sql.Literal(verifier.decode())
                )
            )

    def close(self) -> None:
        self.valkey.stop()
        self.postgres.stop()
        shutil.rmtree(self._folder)


def _hashes_cheaply(dsn: str) -> bool:
    with psycopg.connect(dsn) as connection:
        return connection.execute("SHOW scram_iterations").fetchone() == ("1",)
