"""Members' imports in PostgreSQL, as the command API sees them.

The worker reads the file and says what to write (`ops/imports/inbox.py`); the command API writes
it in the member's name (`command_api/imports/writer.py`). Every change of an import is one
statement on the state that it was decided on, so that no two processes do the same step.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import hmac
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec

from command_api.deciding.load_result import LoadRequest
from command_api.imports.parts import (
    ELEMENTS_A_PART,
    ImportFormat,
    Kind,
    Proposal,
    ReportLine,
    State,
    UnmatchedFilm,
    sealed,
    unsealed,
)
from command_api.store.arrays import BigintArray, ByteaArray
from command_api.store.store import Store
from shared.errors import Conflict, InvalidInput, NotAuthenticated, NotFound, Overloaded
from shared.ids import UserId, new_uuid7
from shared.log.sealing import KEY_BYTES, KeyWrap

CHUNK_BYTES = 1024 * 1024
# Files that wait or are read, of all members together.
WAITING_MAX = 100
# An import that ended is deleted after this time, and earlier when the member has more.
KEPT_FOR_DAYS = 7
KEPT_PER_MEMBER = 5
# Films that one answer lists to choose for.
CHOICES_SHOWN = 200
EMPTY_PART_BYTES = len(sealed(bytes(KEY_BYTES), UUID(int=0), "unmatched", 0, b"[]"))

_COLUMNS = (
    b"import_id, user_id, format, state, parts, parts_written, counts::text, failure, created_at"
)
_OPEN = b"state IN ('queued', 'reading', 'writing')"
_MINE = b"SELECT " + _COLUMNS + b" FROM imports WHERE user_id = %s ORDER BY created_at DESC"
_ONE = b"SELECT " + _COLUMNS + b" FROM imports WHERE user_id = %s AND import_id = %s"
_IN_PROGRESS = b"SELECT " + _COLUMNS + b", file_hmac FROM imports WHERE user_id = %s AND " + _OPEN
_WAITING = b"SELECT count(*) FROM imports WHERE state IN ('queued', 'reading')"
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
_PARTS = (
    b"SELECT number, content FROM import_parts WHERE import_id = %s AND kind = %s ORDER BY number"
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
    WHERE import_id = %(import_id)s AND state = 'finished' AND parts = %(parts)s
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
_RELEASE = b"UPDATE imports SET leased_until = NULL WHERE import_id = %s"
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

Element = TypeVar("Element", Proposal, UnmatchedFilm, ReportLine)


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


class Shelf:
    """Adds, shows and deletes members' imports."""

    def __init__(self, store: Store, key_wrap: KeyWrap, secret: bytes) -> None:
        self._store = store
        self._key_wrap = key_wrap
        self._secret = secret

    async def add(self, user_id: UserId, content: bytes, wanted: ImportFormat | None) -> Import:
        """Store a file to import; the repeat of an upload gets the import that is in progress.

        Raises `Conflict` while another import of the member is in progress, and `Overloaded` while
        too many members' files wait.
        """
        file_hmac = hmac.digest(self._secret, b"import\0" + content, hashlib.sha256)
        if (repeated := await self._in_progress(user_id, file_hmac)) is not None:
            return repeated
        ((waiting,),) = await self._store.rows(_WAITING)
        if waiting >= WAITING_MAX:
            raise Overloaded(f"{waiting} imports are waiting already")
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
        if not added and (same := await self._in_progress(user_id, file_hmac)) is not None:
            return same
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
        return [_import(row) for row in await self._store.rows(_MINE, [user_id])]

    async def get(self, user_id: UserId, import_id: UUID) -> Import:
        """Return an import of the user; raise `NotFound`."""
        for row in await self._store.rows(_ONE, [user_id, import_id]):
            return _import(row)
        raise NotFound("there is no such import")

    async def delete(self, user_id: UserId, import_id: UUID) -> None:
        """Delete an import of the user, which ends it; raise `NotFound`."""
        if not await self._store.execute(_DELETE, [user_id, import_id]):
            raise NotFound("there is no such import")

    async def choices(self, one: Import) -> list[UnmatchedFilm]:
        """Return films to choose a movie for, at most `CHOICES_SHOWN`."""
        if not one.counts.get("unmatched"):
            return []
        key = await self.key(one.user_id)
        films: list[UnmatchedFilm] = []
        for number, content in await self._store.rows(_FILMS, [one.import_id, EMPTY_PART_BYTES]):
            films += _decoded(key, one.import_id, "unmatched", number, content, UnmatchedFilm)
        return films[:CHOICES_SHOWN]

    async def choose(self, one: Import, chosen: Mapping[int, UUID]) -> None:
        """Queue the ratings of films, by number, for the movies that the member has chosen.

        Raises `InvalidInput` for a film that is not unmatched,
        and `Conflict` unless the import is finished.
        """
        key = await self.key(one.user_id)
        numbers = BigintArray.of(sorted({film // ELEMENTS_A_PART for film in chosen}))
        rows = await self._store.rows(_FILMS_OF, [one.import_id, numbers])
        proposals: list[Proposal] = []
        contents: list[bytes] = []
        for number, content in rows:
            films = _decoded(key, one.import_id, "unmatched", number, content, UnmatchedFilm)
            for film in films:
                if film.number in chosen:
                    movie_id = chosen[film.number]
                    proposals.append(msgspec.structs.replace(film.proposal, movie_id=movie_id))
            left = [film for film in films if film.number not in chosen]
            contents.append(_encoded(key, one.import_id, "unmatched", number, left))
        if len(proposals) < len(chosen):
            raise InvalidInput("a film is not among the unmatched ones", pointer="/choices")
        counts = dict(one.counts)
        counts["unmatched"] -= sum(len(proposal.rows) for proposal in proposals)
        changed = await self._store.rows(
            _CHOOSE,
            {
                "import_id": one.import_id,
                "parts": one.parts,
                "counts": msgspec.json.encode(counts).decode(),
                "numbers": BigintArray.of([number for number, _ in rows]),
                "contents": ByteaArray.of(contents),
                "ratings": _encoded(key, one.import_id, "ratings", one.parts, proposals),
            },
        )
        if not changed:
            raise Conflict("the import is in progress: choose once it is finished")

    async def report(self, one: Import) -> bytes:
        """Return a line for each row of the file as CSV."""
        key = await self.key(one.user_id)
        lines: list[ReportLine] = []
        kinds: tuple[Kind, ...] = ("report", "written")
        for kind in kinds:
            for number, content in await self._store.rows(_PARTS, [one.import_id, kind]):
                lines += _decoded(key, one.import_id, kind, number, content, ReportLine)
        for number, content in await self._store.rows(_PARTS, [one.import_id, "unmatched"]):
            for film in _decoded(key, one.import_id, "unmatched", number, content, UnmatchedFilm):
                shown = "; ".join(f"{it.title} ({it.year})" for it in film.candidates)
                lines += outcome(film.proposal, "unmatched", None, shown or None)
        return await asyncio.to_thread(_csv, lines)

    async def take(self, lease_s: float) -> Import | None:
        """Take an import with ratings to write, for a time."""
        for row in await self._store.rows(_TAKE, [lease_s]):
            return _import(row)
        return None

    async def release(self, one: Import) -> None:
        await self._store.execute(_RELEASE, [one.import_id])

    async def proposals(self, one: Import) -> list[Proposal]:
        """Return the next ratings to write; none if the import was deleted meanwhile."""
        for number, content in await self._store.rows(_PART, [one.import_id, one.parts_written]):
            key = await self.key(one.user_id)
            return _decoded(key, one.import_id, "ratings", number, content, Proposal)
        return []

    async def written(self, one: Import, lines: Sequence[ReportLine]) -> None:
        """Note what became of the next ratings; nothing if another process has noted it."""
        counts = dict(one.counts)
        for line in lines:
            counts[line.status] = counts.get(line.status, 0) + 1
        key, number = await self.key(one.user_id), one.parts_written
        noted = {
            "import_id": one.import_id,
            "number": number,
            "counts": msgspec.json.encode(counts).decode(),
            "content": _encoded(key, one.import_id, "written", number, lines),
        }
        await self._store.rows(_WRITTEN, noted)

    async def purge(self) -> int:
        """Delete the imports that nothing has happened to for long, and return their number."""
        return await self._store.delete_all(_PURGE, [KEPT_FOR_DAYS])

    async def key(self, user_id: UserId) -> bytes:
        """Return the user's key; raise `NotAuthenticated` for an erased user."""
        loaded = await self._store.load(LoadRequest(subjects=[user_id]))
        wrapped = loaded.wrapped_keys.get(user_id)
        if wrapped is None:
            raise NotAuthenticated("the user of this access token no longer exists")
        return self._key_wrap.unwrap(user_id, wrapped)


def outcome(
    proposal: Proposal, status: str, movie_id: UUID | None, detail: str | None
) -> Iterable[ReportLine]:
    """Return the lines of a rating's rows with a status."""
    shown = None if movie_id is None else str(movie_id)
    return [
        msgspec.structs.replace(row, status=status, movie_id=shown, detail=detail)
        for row in proposal.rows
    ]


def _import(row: Sequence[Any]) -> Import:
    one = dict(zip(Import.__struct_fields__, row, strict=True))
    one["counts"] = msgspec.json.decode(one["counts"])
    return Import(**one)


def _sealed_chunks(key: bytes, import_id: UUID, content: bytes) -> list[bytes]:
    chunks = [content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES)]
    return [sealed(key, import_id, "file", number, chunk) for number, chunk in enumerate(chunks)]


def _encoded(
    key: bytes, import_id: UUID, kind: Kind, number: int, elements: Sequence[object]
) -> bytes:
    return sealed(key, import_id, kind, number, msgspec.json.encode(elements))


def _decoded(
    key: bytes, import_id: UUID, kind: Kind, number: int, content: bytes, element: type[Element]
) -> list[Element]:
    opened = unsealed(key, import_id, kind, number, bytes(content))
    return msgspec.json.decode(opened, type=list[element])  # type: ignore[valid-type]


def _csv(lines: Sequence[ReportLine]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(ReportLine.__struct_fields__)
    writer.writerows(
        msgspec.structs.astuple(line)
        for line in sorted(lines, key=lambda line: (line.file, line.line))
    )
    return stream.getvalue().encode()
