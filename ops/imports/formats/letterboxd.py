"""Letterboxd: the export (a ZIP of CSV files), and the form that its import takes.

The export has no ids of films: its files are joined by name and year. `Date` is when the row was
written, `Watched Date` when the film was seen.
"""

from __future__ import annotations

from datetime import datetime

from ops.imports.reading.entry import Entry, Film, Rows
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import Table, Values, each, table
from ops.imports.reading.values import (
    half_stars_of_stars,
    half_stars_of_ten,
    imdb_id,
    noon,
    tmdb_id,
    year,
)

# In the order of reading; other files are lists, comments, and what was deleted.
FILES = ("watched.csv", "ratings.csv", "diary.csv", "reviews.csv")
_EXPORT = {"date", "name", "year", "letterboxduri"}
_IMPORT = {"letterboxduri", "tmdbid", "imdbid", "title", "year", "directors", "rating", "rating10"}
_IMPORT |= {"watcheddate", "rewatch", "tags", "review"}
_IMPORT_FILM = {"tmdbid", "imdbid", "title"}


def read(files: Files) -> Rows:
    """Yield the rows of an export, a file of it, or a CSV file for Letterboxd's import."""
    deepest = {name: _topmost(files, name) for name in FILES}
    chosen = [file for file in deepest.values() if file is not None]
    if not chosen:
        chosen = files.named(lambda name: name.endswith(".csv"))
    return each(files, chosen, _read)


def _topmost(files: Files, name: str) -> SourceFile | None:
    """Return the file with this name at the top: folders hold what was deleted."""
    return next((file for file in files.files if file.name.casefold() == name), None)


def _read(file: SourceFile) -> Rows:
    opened = table(file)
    columns = set(opened.columns)
    if columns >= _EXPORT:
        return opened.entries(lambda line, values: _exported(opened, line, values))
    if columns <= _IMPORT and columns & _IMPORT_FILM:
        return opened.entries(lambda line, values: _importable(opened, line, values))
    raise opened.unknown()


def _exported(opened: Table, line: int, values: Values) -> Entry:
    film = Film(title=values["name"] or None, year=year(values["year"]))
    return _entry(opened, line, values, film, logged_at=noon(values["date"]))


def _importable(opened: Table, line: int, values: Values) -> Entry:
    film = Film(
        imdb_id=imdb_id(values.get("imdbid", "")),
        tmdb_id=tmdb_id(values.get("tmdbid", "")),
        title=values.get("title") or None,
        year=year(values.get("year", "")),
    )
    return _entry(opened, line, values, film, logged_at=None)


def _entry(
    opened: Table, line: int, values: Values, film: Film, *, logged_at: datetime | None
) -> Entry:
    stars, of_ten = values.get("rating", ""), values.get("rating10", "")
    return Entry(
        source="letterboxd",
        file=opened.file.name,
        line=line,
        film=film,
        half_stars=half_stars_of_stars(stars) if stars else half_stars_of_ten(of_ten),
        rated_at=noon(values.get("watcheddate", "")) or logged_at,
        day_only=True,
        logged_at=logged_at,
        review=values.get("review") or None,
        tags=tuple(tag.strip() for tag in values.get("tags", "").split(",") if tag.strip()),
        rewatch=values.get("rewatch", "").casefold() in ("yes", "true"),
    )
