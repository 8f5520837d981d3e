"""IMDb: the CSV of ratings in its four variants, and lists with ratings.

Titles and types are in the language of the account, so films are matched by their ids alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from ops.imports.reading.entry import Entry, Film, Passed, Rows
from ops.imports.reading.files import Files, SourceFile
from ops.imports.reading.tables import Table, Values, each, folded, skipped, table
from ops.imports.reading.values import ctime_noon, half_stars_of_ten, imdb_id, noon, year

# Types that are no films, in English; those of other languages are left to the ids.
_NO_FILMS = {
    "tvseries", "tvminiseries", "tvepisode", "videogame", "musicvideo", "podcastseries",
    "podcastepisode",
}  # fmt: skip
Day = Callable[[str], datetime | None]


def read(files: Files) -> Rows:
    return each(files, files.named(lambda name: name.endswith(".csv")), _read)


def _read(file: SourceFile) -> Rows:
    opened = table(file)
    columns = set(opened.columns)
    if "const" not in columns:
        raise opened.unknown()
    if "yourrating" in columns:
        rating, day = "yourrating", noon
        # In a list, `dateadded` is when the film was put on it.
        rated_at = next((name for name in ("daterated", "dateadded") if name in columns), "")
    else:
        # Up to 2017: `You rated`, or in somebody else's list `NAME rated`.
        rating = next((name for name in opened.columns if name.endswith("rated")), "")
        rated_at, day = "created", ctime_noon
    if not rating or (rated_at == "created" and "created" not in columns):
        raise opened.unknown()
    return opened.entries(lambda line, values: _entry(opened, line, values, rating, rated_at, day))


def _entry(
    opened: Table, line: int, values: Values, rating: str, rated_at: str, day: Day
) -> Entry | Passed:
    kind = values.get("titletype", "")
    if folded(kind) in _NO_FILMS:
        return skipped(opened.file, line, f"the type is {kind}")
    const = imdb_id(values["const"])
    if const is None:
        raise ValueError("the row has no const")
    return Entry(
        source="imdb",
        file=opened.file.name,
        line=line,
        film=Film(
            imdb_id=const,
            title=values.get("title") or None,
            year=year(values.get("year", "")),
            by_title=False,
        ),
        half_stars=half_stars_of_ten(values[rating]),
        rated_at=day(values.get(rated_at, "")),
        day_only=True,
    )
