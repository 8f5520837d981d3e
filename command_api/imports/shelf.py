"""Members' imports in PostgreSQL, as the command API sees them.

The worker reads the file and says what to write (`ops/imports/inbox.py`); the command API writes
it in the member's name (`command_api/imports/writer.py`). Every change of an import is one
statement on the state that it was decided on, so that no two processes do the same step.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from command_api.deciding.load_result import LoadRequest
from command_api.imports.chosen_movies import require_rateable
from command_api.imports.contents import PROPOSALS, Contents
from command_api.imports.parts import (
    ELEMENTS_A_PART,
    ImportFormat,
    Proposal,
    ReportLine,
    State,
    UnmatchedFilm,
    sealed,
    unsealed_failure,
)
from command_api.privacy.places import Places
from command_api.store.arrays import BigintArray, ByteaArray
from command_api.store.store import Store
from shared.errors import AppendRefused, Conflict, NotAuthenticated, NotFound, Overloaded
from shared.ids import UserId, new_uuid7
from shared.log.sealing import KEY_BYTES, KeyWrap

CHUNK_BYTES = 1024 * 1024
# Files that wait or are read, of all members together, and their bytes.
WAITING_MAX = 100
WAITING_BYTES_MAX = 256 * 1024**2
# An import that ended is deleted after this time, and earlier when the member has more.
KEPT_FOR_DAYS = 7
KEPT_PER_MEMBER = 5
# Reports that are made at once, and choices that are worked on: either opens a whole import.
REPORTS_MAX = 2
IN_PROGRESS = "an import is in progress: choose once it has ended"
UNWRITTEN = "the ratings could not be written: send the file again"
# Films that one answer lists to choose for.
CHOICES_SHOWN = 200
EMPTY_PART_BYTES = len(sealed(bytes(KEY_BYTES), UUID(int=0), "unmatched", 0, b"[]"))

_COLUMNS = (
    b"import_id, user_id, format, state, parts, parts_written, counts::text, failure, created_at,"
    b" leased_until"
)
_OPEN = b"state IN ('queued', 'reading', 'writing')"
_MINE = b"SELECT " + _COLUMNS + b" FROM imports WHERE user_id = %s ORDER BY created_at DESC"
_ONE = b"SELECT " + _COLUMNS + b" FROM imports WHERE user_id = %s AND import_id = %s"
_IN_PROGRESS = b"SELECT " + _COLUMNS + b", file_hmac FROM imports WHERE user_id = %s AND " + _OPEN
_WAITING = (
    b"SELECT count(DISTINCT import_id), coalesce(sum(octet_length(content)), 0)::bigint"
    b" FROM imports LEFT JOIN import_parts part USING (import_id)"
    b" WHERE state IN ('queued', 'reading')"
)
# A unique index keeps out a second import of the member.
_ADD = b"""
WITH added AS (
    INSERT INTO imports (import_id, user_id, file_hmac, format)
    SELECT %(import_id)s, user_id, %(file_hmac)s, %(format)s
    FROM subject_keys WHERE user_id = %(user_id)s
    ON CONFLICT DO NOTHING
    RETURNING import_id
), stored AS (
    INSERT INTO import_parts (import_id, kind, number, content)
    SELECT import_id, 'file', chunk.number - 1, chunk.content
    FROM added, unnest(%(chunks)s) WITH ORDINALITY AS chunk (content, number)
)
SELECT import_id FROM added
"""
_DROP_OLD = b"""
DELETE FROM imports WHERE import_id IN (
    SELECT import_id FROM imports WHERE user_id = %s AND state IN ('finished', 'failed')
    ORDER BY created_at DESC OFFSET %s
)
"""
_DELETE = b"DELETE FROM imports WHERE user_id = %s AND import_id = %s"
_REPORTED = (
    b"SELECT kind, number, content FROM import_parts"
    b" WHERE import_id = %s AND kind IN ('report', 'written', 'unmatched')"
)
# Without parts that are an empty list. The first one that is left may have few films.
_FILMS = (
    b"SELECT number, content FROM import_parts WHERE import_id = %s AND kind = 'unmatched'"
    b" AND octet_length(content) > %s ORDER BY number LIMIT 2"
)
_FILMS_OF = (
    b"SELECT number, content FROM import_parts"
    b" WHERE import_id = %s AND kind = 'unmatched' AND number = ANY (%s)"
)
_CHOOSE = b"""
WITH changed AS (
    UPDATE imports SET state = 'writing', parts = parts + 1, counts = %(counts)s::jsonb,
        changed_at = now()
    WHERE import_id = %(import_id)s AND state = 'finished' AND parts = %(parts)s AND NOT EXISTS (
        SELECT FROM imports WHERE user_id = %(user_id)s AND state NOT IN ('finished', 'failed')
    )
    RETURNING import_id
), remaining AS (
    UPDATE import_parts part SET content = film.content
    FROM changed, unnest(%(numbers)s, %(contents)s) AS film (number, content)
    WHERE part.import_id = changed.import_id AND part.kind = 'unmatched'
        AND part.number = film.number
), added AS (
    INSERT INTO import_parts (import_id, kind, number, content)
    SELECT import_id, 'ratings', %(parts)s, %(ratings)s FROM changed
)
SELECT import_id FROM changed
"""
# The one whose last step is longest ago, so that all advance.
_TAKE = (
    b"UPDATE imports SET leased_until = now() + make_interval(secs => %s) WHERE import_id = ("
    b"SELECT import_id FROM imports WHERE state = 'writing'"
    b" AND coalesce(leased_until < now(), true) ORDER BY changed_at LIMIT 1 FOR UPDATE SKIP LOCKED"
    b") RETURNING " + _COLUMNS
)
# Only for the process that holds the lease: another one may have taken the import since. The next
# turn is another import's.
_RELEASE = (
    b"UPDATE imports SET leased_until = NULL, changed_at = now()"
    b" WHERE import_id = %s AND leased_until = %s"
)
_FAIL = (
    b"UPDATE imports SET state = 'failed', leased_until = NULL, changed_at = now()"
    b" WHERE import_id = %s AND leased_until = %s"
)
_PART = (
    b"SELECT number, content FROM import_parts"
    b" WHERE import_id = %s AND kind = 'ratings' AND number = %s"
)
_WRITTEN = b"""
WITH changed AS (
    UPDATE imports SET parts_written = parts_written + 1, counts = %(counts)s::jsonb,
        state = CASE WHEN parts_written + 1 >= parts THEN 'finished' ELSE 'writing' END,
        leased_until = NULL, changed_at = now()
    WHERE import_id = %(import_id)s AND state = 'writing' AND parts_written = %(number)s
    RETURNING import_id
), gone AS (
    DELETE FROM import_parts part USING changed
    WHERE part.import_id = changed.import_id AND part.kind = 'ratings' AND part.number = %(number)s
)
INSERT INTO import_parts (import_id, kind, number, content)
SELECT import_id, 'written', %(number)s, %(content)s FROM changed
RETURNING number
"""
_PURGE = (
    b"DELETE FROM imports WHERE import_id IN (SELECT import_id FROM imports"
    b" WHERE changed_at < now() - make_interval(days => %s) LIMIT %s)"
)


class Import(msgspec.Struct, frozen=True):
    """An import; `counts` are rows of the file by outcome."""

    import_id: UUID
    user_id: UserId
    format: ImportFormat | None
    state: State
    parts: int
    parts_written: int
    counts: Mapping[str, int]
    failure: str | None
    created_at: datetime
    leased_until: datetime | None


class Shelf:
    """Adds, shows and deletes members' imports."""

    def __init__(self, store: Store, key_wrap: KeyWrap, secret: bytes) -> None:
        self._store = store
        self._key_wrap = key_wrap
        self._secret = secret
        self._places = Places(REPORTS_MAX, "report or choice")

    async def add(self, user_id: UserId, content: bytes, wanted: ImportFormat | None) -> Import:
        """Store a file to import; the repeat of an upload gets the import that is in progress.

        Raises `Conflict` while another import of the member is in progress, and `Overloaded` while
        too many members' files wait.
        """
        file_hmac = await asyncio.to_thread(
            hmac.digest, self._secret, b"import\0" + content, hashlib.sha256
        )
        if (repeated := await self._in_progress(user_id, file_hmac)) is not None:
            return repeated
        ((waiting, waiting_bytes),) = await self._store.rows(_WAITING)
        if waiting >= WAITING_MAX or waiting_bytes + len(content) > WAITING_BYTES_MAX:
            raise Overloaded(f"{waiting} imports of {waiting_bytes:,} bytes are waiting already")
        key, import_id = await self.key(user_id), new_uuid7()
        chunks = await asyncio.to_thread(_sealed_chunks, key, import_id, content)
        added = await self._store.rows(
            _ADD,
            {
                "user_id": user_id,
                "import_id": import_id,
                "file_hmac": file_hmac,
                "format": wanted,
                "chunks": ByteaArray.of(chunks),
            },
        )
        if not added:
            if (same := await self._in_progress(user_id, file_hmac)) is not None:
                return same
            raise Conflict("another import has just ended: send the file again")
        await self._store.execute(_DROP_OLD, [user_id, KEPT_PER_MEMBER])
        return await self.get(user_id, import_id)

    async def _in_progress(self, user_id: UserId, file_hmac: bytes) -> Import | None:
        """Return the user's import in progress; raise `Conflict` if it is of another file."""
        for *row, present in await self._store.rows(_IN_PROGRESS, [user_id]):
            if bytes(present) != file_hmac:
                raise Conflict("another import is in progress: wait for its end, or delete it")
            return _import(row)
        return None

    async def mine(self, user_id: UserId) -> list[Import]:
        """Return the user's imports, the newest first."""
        return await self._readable(user_id, await self._store.rows(_MINE, [user_id]))

    async def get(self, user_id: UserId, import_id: UUID) -> Import:
        """Return an import of the user; raise `NotFound`."""
        rows = await self._store.rows(_ONE, [user_id, import_id])
        for one in await self._readable(user_id, rows):
            return one
        raise NotFound("there is no such import")

    async def _readable(self, user_id: UserId, rows: Sequence[Sequence[Any]]) -> list[Import]:
        """Return a user's imports with the reasons of those that failed."""
        found = [_import(row) for row in rows]
        key = await self.key(user_id) if any(one.failure for one in found) else b""
        return [_with_reason(one, key) for one in found]

    async def delete(self, user_id: UserId, import_id: UUID) -> None:
        """Delete an import of the user, which ends it; raise `NotFound`."""
        if not await self._store.execute(_DELETE, [user_id, import_id]):
            raise NotFound("there is no such import")

    async def choices(self, one: Import) -> list[UnmatchedFilm]:
        """Return films to choose a movie for, at most `CHOICES_SHOWN`."""
        if not one.counts.get("unmatched"):
            return []
        contents = await self._contents(one)
        parts = await self._store.rows(_FILMS, [one.import_id, EMPTY_PART_BYTES])
        return await asyncio.to_thread(contents.films, parts, CHOICES_SHOWN)

    async def choose(self, one: Import, movies: Mapping[int, UUID]) -> None:
        """Queue the ratings of films, by number, for the movies that the member has chosen.

        Raises `InvalidInput` for a film that is not unmatched and for a movie that takes no
        ratings, `Conflict` unless the import is finished and no other one is in progress, and
        `Overloaded` as `report` does.
        """
        if one.state == "failed":
            raise Conflict("the import has failed: send the file again")
        if one.state != "finished":
            raise Conflict(IN_PROGRESS)
        numbers = BigintArray.of(sorted({film // ELEMENTS_A_PART for film in movies}))
        with self._places.held(one.user_id):
            await require_rateable(self._store, list(movies.values()))
            parts = await self._store.rows(_FILMS_OF, [one.import_id, numbers])
            contents = await self._contents(one)
            choice = await asyncio.to_thread(contents.chosen, parts, movies, one.parts)
        counts = dict(one.counts)
        counts["unmatched"] -= choice.rows
        chosen = {
            "import_id": one.import_id,
            "user_id": one.user_id,
            "parts": one.parts,
            "counts": msgspec.json.encode(counts).decode(),
            "numbers": BigintArray.of(list(choice.films)),
            "contents": ByteaArray.of(list(choice.films.values())),
            "ratings": choice.ratings,
        }
        try:
            changed = await self._store.rows(_CHOOSE, chosen)
        except AppendRefused:  # By the unique index: another import began at the same moment.
            changed = []
        if not changed:
            raise Conflict(IN_PROGRESS)

    async def report(self, one: Import) -> bytes:
        """Return a line for each row of the file as CSV.

        Raises `Overloaded` while another report of the user is made, or too many others are.
        """
        with self._places.held(one.user_id):
            parts = await self._store.rows(_REPORTED, [one.import_id])
            contents = await self._contents(one)
            return await asyncio.to_thread(contents.report, parts)

    async def take(self, lease_s: float) -> Import | None:
        """Take an import with ratings to write, for a time."""
        for row in await self._store.rows(_TAKE, [lease_s]):
            return _import(row)
        return None

    async def release(self, one: Import) -> None:
        """Leave an import that was taken to any process, if its lease has not ended."""
        await self._store.execute(_RELEASE, [one.import_id, one.leased_until])

    async def fail(self, one: Import) -> None:
        """End an import that was taken and cannot be written, if its lease has not ended."""
        await self._store.execute(_FAIL, [one.import_id, one.leased_until])

    async def proposals(self, one: Import) -> list[Proposal]:
        """Return the next ratings to write; none if the import was deleted meanwhile."""
        for number, content in await self._store.rows(_PART, [one.import_id, one.parts_written]):
            contents = await self._contents(one)
            return await asyncio.to_thread(contents.decoded, "ratings", number, content, PROPOSALS)
        return []

    async def written(self, one: Import, lines: Sequence[ReportLine]) -> None:
        """Note what became of the next ratings; nothing if another process has noted it."""
        counts = dict(one.counts)
        for line in lines:
            counts[line.status] = counts.get(line.status, 0) + 1
        contents, number = await self._contents(one), one.parts_written
        noted = {
            "import_id": one.import_id,
            "number": number,
            "counts": msgspec.json.encode(counts).decode(),
            "content": contents.encoded("written", number, lines),
        }
        await self._store.rows(_WRITTEN, noted)

    async def purge(self) -> int:
        """Delete the imports that nothing has happened to for long, and return their number."""
        return await self._store.delete_all(_PURGE, [KEPT_FOR_DAYS])

    async def _contents(self, one: Import) -> Contents:
        return Contents(await self.key(one.user_id), one.import_id)

    async def key(self, user_id: UserId) -> bytes:
        """Return the user's key; raise `NotAuthenticated` for an erased user."""
        loaded = await self._store.load(LoadRequest(subjects=[user_id]))
        wrapped = loaded.wrapped_keys.get(user_id)
        if wrapped is None:
            raise NotAuthenticated("the user of this access token no longer exists")
        return self._key_wrap.unwrap(user_id, wrapped)


def _import(row: Sequence[Any]) -> Import:
    one = dict(zip(Import.__struct_fields__, row, strict=True))
    one["counts"] = msgspec.json.decode(one["counts"])
    return Import(**one)


def _with_reason(one: Import, key: bytes) -> Import:
    if one.state != "failed":
        return one
    reason = unsealed_failure(key, one.import_id, one.failure) if one.failure else UNWRITTEN
    return msgspec.structs.replace(one, failure=reason)


def _sealed_chunks(key: bytes, import_id: UUID, content: bytes) -> list[bytes]:
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    return [sealed(key, import_id, "file", number, chunk) for number, chunk in enumerate(chunks)]
