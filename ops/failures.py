"""Describe the failure of a command on one line, with the path or server concerned."""

from __future__ import annotations

import psycopg
import redis
from eventsourcing.persistence import PersistenceError

from ops.errors import OperatorError
from shared.errors import StarfoldError
from shared.log.connections import cause_of, is_storage_full
from starfold_client.errors import ClientError, ConnectionFailed, Problem


def failure_text(error: Exception) -> str:
    """Return the cause of an error on one line."""
    match error:
        case OperatorError():
            text = str(error)
        case BrokenPipeError():
            text = "the reader of the output has closed it"
        case PersistenceError() | psycopg.Error():
            text = f"PostgreSQL {_what_postgres_does(error)}: {cause_of(error)}"
        case redis.AuthenticationError():
            text = f"Redis refuses the user or password: {error}"
        case redis.RedisError():
            text = f"Redis does not answer: {error}"
        case ConnectionFailed():
            text = f"Starfold does not answer: {error}; is it running?"
        case Problem():
            text = f"Starfold answers {error}"
        case ClientError():
            text = str(error)
        case OSError():
            text = _of_the_system(error)
        case StarfoldError():
            text = str(error)
        case _:
            text = f"{type(error).__name__}: {error} (STARFOLD_LOG_LEVEL=DEBUG shows where)"
    return " ".join(text.split())


def _what_postgres_does(error: Exception) -> str:
    if is_storage_full(error):
        return "has a full disk"
    cause = error.__cause__ if isinstance(error, PersistenceError) else error
    if isinstance(cause, psycopg.errors.InsufficientPrivilege):
        return "denies this to the settings' role"
    return "refuses this" if isinstance(cause, psycopg.ProgrammingError) else "does not answer"


def _of_the_system(error: OSError) -> str:
    """Return the paths, if any, and the operating system's reason."""
    reason = error.strerror or str(error) or type(error).__name__
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    return ": ".join([" to ".join(paths), reason]) if paths else reason
