"""All current ratings as files, from the log: `starfold export ratings`.

Ratings are read one after another at one moment of the log, so that memory grows with users and
movies, not with ratings. Erased users are left out, and so are reviews, which are sealed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import typer
from psycopg import Connection, IsolationLevel

from command_api.privacy.rating_files import shown_time
from ops.errors import OperatorError
from ops.home.access import owner_settings
from ops.home.folder import Home
from ops.imports.log_catalogue import current_movies
from ops.options import DEFAULT_HOME, HomeOption
from shared.log.codec import Codec
from shared.log.connections import connect
from shared.log.events import RatingSubmitted

# The first ratings come only after the server has found users and movies.
WITHIN_S = 3_600.0
ROWS_A_FETCH = 5_000
NO_GENRES = "(no genres listed)"

_USERS = (
    "SELECT originator_id FROM events WHERE topic = 'UserCreated' AND originator_id NOT IN"
    " (SELECT originator_id FROM events WHERE topic = 'UserErased') ORDER BY notification_id"
)
_MOVIES = (
    "SELECT originator_id, topic, state FROM events WHERE topic LIKE 'Movie%' AND"
    " originator_id IN (SELECT originator_id FROM events WHERE topic = 'MovieCreated')"
    " ORDER BY min(notification_id) OVER (PARTITION BY originator_id), originator_version"
)
# In the descending order of the index, the last event of a stream comes first.
_RATINGS = (
    "SELECT DISTINCT ON (originator_id) topic, state FROM events WHERE topic LIKE 'Rating%'"
    " ORDER BY originator_id DESC, originator_version DESC"
)

exports = typer.Typer(no_args_is_help=True)


class Format(StrEnum):
    MOVIELENS = "movielens"
    CSV = "csv"


class Counts(NamedTuple):
    """The ratings that were written, and those of movies whose ratings are moving to another."""

    written: int
    moving: int


class _Movie(NamedTuple):
    number: int
    cells: Sequence[object]


@exports.callback()
def group() -> None:
    """Export ratings."""


@exports.command()
def ratings(
    directory: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    form: Annotated[Format, typer.Option("--format", help="The format of the files.")],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Export all current ratings without reviews and without erased users."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise OperatorError(f"{directory} is not an empty folder")
    owner = owner_settings(Home(home))
    directory.mkdir(parents=True, exist_ok=True)
    dsn = owner.owner_database_url.get_secret_value()
    with connect(dsn, schema=owner.database_schema, answer_within_s=WITHIN_S) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        counts = export_ratings(connection, directory, form)
    left_out = f", {counts.moving} left out that are moving in a merge" if counts.moving else ""
    typer.echo(f"{counts.written} ratings exported to {directory}{left_out}")


def export_ratings(connection: Connection[Any], directory: Path, form: Format) -> Counts:
    """Write the files of a format; a file has its name only once it is complete."""
    users = {user_id: number for number, (user_id,) in _rows(connection, _USERS)}
    with _movie_files(directory, form) as (movie_file, link_file):
        movies = {}
        for number, (movie_id, details) in enumerate(
            current_movies(row for _, row in _rows(connection, _MOVIES)), start=1
        ):
            if form is Format.CSV:
                ids = (details.imdb_id, details.tmdb_id)
                movies[movie_id] = _Movie(number, (*ids, details.title, details.year))
                continue
            movies[movie_id] = _Movie(number, ())
            genres = "|".join(details.genres) or NO_GENRES
            movie_file.writerow((number, f"{details.title} ({details.year})", genres))
            imdb_id = (details.imdb_id or "").removeprefix("tt")
            link_file.writerow((number, imdb_id, details.tmdb_id))
    with _new_csv(directory / "ratings.csv", _RATING_COLUMNS[form], form) as rating_file:
        return _write_ratings(connection, rating_file, users, movies, form)


_RATING_COLUMNS = {
    Format.MOVIELENS: ("userId", "movieId", "rating", "timestamp"),
    Format.CSV: (
        "user_id",
        "movie_id",
        "imdb_id",
        "tmdb_id",
        "title",
        "year",
        "rating",
        "rated_at",
    ),
}


def _write_ratings(
    connection: Connection[Any],
    file: Any,
    users: dict[UUID, int],
    movies: dict[UUID, _Movie],
    form: Format,
) -> Counts:
    written = moving = 0
    codec = Codec()
    for _, (topic, state) in _rows(connection, _RATINGS):
        event = codec.decode_sealed(topic, state).event
        if not isinstance(event, RatingSubmitted) or event.user_id not in users:
            continue
        movie = movies.get(event.movie_id)
        if movie is None:
            moving += 1
            continue
        score = event.half_stars / 2
        if form is Format.MOVIELENS:
            seconds = int(event.rated_at.timestamp())
            file.writerow((users[event.user_id], movie.number, score, seconds))
        else:
            at = shown_time(event.rated_at)
            file.writerow((event.user_id, event.movie_id, *movie.cells, score, at))
        written += 1
    return Counts(written, moving)


def _rows(connection: Connection[Any], query: str) -> Iterator[tuple[int, Sequence[Any]]]:
    """Yield numbered rows, a limited number of which are in memory at a time."""
    with connection.cursor(name="export") as cursor:
        cursor.itersize = ROWS_A_FETCH
        yield from enumerate(cursor.execute(query.encode()), start=1)


@contextmanager
def _movie_files(directory: Path, form: Format) -> Iterator[tuple[Any, Any]]:
    """Open the files of MovieLens that describe movies; other formats have none."""
    if form is not Format.MOVIELENS:
        yield None, None
        return
    with (
        _new_csv(directory / "movies.csv", ("movieId", "title", "genres"), form) as movies,
        _new_csv(directory / "links.csv", ("movieId", "imdbId", "tmdbId"), form) as links,
    ):
        yield movies, links


@contextmanager
def _new_csv(path: Path, columns: Sequence[str], form: Format) -> Iterator[Any]:
    unfinished = path.with_suffix(".part")
    with unfinished.open("w", encoding="utf-8", newline="") as file:
        line_end = "\n" if form is Format.MOVIELENS else "\r\n"
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(columns)
        yield writer
    unfinished.replace(path)
