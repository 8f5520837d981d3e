"""A disk that is full under a running Starfold: a real one, small and in memory, mounted for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from ops.home.bootstrap import operator_of
from ops.home.folder import Home
from tests.support.local_starfold import starfold
from tests.support.ports import free_port
from tests.support.system import eventually

DISK_BYTES = 256 << 20
READY_WITHIN_S = 120.0
RESUMED_WITHIN_S = 30.0
STOPPED_WITHIN_S = 60.0
CHUNK = bytes(1 << 20)
COMMANDS_MAX = 5_000
# Fills a page by itself, nearly.
DESCRIPTION = "x" * 4_000


class SmallDisk:
    """`starfold up` with its home on a small disk, in a mount namespace of its own.

    From outside, the home is seen through the process.
    """

    def __init__(self, folder: Path) -> None:
        self.command_port, self.query_port = free_port(), free_port()
        self.output = folder / "output"
        disk = folder / "disk"
        disk.mkdir()
        own_user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        mounted = f'mount -t tmpfs -o size={DISK_BYTES} tmpfs {disk} && exec "$@"'
        up = starfold(
            "up",
            "--home",
            str(disk / "home"),
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
        )
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                ["unshare", "--mount", *own_user, "sh", "-c", mounted, "sh", *up],
                stdout=output,
                stderr=output,
            )
        eventually(lambda: "ready:" in self.printed, READY_WITHIN_S)
        self.disk = Path(f"/proc/{self.process.pid}/root{disk}")
        self.home = Home(self.disk / "home")
        key = {"Authorization": f"Bearer {operator_of(self.home).api_key}"}
        self.command = httpx.Client(
            base_url=f"http://127.0.0.1:{self.command_port}", headers=key, timeout=10
        )
        self.query = httpx.Client(base_url=f"http://127.0.0.1:{self.query_port}", timeout=10)

    @property
    def printed(self) -> str:
        return self.output.read_text(errors="replace")

    def fill(self) -> None:
        with (self.disk / "filler").open("ab", buffering=0) as filler:
            for size in (len(CHUNK), 4_096, 1):
                try:
                    while filler.write(CHUNK[:size]):
                        pass
                except OSError as error:
                    assert error.strerror == "No space left on device"  # noqa: PT017  # It ends the loop.

    def make_room(self) -> None:
        (self.disk / "filler").unlink()

    def create_movie(self) -> httpx.Response:
        movie = {"title": "Mirror", "year": 1975, "description": DESCRIPTION}
        return self.command.post("/v1/movies", json=movie)

    def refusal(self) -> dict[str, Any]:
        """The problem of the first command that is refused."""
        for _ in range(COMMANDS_MAX):
            answer = self.create_movie()
            if answer.status_code != httpx.codes.CREATED:
                assert answer.headers["Retry-After"]
                problem: dict[str, Any] = answer.json()
                return problem
        raise AssertionError("nothing was refused")

    def created_movie(self) -> str | None:
        """Its id, None when it was refused."""
        answer = self.create_movie()
        return str(answer.json()["movie_id"]) if answer.is_success else None

    def end_postgres(self) -> None:
        """Begin new files of the write-ahead log until PostgreSQL ends over it."""
        try:
            with psycopg.connect(self.home.owner_dsn("postgres"), autocommit=True) as connection:
                while True:
                    connection.execute("SELECT pg_switch_wal()")
                    connection.execute("SELECT pg_logical_emit_message(false, 'test', 'x')")
        except psycopg.OperationalError as error:
            assert "No space left" in str(error)  # noqa: PT017  # It ends the loop.

    def close(self) -> None:
        self.command.close()
        self.query.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(STOPPED_WITHIN_S)


@pytest.fixture
def small() -> Iterator[SmallDisk]:
    folder = Path(tempfile.mkdtemp(prefix="sf-full-"))
    one = SmallDisk(folder)
    yield one
    one.close()
    shutil.rmtree(folder)


def test_a_full_disk_refuses_commands_and_nothing_else_until_there_is_room(
    small: SmallDisk,
) -> None:
    first = small.create_movie().json()["movie_id"]
    eventually(lambda: small.query.get(f"/v1/movies/{first}").is_success)

    small.fill()
    assert small.refusal()["type"] == "urn:starfold:problem:storage-full"
    assert small.query.get(f"/v1/movies/{first}").is_success
    # Now PostgreSQL itself ends, and cannot start again.
    small.end_postgres()
    for _ in range(20):
        problem = small.refusal()
        assert problem["type"] == "urn:starfold:problem:storage-full"
        assert small.query.get(f"/v1/movies/{first}").is_success

    small.make_room()
    second = eventually(small.created_movie, RESUMED_WITHIN_S)
    eventually(lambda: small.query.get(f"/v1/movies/{second}").is_success, RESUMED_WITHIN_S)
    assert small.process.poll() is None
