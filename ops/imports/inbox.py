"""Read members' files from PostgreSQL and say what to write.

This opens files from strangers, in a process of its own (`ops/import_reader.py`), and so may write
no event: what it finds is written by the command API, in the name of the member whose key seals it.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
import psycopg
import structlog

from command_api.imports.parts import (
    ImportFormat,
    Kind,
    in_parts,
    sealed,
    sealed_failure,
    unsealed,
)
from ops.errors import OperatorError
from ops.imports.log_catalogue import movies_of_log
from ops.imports.matcher import Matcher
from ops.imports.member_file import Found, found_in
from ops.imports.reading.files import open_content
from projector.settings import ProjectorSettings
from shared.errors import Misconfigured
from shared.ids import UserId
from shared.log.connections import connect
from shared.log.sealing import KeyWrap

# Longer than a file takes, with the catalogue: the import of a worker that died waits this long.
LEASE_S = 180.0
# A file that has ended this many processes is refused.
ATTEMPTS_MAX = 3
ANSWER_WITHIN_S = 30.0
# Movies created later are found by the next import after this time.
CATALOGUE_FRESH_S = 60.0
UNREADABLE = "the file could not be read"
# Not the file's fault: its lease ends, and it is read again, `ATTEMPTS_MAX` times.
_PASSING = (psycopg.OperationalError, psycopg.InterfaceError, Misconfigured)

_TAKE = """
UPDATE imports SET state = 'reading', attempts = attempts + 1, changed_at = now(),
    leased_until = now() + make_interval(secs => %s)
WHERE import_id = (
    SELECT import_id FROM imports
    WHERE state IN ('queued', 'reading') AND coalesce(leased_until < now(), true)
    ORDER BY changed_at LIMIT 1 FOR UPDATE SKIP LOCKED
)
RETURNING import_id, user_id, format, attempts, created_at
"""
_GIVE_BACK = """
UPDATE imports SET state = 'queued', attempts = attempts - 1, leased_until = NULL
WHERE import_id = %s AND state = 'reading' AND attempts = %s
"""
_KEY = "SELECT wrapped FROM subject_keys WHERE user_id = %s"
_FILE = (
    "SELECT number, content FROM import_parts WHERE import_id = %s AND kind = 'file'"
    " ORDER BY number"
)
# Only for the attempt that has read the file: another may have begun meanwhile.
# One statement: an erasure waits for no open transaction.
_READ = """
WITH changed AS (
    UPDATE imports SET state = CASE WHEN %(parts)s = 0 THEN 'finished' ELSE 'writing' END,
        format = %(format)s, parts = %(parts)s, counts = %(counts)s::jsonb, leased_until = NULL,
        changed_at = now()
    WHERE import_id = %(import_id)s AND state = 'reading' AND attempts = %(attempts)s
    RETURNING import_id
), gone AS (
    DELETE FROM import_parts part USING changed
    WHERE part.import_id = changed.import_id AND part.kind = 'file'
)
INSERT INTO import_parts (import_id, kind, number, content)
SELECT import_id, part.* FROM changed,
    unnest(%(kinds)s::text[], %(numbers)s::integer[], %(contents)b::bytea[]) part
"""
_FAILED = """
WITH changed AS (
    UPDATE imports SET state = 'failed', failure = %s, leased_until = NULL, changed_at = now()
    WHERE import_id = %s AND state = 'reading' AND attempts = %s
    RETURNING import_id
)
DELETE FROM import_parts part USING changed
WHERE part.import_id = changed.import_id AND part.kind = 'file'
"""

log = structlog.get_logger()


class Taken(NamedTuple):
    """An import whose file this process reads."""

    import_id: UUID
    user_id: UserId
    format: ImportFormat | None
    attempt: int
    created_at: datetime


class Inbox:
    """Reads one file at a time; `step` reads the next one."""

    def __init__(self, settings: ProjectorSettings) -> None:
        self._settings = settings
        self._key_wrap = KeyWrap(*settings.sealing_keys)
        self._connection: psycopg.Connection[Any] | None = None
        self._matcher = Matcher()
        self._matcher_read_at_s: float | None = None

    def step(self) -> bool:
        """Read the next file; return whether there was one."""
        row = self._connected().execute(_TAKE, [LEASE_S]).fetchone()
        if row is None:
            return False
        taken = Taken(*row)
        import_log = log.bind(import_id=str(taken.import_id))
        try:
            found = self._read(taken)
            if found is not None:
                self._store(taken, found)
                import_log.info("import_read", format=found.format, ratings=len(found.ratings))
        except SystemExit:
            self._connected().execute(_GIVE_BACK, [taken.import_id, taken.attempt])
            raise
        except (OperatorError, MemoryError) as error:
            large = isinstance(error, MemoryError)
            reason = "the file takes too much memory" if large else str(error)
            self._failed(taken, reason)
            import_log.info("import_refused")
        except _PASSING:
            raise
        except Exception as error:  # noqa: BLE001  # One file's fault: the others are read.
            self._failed(taken, UNREADABLE)
            # The error's text may quote the file.
            import_log.error("import_failed", error=type(error).__name__, at=place_of(error))
        return True

    def close(self) -> None:
        """Drop the connection; the next step makes another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None:
            self._connection = connect(
                self._settings.database_url.get_secret_value(),
                schema=self._settings.database_schema,
                pooler=self._settings.database_pooler,
                autocommit=True,
                answer_within_s=ANSWER_WITHIN_S,
            )
        return self._connection

    def _read(self, taken: Taken) -> Found | None:
        """Return what the file holds; None if the import was deleted meanwhile."""
        if taken.attempt > ATTEMPTS_MAX:
            raise OperatorError("the file takes too much time or memory to read")
        key = self._key(taken)
        rows = self._connected().execute(_FILE, [taken.import_id]).fetchall()
        if key is None or not rows:
            return None
        content = b"".join(
            unsealed(key, taken.import_id, "file", number, part) for number, part in rows
        )
        del rows
        with open_content(content, taken.created_at) as files:
            return found_in(files, taken.format, self._catalogue())

    def _catalogue(self) -> Matcher:
        now_s = time.monotonic()
        read_at_s = self._matcher_read_at_s
        if read_at_s is None or now_s - read_at_s > CATALOGUE_FRESH_S:
            self._matcher = Matcher(movies_of_log(self._connected()))
            self._matcher_read_at_s = now_s
        return self._matcher

    def _key(self, taken: Taken) -> bytes | None:
        row = self._connected().execute(_KEY, [taken.user_id]).fetchone()
        return None if row is None else self._key_wrap.unwrap(taken.user_id, row[0])

    def _store(self, taken: Taken, found: Found) -> None:
        key = self._key(taken)
        if key is None:
            return
        kinds: Sequence[tuple[Kind, Sequence[Any]]] = (
            ("ratings", found.ratings),
            ("unmatched", found.unmatched),
            ("report", found.report),
        )
        parts = [
            (kind, number, sealed(key, taken.import_id, kind, number, msgspec.json.encode(part)))
            for kind, elements in kinds
            for number, part in enumerate(in_parts(elements))
        ]
        stated = {
            "import_id": taken.import_id,
            "attempts": taken.attempt,
            "format": found.format,
            "parts": len(in_parts(found.ratings)),
            "counts": msgspec.json.encode(found.counts).decode(),
            "kinds": [kind for kind, _, _ in parts],
            "numbers": [number for _, number, _ in parts],
            "contents": [content for _, _, content in parts],
        }
        self._connected().execute(_READ, stated)

    def _failed(self, taken: Taken, reason: str) -> None:
        try:
            key = self._key(taken)
        except Misconfigured:  # After the last attempt the import ends without its reason.
            failure = None
        else:
            failure = None if key is None else sealed_failure(key, taken.import_id, reason)
        self._connected().execute(_FAILED, [failure, taken.import_id, taken.attempt])


def place_of(error: Exception) -> str:
    """Return where an error was raised, as a file's name and a line."""
    *_, last = traceback.extract_tb(error.__traceback__)
    return f"{Path(last.filename).name}:{last.lineno}"
