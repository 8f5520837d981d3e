"""Spreadsheets: a table that names films by an id or by title and year, and a score."""

from __future__ import annotations

from ops.imports.reading.entry import Entry, Film, Passed, Rows
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import Table, Values, each, table
from ops.imports.reading.values import (
    half_stars_of_stars,
    half_stars_of_ten,
    imdb_id,
    noon_or_moment,
    tmdb_id,
    year,
)

DELIMITERS = ",;\t"
EXTERNAL_ID_CHARS_MAX = 100


def read(files: Files) -> Rows:
    return each(files, files.named(lambda name: name.endswith((".csv", ".tsv", ".txt"))), _read)


def _read(file: SourceFile) -> Rows:
    opened = table(file, delimiters=DELIMITERS)
    columns = set(opened.columns)
    named = columns & {"imdbid", "tmdbid", "externalid"} or columns >= {"title", "year"}
    if not named or not columns & {"rating", "rating10"}:
        raise opened.unknown()
    return opened.entries(lambda line, values: _entry(opened, line, values))


def _entry(opened: Table, line: int, values: Values) -> Entry | Passed:
    stars, of_ten = values.get("rating", ""), values.get("rating10", "")
    rated_at, day_only = noon_or_moment(values.get("ratedat", ""))
    external_id = values.get("externalid") or None
    if external_id and len(external_id) > EXTERNAL_ID_CHARS_MAX:
        raise ValueError(f"the external_id has more than {EXTERNAL_ID_CHARS_MAX} characters")
    return Entry(
        source="csv",
        file=opened.file.name,
        line=line,
        film=Film(
            imdb_id=imdb_id(values.get("imdbid", "")),
            tmdb_id=tmdb_id(values.get("tmdbid", "")),
            external_id=external_id,
            title=values.get("title") or None,
            year=year(values.get("year", "")),
        ),
        half_stars=half_stars_of_stars(stars) if stars else half_stars_of_ten(of_ten),
        rated_at=rated_at,
        day_only=day_only,
        review=values.get("review") or None,
    )
