"""Connections to PostgreSQL, for every process: made here, bounded here, explained here.

A server may vanish without closing a connection: its packets are dropped, or it is stopped. TCP
keep-alives notice the first within 15 s, nothing in the kernel notices the second, and neither
exists on a Unix socket. So each statement has a deadline in the client too. A connection whose
server did not answer in time is closed: what was sent over it may still be carried out.
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
# psycopg's own: a statement is prepared when it comes this often.
PREPARE_THRESHOLD = 5
# psycopg's own: how often a waiting thread looks for Ctrl-C.
_INTERRUPTIBLE_EVERY_S = 0.1
# Noticed within 15 s; without effect on a Unix socket.
_KEEPALIVE = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
# What libpq reads beside the options that it lists itself.
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
            # `notifies()` waits for nothing in particular, and most of the time: it need not wake
            # up in between.
            return super().wait(gen, max(interval, timeout), timeout)
        try:
            return super().wait(gen, interval, self.answer_within_s)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise _no_answer(self.answer_within_s) from None


class AsyncConnection(psycopg.AsyncConnection[Row]):
    """The same on the event loop."""

    answer_within_s = ANSWER_WITHIN_S

    async def wait(
        self,
        gen: PQGen[RV],
        interval: float = _INTERRUPTIBLE_EVERY_S,
        timeout: float | None = None,  # noqa: ASYNC109  # The method that it overrides has it.
    ) -> RV:
        if timeout is not None:
            return await super().wait(gen, interval, timeout)
        try:
            return await super().wait(gen, interval, self.answer_within_s)
        except errors._WaitTimeout:
            self.pgconn.finish()
            raise _no_answer(self.answer_within_s) from None


def conninfo(dsn: str, *, schema: str | None = None, pooler: bool = False) -> str:
    """The connection string with keep-alives and a timeout for connecting; the DSN's own win.

    With a schema, its tables are found without their schema's name. A transaction pooler takes no
    options at start: there the database role carries them (`shared/log/schema.py`).
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
    """Every statement reads by an index; a plan made on a small table must not outlive it."""
    return {"search_path": schema, "enable_seqscan": "off", "jit": "off"}


def connect(
    dsn: str,
    *,
    schema: str | None = None,
    pooler: bool = False,
    autocommit: bool = False,
    answer_within_s: float = ANSWER_WITHIN_S,
) -> Connection[Any]:
    """A connection outside a pool. Raises psycopg's errors."""
    connection = Connection.connect(
        conninfo(dsn, schema=schema, pooler=pooler),
        autocommit=autocommit,
        prepare_threshold=None if pooler else PREPARE_THRESHOLD,
    )
    connection.answer_within_s = answer_within_s
    return connection


def cause_of(error: BaseException) -> str:
    """An error of the server or of the connection, on one line.

    libpq names hosts, roles and databases in it, never a password.
    """
    cause = " ".join(str(error).split()) or type(error).__name__
    if "unsupported startup parameter" in cause:
        cause += " (a pooler: set STARFOLD_DATABASE_POOLER=true)"
    return cause


def is_storage_full(error: BaseException | None) -> bool:
    """Tell whether the server has said, in the error or in a cause of it, that its disk is full."""
    while error is not None:
        if isinstance(error, errors.DiskFull):
            return True
        error = error.__cause__ or error.__context__
    return False


def forget_libpq_variables() -> list[str]:
    """Remove PGHOST, PGOPTIONS and all others that libpq would add to a connection string.

    What a connection is made of is in `STARFOLD_*_DATABASE_URL` alone. Returns the names removed.
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
