"""Read members' files from PostgreSQL and say what to write: `python -m ops.imports.inbox`.

The worker runs this in a process of its own, whose memory is limited. It opens files from
strangers, and so may write no event: what it finds is written by the command API, in the name of
the member whose key seals it.
"""

from __future__ import annotations

import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from types import FrameType
from typing import Any, NamedTuple, get_args
from uuid import UUID

import msgspec
import psycopg
import structlog

from command_api.imports.parts import (
    Candidate,
    ImportFormat,
    Kind,
    Proposal,
    ReportLine,
    UnmatchedFilm,
    in_parts,
    sealed,
    sealed_failure,
    unsealed,
)
from ops.errors import OperatorError
from ops.failures import failure_text
from ops.imports.formats.entry import DataSet, Entry, Film, Passed
from ops.imports.formats.files import Files, open_content
from ops.imports.importer import READERS, latest
from ops.imports.log_catalogue import movies_of_log
from ops.imports.matcher import Matcher, Movie
from ops.imports.report import Line, Report
from ops.imports.writer import DAY_AHEAD_MAX, Rating
from projector.settings import ProjectorSettings
from shared.ids import UserId
from shared.log.connections import connect, forget_libpq_variables
from shared.log.sealing import KeyWrap
from shared.process.logs import configure_logging
from shared.process.settings import settings_from_environment
from shared.process.tasks import Tasks

# Sixteen times the largest file that the command API takes would be of no person.
UNPACKED_BYTES_MAX = 64 * 1024**2
ROWS_MAX = 100_000
READ_WITHIN_S = 60.0
MEMORY_BYTES_MAX = 2 * 1024**3
# Longer than a file takes, with the catalogue: the import of a worker that died waits this long.
LEASE_S = 180.0
# A file that has ended this many processes is refused.
ATTEMPTS_MAX = 3
IDLE_S = 1.0
STALE_AFTER_S = 600.0
ANSWER_WITHIN_S = 30.0
# Movies created later are found by the next import after this time.
CATALOGUE_FRESH_S = 60.0
NO_MOVIE = UUID(int=0)
# The strictest first: many a table with a title and a rating is a spreadsheet, too.
FORMATS: tuple[ImportFormat, ...] = (
    "letterboxd",
    "imdb",
    "tmdb",
    "trakt",
    "starfold",
    "movielens",
    "csv",
)
assert {*FORMATS} == {*get_args(ImportFormat)}

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


class Found(NamedTuple):
    """What a file holds: ratings to write, films without a movie, and all other rows."""

    format: ImportFormat
    ratings: Sequence[Proposal]
    unmatched: Sequence[UnmatchedFilm]
    report: Sequence[ReportLine]

    @property
    def counts(self) -> dict[str, int]:
        counts = Counter(line.status for line in self.report)
        counts["unmatched"] = sum(len(film.proposal.rows) for film in self.unmatched)
        return {status: count for status, count in counts.items() if count}


class Lines(Report):
    """A report that keeps its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[ReportLine] = []

    def add(self, line: Line) -> None:
        self.lines.append(_line(line))


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
        except SystemExit:
            self._connected().execute(_GIVE_BACK, [taken.import_id, taken.attempt])
            raise
        except (OperatorError, MemoryError) as error:
            large = isinstance(error, MemoryError)
            reason = "the file takes too much memory" if large else str(error)
            self._failed(taken, reason)
            import_log.info("import_refused")
        else:
            if found is not None:
                self._store(taken, found)
                import_log.info("import_read", format=found.format, ratings=len(found.ratings))
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
            matcher = Matcher()
            for movie, other_titles in movies_of_log(self._connected()):
                matcher.add(movie, other_titles)
            self._matcher, self._matcher_read_at_s = matcher, now_s
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
        key = self._key(taken)
        if key is not None:
            failure = sealed_failure(key, taken.import_id, reason)
            self._connected().execute(_FAILED, [failure, taken.import_id, taken.attempt])


def found_in(files: Files, wanted: ImportFormat | None, matcher: Matcher) -> Found:
    """Read a member's file, and match it; raise `OperatorError` if it cannot be read."""
    unpacked = sum(file.size for file in files.files)
    if unpacked > UNPACKED_BYTES_MAX:
        raise OperatorError(f"the file would unpack to {unpacked:,} bytes")
    chosen = wanted or _detected(files)
    report = Lines()
    matched: list[tuple[Entry, Movie]] = []
    candidates: dict[Film, tuple[Movie, ...]] = {}
    unmatched: dict[Film, list[Entry]] = {}
    for entry in _entries(files, chosen, report):
        match = matcher.match(entry.film)
        if match.movie is not None:
            matched.append((entry, match.movie))
        else:
            candidates[entry.film] = match.candidates
            unmatched.setdefault(entry.film, []).append(entry)
    ratings = [_proposal(one, files.written_at) for one in latest(matched, report, None)]
    films: list[UnmatchedFilm] = []
    nobody = Movie(str(NO_MOVIE), "", 0)
    for film, entries in unmatched.items():
        others = Lines()
        for rating in latest([(entry, nobody) for entry in entries], others, None):
            films.append(
                UnmatchedFilm(
                    len(films),
                    film.title,
                    film.year,
                    [Candidate(UUID(it.movie_id), it.title, it.year) for it in candidates[film]],
                    _proposal(rating, files.written_at),
                )
            )
        report.lines += [msgspec.structs.replace(line, movie_id=None) for line in others.lines]
    return Found(chosen, ratings, films, report.lines)


def _entries(files: Files, chosen: ImportFormat, report: Report) -> Iterator[Entry]:
    give_up_at_s = time.monotonic() + READ_WITHIN_S
    reading = READERS[chosen](files)
    if isinstance(reading, DataSet):
        raise OperatorError("a data set of many people: only an operator can import it")
    for number, row in enumerate(reading, start=1):
        if number > ROWS_MAX:
            raise OperatorError(f"the file has more than {ROWS_MAX:,} rows")
        if time.monotonic() > give_up_at_s:
            raise OperatorError(f"reading the file takes more than {READ_WITHIN_S:.0f} s")
        if isinstance(row, Passed):
            report.passed(row)
        else:
            yield row


def _detected(files: Files) -> ImportFormat:
    """Return the first format in which the file has an entry; raise `OperatorError`."""
    reasons: dict[ImportFormat, str] = {}
    for tried in FORMATS:
        try:
            if next(_entries(files, tried, Report()), None) is not None:
                return tried
        except OperatorError as error:
            reasons[tried] = str(error)
    raise OperatorError(reasons.get("csv") or "the file has no rating in a known format")


def _proposal(rating: Rating, undated_at: datetime) -> Proposal:
    entry = rating.entry
    assert entry.half_stars is not None
    rated_at = entry.rated_at or undated_at
    # Noon of today may lie ahead, and tomorrow's where the day begins first.
    if entry.day_only and undated_at < rated_at <= undated_at + DAY_AHEAD_MAX:
        rated_at = undated_at
    rows = [
        ReportLine(one.file, one.line, "", one.film.title, one.film.year, None, one.half_stars)
        for one in (entry, *rating.also)
    ]
    movie_id = UUID(rating.movie_id)
    return Proposal(movie_id, entry.half_stars, rated_at, rating.review, rows)


def _line(line: Line) -> ReportLine:
    return ReportLine(
        line.file,
        line.line,
        line.status,
        line.title,
        line.year,
        line.movie_id,
        line.half_stars,
        line.detail,
    )


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit


def main() -> None:
    """Read until SIGTERM or SIGINT, or until the worker ends."""
    settings = settings_from_environment(ProjectorSettings)
    configure_logging(settings, process="import-reader")
    forget_libpq_variables()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    inbox = Inbox(settings)
    tasks = Tasks(expected=(psycopg.OperationalError,))
    health = tasks.health("imports", stale_after_s=STALE_AFTER_S)

    def step() -> None:
        while inbox.step():
            health.succeeded()

    tasks.run(health, step, stop=threading.Event(), every_s=IDLE_S, recover=inbox.close)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # One line says why the process ends, whatever the error.
        log.debug("import_reader_failed", exc_info=True)
        sys.exit(f"starfold import reader: {failure_text(error)}")
