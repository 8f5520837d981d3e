"""The script that starts PostgreSQL in its container, run here with this machine's binaries."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ops.compose.issue import POSTGRES_START
from ops.database import create_database
from ops.local.child import end_servers_in
from ops.local.guardian import _leave_root
from ops.local.servers import _postgres_binary
from tests.support.ports import free_port
from tests.support.system import eventually

PASSWORD = "of the owner"
STARTED_WITHIN_S = 60.0
KILLED_AFTER_S = (0.02, 0.1, 0.3, 0.6, 1.0, 1.5)


class Container:
    """The script with the container's folders moved into one of this machine's."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "18" / "docker"
        self.port = free_port()
        self.output = folder / "output"
        (folder / "password").write_text(PASSWORD)
        self._script = folder / "start.sh"
        text = POSTGRES_START.read_text().replace("/etc/starfold", str(folder))
        self._script.write_text(text)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def start(self, first_in_path: Path | None = None) -> None:
        binaries = _postgres_binary("postgres").parent
        folders = [str(one) for one in (first_in_path, binaries) if one is not None]
        settings = ["-p", str(self.port), "-c", f"unix_socket_directories={self._folder}"]
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                ["sh", str(self._script), *settings],
                env={**os.environ, "PGDATA": str(self.data), "LC_ALL": "C"}
                | {"PATH": ":".join([*folders, os.environ["PATH"]])},
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=_unprivileged,  # noqa: PLW1509  # No other thread holds a lock.
            )

    def kill(self) -> None:
        """SIGKILL to everything in it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for folder in (self.data, self.data.with_name("docker.draft")):
            end_servers_in(folder)

    def dsn(self, database: str = "postgres") -> str:
        return make_conninfo(
            host="127.0.0.1",
            port=self.port,
            user="starfold_owner",
            password=PASSWORD,
            dbname=database,
        )

    def answers(self) -> bool:
        assert self.process.poll() is None, self.output.read_text()
        try:
            psycopg.connect(self.dsn(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


def _unprivileged() -> None:
    if os.geteuid() == 0:
        _leave_root()


@pytest.fixture
def container() -> Iterator[Container]:
    folder = Path(tempfile.mkdtemp(prefix="sf-pg-"))
    one = Container(folder)
    yield one
    if one._process is not None:
        one.kill()
    shutil.rmtree(folder)


def test_a_first_start_that_is_killed_at_any_moment_is_made_good_by_the_next(
    container: Container,
) -> None:
    for after_s in KILLED_AFTER_S:
        container.start()
        time.sleep(after_s)  # The moment of the kill is what is tested.
        container.kill()
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    create_database(container.dsn(), "starfold")


@pytest.mark.parametrize("removed", ["PG_VERSION", "pg_hba.conf"])
def test_a_half_made_cluster_of_an_earlier_release_is_made_again(
    container: Container, removed: str
) -> None:
    """It ran initdb in the data folder itself, and made the database after that."""
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    container.kill()
    (container.data / removed).unlink()
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    assert "interrupted first start" in container.output.read_text()


def test_a_cluster_with_a_database_is_never_made_again(container: Container) -> None:
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    create_database(container.dsn(), "starfold")
    container.kill()
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    psycopg.connect(container.dsn("starfold")).close()
    container.kill()
    (container.data / "PG_VERSION").unlink()
    container.start()
    assert container.process.wait(STARTED_WITHIN_S) != 0
    assert (container.data / "base").is_dir()


def test_a_start_without_room_waits_for_it(container: Container, tmp_path: Path) -> None:
    """Docker starts a container that ends again and again ever later."""
    container.start()
    eventually(container.answers, STARTED_WITHIN_S)
    container.kill()
    room = tmp_path / "room"
    room.write_text("0")
    stub = tmp_path / "df"
    stub.write_text(f"#!/bin/sh\necho header\necho disk 1 1 $(cat {room}) 100% /\n")
    stub.chmod(0o755)
    container.start(first_in_path=tmp_path)
    eventually(lambda: "the disk of" in container.output.read_text(), STARTED_WITHIN_S)
    assert not container.answers()
    room.write_text("1000000")
    eventually(container.answers, STARTED_WITHIN_S)


def test_the_script_is_of_the_smallest_shell() -> None:
    checked = subprocess.run(["sh", "-n", str(POSTGRES_START)], check=False)
    assert checked.returncode == 0
