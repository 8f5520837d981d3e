"""A user's current ratings as files that other programs read.

A CSV cell is what the user or the catalogue wrote, quoted by RFC 4180 and unchanged: a spreadsheet
may take a text that begins with `=` for a formula.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from shared.log.events import MovieFields
from shared.web.answer import JSON

RatingsFormat = Literal["csv", "letterboxd", "trakt"]
ExportFormat = Literal["json", "csv", "letterboxd", "trakt"]

# Letterboxd takes no larger file.
LETTERBOXD_BYTES_MAX = 1_000_000

CSV = "text/csv; charset=utf-8"
ZIP = "application/zip"
# The time of all entries of a ZIP, so that the same ratings give the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)

_COLUMNS = (
    "imdb_id",
    "tmdb_id",
    "external_id",
    "title",
    "year",
    "rating",
    "rated_at",
    "review",
)
_LETTERBOXD_COLUMNS = ("imdbID", "tmdbID", "Title", "Year", "Rating", "WatchedDate", "Review")


Order = tuple[Any, ...]


class CurrentRating(NamedTuple):
    """A user's rating of a movie."""

    movie: MovieFields
    half_stars: int
    rated_at: datetime
    review: str | None


class File(NamedTuple):
    name: str
    media_type: str
    content: bytes


def ratings_file(ratings: Sequence[CurrentRating], kind: RatingsFormat) -> File:
    """Return the ratings, oldest first, in a format.

    The order depends on nothing that the format leaves out, so that a file that was imported into
    an empty Starfold is exported from there as it was.
    """
    return _FILES[kind](sorted(ratings, key=_by_day if kind == "letterboxd" else _by_time))


def _by_time(one: CurrentRating) -> Order:
    return one.rated_at, *_film_order(one.movie)


def _by_day(one: CurrentRating) -> Order:
    return one.rated_at.date(), *_film_order(one.movie)


def _film_order(movie: MovieFields) -> Order:
    return movie.title, movie.year, movie.imdb_id or "", movie.tmdb_id or 0


def _csv(ratings: Sequence[CurrentRating]) -> File:
    rows = [_encoded(_COLUMNS), *map(_row, ratings)]
    return File("starfold-ratings.csv", CSV, b"".join(rows))


def _row(one: CurrentRating) -> bytes:
    movie = one.movie
    ids = (movie.imdb_id, movie.tmdb_id, movie.external_id)
    return _encoded(
        (*ids, movie.title, movie.year, one.half_stars / 2, shown_time(one.rated_at), one.review)
    )


def _letterboxd(ratings: Sequence[CurrentRating]) -> File:
    """Return one CSV file, or a ZIP of several where one would be too large."""
    parts = list(_parts(map(_letterboxd_row, ratings)))
    if len(parts) == 1:
        return File("letterboxd.csv", CSV, parts[0])
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, part in enumerate(parts, start=1):
            entry = zipfile.ZipInfo(f"letterboxd-{number}.csv", _ZIP_EPOCH)
            archive.writestr(entry, part, zipfile.ZIP_DEFLATED)
    return File("letterboxd.zip", ZIP, buffer.getvalue())


def _parts(rows: Iterable[bytes]) -> Iterator[bytes]:
    """Cut the rows into files that Letterboxd takes, each with the header."""
    header = _encoded(_LETTERBOXD_COLUMNS)
    part = bytearray(header)
    for row in rows:
        if len(part) + len(row) > LETTERBOXD_BYTES_MAX:
            yield bytes(part)
            part = bytearray(header)
        part += row
    yield bytes(part)


def _letterboxd_row(one: CurrentRating) -> bytes:
    movie = one.movie
    day = one.rated_at.date().isoformat()
    ids = (movie.imdb_id, movie.tmdb_id)
    return _encoded((*ids, movie.title, movie.year, one.half_stars / 2, day, one.review))


def _trakt(ratings: Sequence[CurrentRating]) -> File:
    movies = [_trakt_movie(one) for one in ratings]
    return File("trakt.json", JSON, msgspec.json.encode({"movies": movies}))


def _trakt_movie(one: CurrentRating) -> dict[str, Any]:
    ids = {"imdb": one.movie.imdb_id, "tmdb": one.movie.tmdb_id}
    return {
        "rating": one.half_stars,
        "rated_at": shown_time(one.rated_at),
        "title": one.movie.title,
        "year": one.movie.year,
        "ids": {catalogue: value for catalogue, value in ids.items() if value is not None},
    }


def shown_time(moment: datetime) -> str:
    """Return a time in UTC with milliseconds, such as 2026-01-31T12:00:00.000Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _encoded(cells: Sequence[object]) -> bytes:
    line = io.StringIO()
    csv.writer(line).writerow("" if cell is None else cell for cell in cells)
    return line.getvalue().encode()


_FILES: dict[RatingsFormat, Callable[[Sequence[CurrentRating]], File]] = {
    "csv": _csv,
    "letterboxd": _letterboxd,
    "trakt": _trakt,
}
