"""A PostgreSQL that can lose its tail: a standby that takes over, or a backup that is restored."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.conninfo import make_conninfo

from ops.home.folder import DATABASE, Home
from ops.local.servers import postgres_spec
from tests.support.servers import Server, Servers
from tests.support.system import eventually

BACKUP_WITHIN_S = 60


class EitherHome(Home):
    """A home whose connections find the one of its two servers that takes writes."""

    def __init__(self, path: Path, other: Home) -> None:
        super().__init__(path)
        self._other = other

    def dsn(self, role: str, password: str, database: str = DATABASE) -> str:
        hosts = f"{self.sockets()},{self._other.sockets()}"
        return make_conninfo(
            host=hosts,
            user=role,
            password=password,
            dbname=database,
            target_session_attrs="read-write",
        )


class Pair(Servers):
    """A primary with its Valkey, and what may stand in for it: a standby or a backup."""

    def __init__(self) -> None:
        super().__init__()
        self._primary = self.home
        self._other = Home(self._folder / "other")
        self._other.create()
        shutil.copy2(self._primary.path / "secrets.json", self._other.path)
        self._standby = Server(postgres_spec(self._other))
        self.home = EitherHome(self._primary.path, self._other)

    def close(self) -> None:
        self._standby.stop()
        super().close()

    def start_standby(self) -> None:
        """Asynchronous, streaming; returns once it has all that the primary has."""
        self._back_up("--write-recovery-conf")
        self._standby.start()
        with psycopg.connect(self._primary.owner_dsn()) as primary:
            (wanted,) = _row(primary, "SELECT pg_current_wal_lsn()")
        with self._of_standby() as standby:
            caught_up = "SELECT pg_last_wal_replay_lsn() >= %s"
            eventually(lambda: _row(standby, caught_up, wanted)[0])

    def replica_dsn(self, role: str) -> str:
        """Return the address of the standby, whether it runs or not."""
        return self._other.dsn(role, self._other.secrets().role_passwords[role])

    def cut_standby_off(self) -> None:
        """From now on it gets nothing of what the primary commits."""
        with self._of_standby() as standby:
            standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
            standby.execute("SELECT pg_reload_conf()")
            receiving = "SELECT count(*) FROM pg_stat_wal_receiver"
            eventually(lambda: _row(standby, receiving)[0] == 0)

    def fail_over(self) -> None:
        """Kill the primary and promote the standby."""
        _kill_postgres(self._primary)
        with self._of_standby() as standby:
            assert _row(standby, "SELECT pg_promote()") == (True,)

    def back_up(self) -> None:
        self._back_up()

    def restore(self) -> None:
        """Start the backup in the place of the primary."""
        self.postgres.stop()
        shutil.rmtree(self._primary.postgres_data)
        self._other.postgres_data.rename(self._primary.postgres_data)
        self.postgres.start()

    def require_standby(self) -> None:
        """Let no commit be acknowledged from now on before the standby has it."""
        with psycopg.connect(self._primary.owner_dsn(), autocommit=True) as primary:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
            synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            eventually(lambda: _row(primary, synchronous)[0] == 1)

    def swap(self) -> None:
        """After a failover, make what was the primary the standby of the new one."""
        self.postgres.stop()
        self._primary, self._other = self._other, self._primary
        self.postgres, self._standby = self._standby, self.postgres
        with psycopg.connect(self._primary.owner_dsn(), autocommit=True) as primary:
            primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
            primary.execute("SELECT pg_reload_conf()")
        shutil.rmtree(self._other.postgres_data)
        self.start_standby()

    def _back_up(self, *options: str) -> None:
        binary = Path(postgres_spec(self._primary).argv[0]).with_name("pg_basebackup")
        subprocess.run(
            [
                str(binary),
                "--pgdata",
                str(self._other.postgres_data),
                "--dbname",
                self._primary.owner_dsn("postgres"),
                "--checkpoint",
                "fast",
                *options,
            ],
            check=True,
            timeout=BACKUP_WITHIN_S,
        )

    def _of_standby(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._other.owner_dsn(), autocommit=True)


@contextmanager
def started_pair() -> Iterator[Pair]:
    """The primary runs, and what may replace it does not yet."""
    pair = Pair()
    try:
        pair.start()
        yield pair
    finally:
        pair.close()


def _row(connection: psycopg.Connection[Any], statement: str, *parameters: object) -> Any:
    return connection.execute(statement.encode(), parameters).fetchone()


def _kill_postgres(home: Home) -> None:
    """SIGKILL to the postmaster; its children end when they see that it is gone."""
    pid = int((home.postgres_data / "postmaster.pid").read_text().split()[0])
    postmaster = psutil.Process(pid)
    everything = [postmaster, *postmaster.children(recursive=True)]
    postmaster.kill()
    _, alive = psutil.wait_procs(everything, timeout=20)
    assert not alive
