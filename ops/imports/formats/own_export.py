"""A member's JSON export from a Starfold, this one or another: the current ratings in it.

The line of an entry is its place in the list of ratings, from 1.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ops.imports.reading.entry import Entry, Film, Passed, Rows, Unreadable
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import each, refused, skipped
from ops.imports.reading.values import half_stars_of_stars, imdb_id, tmdb_id, year

FILE_BYTES_MAX = 64 * 1024**2
ITEMS_MAX = 1_000_000


class _Current(msgspec.Struct):
    score: float
    rated_at: datetime
    review: str | None = None


class _Rated(msgspec.Struct):
    current: _Current | None
    title: str | None = None
    year: int | None = None
    imdb_id: str | None = None
    tmdb_id: int | None = None
    external_id: str | None = None


class _Export(msgspec.Struct):
    account: list[msgspec.Raw]
    ratings: list[msgspec.Raw]


def read(files: Files) -> Rows:
    return each(files, files.named(lambda name: name.endswith(".json")), _read)


def _read(file: SourceFile) -> Rows:
    try:
        export = msgspec.json.decode(file.content(FILE_BYTES_MAX), type=_Export)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Unreadable(file.name, 1, f"no export of a Starfold in JSON: {error}") from error
    if len(export.ratings) > ITEMS_MAX:
        raise Unreadable(file.name, 1, f"more than {ITEMS_MAX:,} ratings")
    for line, raw in enumerate(export.ratings, start=1):
        try:
            yield _entry(file, line, msgspec.json.decode(raw, type=_Rated))
        except (ValueError, RecursionError, OverflowError) as error:
            yield refused(file, line, str(error))


def _entry(file: SourceFile, line: int, rated: _Rated) -> Entry | Passed:
    current = rated.current
    if current is None:
        return skipped(file, line, "the rating was withdrawn, or moved to another movie")
    if current.rated_at.tzinfo is None:
        raise ValueError("rated_at has no time zone")
    return Entry(
        source="starfold",
        file=file.name,
        line=line,
        film=Film(
            imdb_id=imdb_id(rated.imdb_id or ""),
            tmdb_id=tmdb_id(str(rated.tmdb_id or "")),
            external_id=rated.external_id or None,
            title=rated.title or None,
            year=year(str(rated.year or "")),
        ),
        half_stars=half_stars_of_stars(str(current.score)),
        rated_at=current.rated_at.astimezone(UTC),
        review=current.review,
    )
