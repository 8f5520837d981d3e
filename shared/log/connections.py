"""Connections to PostgreSQL for every process, with timeouts and readable errors.

A server may vanish without closing a connection: its packets are dropped, or it is stopped. TCP
keep-alives detect the first within 15 s, nothing in the kernel detects the second, and neither
exists on a Unix socket. Each statement therefore has a timeout in the client too. A connection
whose server did not answer in time is closed; its statement may still be carried out.
"""

from __future__ import annotations

import os
from typing import Any

import psycopg
from psycopg import errors
from psycopg.abc import RV, PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import Row

CONNECT_WITHIN_S = 5
# Every statement of a request reads or writes by an index, in milliseconds.
ANSWER_WITHIN_S = 5.0
# psycopg's default: a statement is prepared after this many executions.
PREPARE_THRESHOLD = 5
# psycopg's default: how often a waiting thread checks for Ctrl-C.
_INTERRUPTIBLE_EVERY_S = 0.1
# Detects a lost server within 15 s; without effect on a Unix socket.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# Variables that libpq reads besides the options that it lists itself.
_LIBPQ_VARIABLES = {"PGSERVICEFILE", "PGSYSCONFDIR", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGPASSFILE"}


class NoAnswer(psycopg.OperationalError):
    """The server did not answer a statement in time; whether it was carried out is unknown."""


class Connection(psycopg.Connection[Row]):
    """Closes itself when the server does not answer a statement within `answer_within_s`."""

    answer_within_s = ANSWER_WITHIN_S

    def wait(
        self,
        gen: PQGen[RV],
        interval: float = _INTERRUPTIBLE_EVERY_S,
        timeout: float | None = None,
    ) -> RV:
        if timeout is not None:
            # `notifies()` mostly waits without a pending statement, and need not wake up in
            # between.
            return super().wait(gen, max(interval, timeout), timeout)
        try:
            return super().wait(gen, interval, self.answer_within_s)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise _no_answer(self.answer_within_s) from None


class AsyncConnection(psycopg.AsyncConnection[Row]):
    """The asynchronous `Connection`, with the same timeout."""

    answer_within_s = ANSWER_WITHIN_S

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = _INTERRUPTIBLE_EVERY_S,
        timeout: float | None = None,  # noqa: ASYNC109  # Required by the overridden method.
    ) -> RV:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.answer_within_s)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise _no_answer(self.answer_within_s) from None


def conninfo(dsn: str, *, schema: str | None = None, pooler: bool = False) -> str:
    """Return the connection string with keep-alives and a connection timeout; the DSN's own win.

    With a schema, statements find its tables without naming the schema. A transaction pooler
    accepts no options at start: there the database role has them (`shared/log/schema.py`).
    """
    parameters: dict[str, Any] = {
        "connect_timeout": CONNECT_WITHIN_S,
        **_KEEPALIVE,
        **conninfo_to_dict(dsn),
    }
    if not pooler:
        own = [parameters.get("options"), schema and _session_options(schema)]
        parameters["options"] = " ".join(str(one) for one in own if one)
    return make_conninfo(**parameters)


def session_settings(schema: str) -> dict[str, str]:
    """Return the session's settings: index scans only, since early plans outlive small tables."""
    return {"search_path": schema, "enable_seqscan": "off", "jit": "off"}


def connect(
    dsn: str,
    *,
    schema: str | None = None,
    pooler: bool = False,
    autocommit: bool = False,
    answer_within_s: float = ANSWER_WITHIN_S,
) -> Connection[Any]:
    """Open a connection outside a pool; raise psycopg's errors."""
    connection = Connection.connect(
        conninfo(dsn, schema=schema, pooler=pooler),
        autocommit=autocommit,
        prepare_threshold=None if pooler else PREPARE_THRESHOLD,
    )
    connection.answer_within_s = answer_within_s
    return connection


def cause_of(error: BaseException) -> str:
    """Describe an error of the server or the connection on one line.

    libpq's messages name hosts, roles and databases, never a password.
    """
    cause = " ".join(str(error).split()) or type(error).__name__
    if is_poolers_refusal(error):
        cause += " (a pooler: set STARFOLD_DATABASE_POOLER=true)"
    return cause


def is_poolers_refusal(error: BaseException) -> bool:
    """Whether a transaction pooler has refused what a session begins with."""
    return "unsupported startup parameter" in str(error)


def is_storage_full(error: BaseException | None) -> bool:
    """Whether the error, or one of its causes, says that the server's disk is full."""
    while error is not None:
        if isinstance(error, errors.DiskFull):
            return True
        error = error.__cause__ or error.__context__
    return False


def forget_libpq_variables() -> list[str]:
    """Remove PGHOST, PGOPTIONS and all others that libpq would add to a connection string.

    `STARFOLD_*_DATABASE_URL` alone defines a connection. Return the names of the removed variables.
    """
    listed = {
        option.envvar.decode() for option in psycopg.pq.Conninfo.get_defaults() if option.envvar
    }
    present = sorted((listed | _LIBPQ_VARIABLES) & os.environ.keys())
    for name in present:
        del os.environ[name]
    return present


def _session_options(schema: str) -> str:
    return " ".join(f"-c {name}={value}" for name, value in session_settings(schema).items())


def _no_answer(within_s: float) -> NoAnswer:
    return NoAnswer(f"PostgreSQL has not answered for {within_s:g} s")
