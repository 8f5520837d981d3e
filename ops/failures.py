"""What went wrong with a command, on one line, with the path or the server that it is about."""

from __future__ import annotations

import httpx
import psycopg
import redis
from eventsourcing.persistence import PersistenceError

from ops.errors import OperatorError
from shared.errors import StarfoldError
from shared.log.connections import cause_of, is_storage_full


def failure_text(error: Exception) -> str:
    """Return the cause of an error on one line."""
    match error:
        case OperatorError():
            text = str(error)
        case BrokenPipeError():
            text = "nobody reads the output any more"
        case PersistenceError() | psycopg.Error():
            away = "has no room on its disk" if is_storage_full(error) else "does not answer"
            text = f"PostgreSQL {away}: {cause_of(error)}"
        case redis.AuthenticationError():
            text = f"Redis refuses user or password: {error}"
        case redis.RedisError():
            text = f"Redis does not answer: {error}"
        case httpx.HTTPError():
            text = f"Starfold does not answer: {error}"
        case OSError():
            text = _of_the_system(error)
        case StarfoldError():
            text = str(error)
        case _:
            text = f"{type(error).__name__}: {error} (STARFOLD_LOG_LEVEL=DEBUG shows where)"
    return " ".join(text.split())


def _of_the_system(error: OSError) -> str:
    """The path, where there is one, and the reason as the system has it."""
    reason = error.strerror or str(error) or type(error).__name__
    paths = [str(path) for path in (error.filename, error.filename2) if path is not None]
    return ": ".join([" to ".join(paths), reason]) if paths else reason
