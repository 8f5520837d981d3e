"""What a member's file holds: ratings of movies, films without a movie, and all other rows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, get_args
from uuid import UUID

import msgspec

from command_api.imports.parts import (
    Candidate,
    ImportFormat,
    Proposal,
    ReportLine,
    UnmatchedFilm,
)
from ops.errors import OperatorError
from ops.imports.importer import READERS, latest
from ops.imports.matcher import Matcher, Movie
from ops.imports.reading.entry import DataSet, Entry, Film, Passed
from ops.imports.reading.files import Files
from ops.imports.report import Line, Report
from ops.imports.writer import DAY_AHEAD_MAX, Rating

# Sixteen times the largest file that the command API takes would be of no person.
UNPACKED_BYTES_MAX = 64 * 1024**2
ROWS_MAX = 100_000
READ_WITHIN_S = 60.0
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
