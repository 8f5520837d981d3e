"""Valkey's files in a home: checked before each start, and set aside if they are damaged.

The read models are derived from the log, so a damaged file costs only a rebuild. Valkey verifies a
snapshot's checksum only while loading it, and exits if it is wrong; therefore the same binary
checks the file first, in a process with bounded time and memory.
"""

from __future__ import annotations

import resource
import shutil
import subprocess
from pathlib import Path

import structlog

from ops.home.folder import Home, write_private
from ops.home.set_aside import forget_old, set_aside
from ops.local.child import end_servers_in

SNAPSHOT = "dump.rdb"
CHECKED_WITHIN_S = 30.0
CHECK_BYTES_MAX = 2 << 30
# Valkey's last messages when a snapshot makes it exit although the check has passed.
FATAL = (
    "Fatal error loading",
    "Error reading the RDB",
    "Internal error in RDB",
    "Wrong RDB checksum",
    "Short read or OOM loading",
    "crashed by signal",
)
CHECKSUM_OK = "Checksum OK"

log = structlog.get_logger()


class ValkeyFiles:
    """The data folder of one Valkey; `prepare` runs before each of its starts."""

    def __init__(self, home: Home, binary: Path, configuration: str) -> None:
        self._home = home
        self._folder = home.valkey_data
        self._binary = binary
        self._configuration = configuration
        self._log = home.valkey_log
        self._log_bytes: int | None = None

    @property
    def configuration_file(self) -> Path:
        return self._folder / "valkey.conf"

    def prepare(self) -> None:
        """End a server that still runs here, write the configuration, and remove damaged files.

        Afterwards Valkey can start from the files that remain.
        """
        if self._folder.is_dir():
            end_servers_in(self._folder)
        else:
            self._folder.unlink(missing_ok=True)
            self._folder.mkdir(mode=0o700)
        self._write_configuration()
        self._drop_leftovers()
        damage = self._damage()
        if damage is not None:
            set_aside(self._home, self._folder / SNAPSHOT, damage)
        forget_old(self._home)
        self._log_bytes = self._log.stat().st_size if self._log.exists() else 0

    def _write_configuration(self) -> None:
        file = self.configuration_file
        try:
            if file.read_bytes() == self._configuration.encode():
                return
        except OSError:
            if file.is_dir():
                shutil.rmtree(file)
        write_private(file, self._configuration.encode())

    def _drop_leftovers(self) -> None:
        """Delete unfinished snapshots, and the append-only files of earlier releases."""
        for leftover in self._folder.glob("temp-*"):
            leftover.unlink(missing_ok=True)
        append_only = self._folder / "appendonlydir"
        if append_only.is_dir():
            shutil.rmtree(append_only, ignore_errors=True)
            log.info("append_only_files_dropped", path=str(append_only))

    def _damage(self) -> str | None:
        """Return what is wrong with the snapshot; None for an intact or missing one."""
        snapshot = self._folder / SNAPSHOT
        if not (snapshot.exists() or snapshot.is_symlink()):
            return None
        if not snapshot.is_file():
            return "it is not a file"
        said = self._said_since_start()
        for line in said.splitlines():
            if any(words in line for words in FATAL):
                return line.rpartition("# ")[2][:200]
        return check_snapshot(self._binary, snapshot)

    def _said_since_start(self) -> str:
        """Return the server's log since this supervisor last started it."""
        if self._log_bytes is None:
            return ""
        with self._log.open("rb") as stream:
            stream.seek(self._log_bytes)
            return stream.read().decode(errors="replace")


def check_snapshot(binary: Path, snapshot: Path) -> str | None:
    """Return what the checker in Valkey's own binary finds wrong; None for nothing."""
    try:
        checked = subprocess.run(
            ["valkey-check-rdb", str(snapshot)],
            executable=binary,
            check=False,
            capture_output=True,
            timeout=CHECKED_WITHIN_S + snapshot.stat().st_size / 20e6,
            preexec_fn=_bound_memory,  # The supervisor has no other thread.
        )
    except subprocess.TimeoutExpired:
        return "its check did not end"
    lines = checked.stdout.decode(errors="replace").splitlines()
    found = [line.partition("] ")[2] for line in lines if line.startswith("[offset")]
    # The checker accepts files of an old version, or with a checksum of zero, without comparing.
    if checked.returncode == 0 and CHECKSUM_OK in found:
        return None
    said = [line for line in found if not line.startswith(("Checking", "AUX", "Selecting"))]
    return said[-1][:200] if said else f"its check ended with status {checked.returncode}"


def _bound_memory() -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard == resource.RLIM_INFINITY or hard > CHECK_BYTES_MAX:
        resource.setrlimit(resource.RLIMIT_AS, (CHECK_BYTES_MAX, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
