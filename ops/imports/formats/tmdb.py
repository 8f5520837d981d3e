"""TMDB: the CSV of ratings."""

from __future__ import annotations

from ops.imports.reading.entry import Entry, Film, Passed, Rows
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import Table, Values, each, skipped, table
from ops.imports.reading.values import (
    half_stars_of_ten,
    imdb_id,
    noon_or_moment,
    shown,
    tmdb_id,
    year,
)

_COLUMNS = {"tmdbid", "type", "name", "yourrating"}


def read(files: Files) -> Rows:
    return each(files, files.named(lambda name: name.endswith(".csv")), _read)


def _read(file: SourceFile) -> Rows:
    opened = table(file)
    if not _COLUMNS.issubset(opened.columns):
        raise opened.unknown()
    return opened.entries(lambda line, values: _entry(opened, line, values))


def _entry(opened: Table, line: int, values: Values) -> Entry | Passed:
    kind = values["type"]
    if kind.casefold() != "movie":
        return skipped(opened.file, line, f"the type is {shown(kind)}")
    rated_at, day_only = noon_or_moment(values.get("daterated", ""))
    return Entry(
        source="tmdb",
        file=opened.file.name,
        line=line,
        film=Film(
            imdb_id=imdb_id(values.get("imdbid", "")),
            tmdb_id=tmdb_id(values["tmdbid"]),
            title=values["name"] or None,
            year=year(values.get("releasedate", "")),
        ),
        half_stars=half_stars_of_ten(values["yourrating"]),
        rated_at=rated_at,
        day_only=day_only,
    )
