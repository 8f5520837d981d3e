"""What a failed command says: one line with the cause, and with the path or server at fault."""

from __future__ import annotations

import errno
import os

import psycopg
import pytest
import redis
from eventsourcing.persistence import OperationalError

from ops.errors import OperatorError
from ops.failures import failure_text
from shared.errors import Misconfigured
from starfold_client.errors import ConnectionFailed, Forbidden, UnexpectedAnswer


def _system(number: int, *paths: str) -> OSError:
    return OSError(number, os.strerror(number), *paths)


def _library_error_over_a_full_disk() -> Exception:
    error = OperationalError("could not extend file")
    error.__cause__ = psycopg.errors.DiskFull("could not extend file")
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OperatorError("no\nmore"), "no more"),
        (Misconfigured("STARFOLD_PORT is wrong"), "STARFOLD_PORT is wrong"),
        (_system(errno.ENOSPC, "/data/home"), "/data/home: No space left on device"),
        (_system(errno.EACCES, "/data/home"), "/data/home: Permission denied"),
        (_system(errno.EMFILE), "Too many open files"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "Connection refused"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "the reader of the output has closed it"),
        (
            psycopg.errors.DiskFull("could not extend file"),
            "PostgreSQL has a full disk: could not extend file",
        ),
        (
            _library_error_over_a_full_disk(),
            "PostgreSQL has a full disk: could not extend file",
        ),
        (psycopg.OperationalError("refused"), "PostgreSQL does not answer: refused"),
        (
            psycopg.errors.InsufficientPrivilege("permission denied"),
            "PostgreSQL denies this to the settings' role: permission denied",
        ),
        (psycopg.errors.UndefinedTable("no table"), "PostgreSQL refuses this: no table"),
        (redis.ConnectionError("refused"), "Redis does not answer: refused"),
        (redis.AuthenticationError("no"), "Redis refuses the user or password: no"),
        (ConnectionFailed("GET x"), "Starfold does not answer: GET x; is it running?"),
        (Forbidden("forbidden", 403, detail="no"), "Starfold answers 403 forbidden: no"),
        (UnexpectedAnswer("no JSON"), "no JSON"),
        (KeyError("a"), "KeyError: 'a' (STARFOLD_LOG_LEVEL=DEBUG shows where)"),
    ],
)
def test_an_error_is_one_line_with_its_cause(error: Exception, text: str) -> None:
    assert failure_text(error) == text
