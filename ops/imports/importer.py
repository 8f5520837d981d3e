"""Import ratings from elsewhere: read, match, write, and account for every row.

A person's own file is read whole, since of several rows of a film the last one counts. A data set
of many people is streamed: its users are created, and the films that the catalogue lacks. Every
step finds what an earlier run has made, so that an import may be interrupted and run again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
from rich.console import Console

from ops.errors import OperatorError
from ops.home.access import access_of
from ops.home.bootstrap import logged_in
from ops.home.client import client_of
from ops.home.folder import Home
from ops.imports import catalogue
from ops.imports.formats import (
    imdb,
    letterboxd,
    movielens,
    netflix,
    own_export,
    spreadsheet,
    tmdb,
    trakt,
)
from ops.imports.matcher import Match, Matcher, Movie, read_catalogue
from ops.imports.reading.entry import DataSet, Entry, Film, Passed, Rows, Source
from ops.imports.reading.files import Files, open_files
from ops.imports.report import Report, Status, described, report_to
from ops.imports.writer import Rating, Writer
from ops.progress import Progress
from starfold_client import NewMovie, NewUser, Starfold
from starfold_client.answers import RowResult
from starfold_client.errors import InvalidInput

READERS: Mapping[Source, Callable[[Files], DataSet | Rows]] = {
    "letterboxd": letterboxd.read,
    "imdb": imdb.read,
    "trakt": trakt.read,
    "movielens": movielens.read,
    "tmdb": tmdb.read,
    "netflix": netflix.read,
    "csv": spreadsheet.read,
    "starfold": own_export.read,
}
# More than anybody's own file has.
OWN_ROWS_MAX = 1_000_000
CREATIONS_A_REQUEST = 500
# Rows that are read before their users are created, in one request.
ROWS_AT_ONCE = 10_000
_LONG_AGO = datetime(1, 1, 1, tzinfo=UTC)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Element = TypeVar("Element")


class Order(NamedTuple):
    """What to import, and for whom: the id or external id of an external user.

    Without a user the member whose credential is used owns the ratings.
    """

    source: Source
    path: Path
    user: str | None = None
    is_dry: bool = False


def run(home: Home, order: Order, report_file: Path | None) -> None:
    """Import, and print the summary even after an interrupt."""
    with open_files(order.path) as files:
        reading = READERS[order.source](files)
        if isinstance(reading, DataSet) and order.user is not None:
            raise OperatorError("a data set has users of its own: leave --user out")
        access = access_of(home)
        if access.local:
            catalogue.wait_loaded(home)
        # A service may not rate for a user with a password: the operator does it for themselves.
        is_operators = access.local and order.user is None and not isinstance(reading, DataSet)
        client = logged_in(home) if is_operators else client_of(access.addresses, access.api_key)
        started = time.monotonic()
        with client, report_to(report_file) as report:
            run = Import(client, report, files, is_dry=order.is_dry)
            try:
                if isinstance(reading, DataSet):
                    run.data_set(order.source, reading)
                else:
                    run.own(own_rows(reading, report), order.user)
            finally:
                title = f"{order.source} import" + (" (dry run)" if order.is_dry else "")
                report.print(Console(), title=title, seconds=time.monotonic() - started)


def own_rows(reading: Rows, report: Report) -> list[Entry]:
    """Return the entries of a person's own file; the other rows go into the report."""
    entries: list[Entry] = []
    for number, row in enumerate(reading, start=1):
        if number > OWN_ROWS_MAX:
            raise OperatorError(f"the source has more than {OWN_ROWS_MAX:,} rows")
        if isinstance(row, Passed):
            report.passed(row)
        else:
            entries.append(row)
    return entries


class Import:
    """One run of an import; the report is accurate at any time."""

    def __init__(
        self, client: Starfold, report: Report, files: Files, *, is_dry: bool = False
    ) -> None:
        self._client = client
        self._report = report
        self._files = files
        self._is_dry = is_dry

    def own(self, entries: Sequence[Entry], user: str | None) -> None:
        """Import a person's own ratings: for a user, else for the member of the credential."""
        matcher = Matcher(read_catalogue(self._client))
        user_id = None if user is None or self._is_dry else self._user_id(user)
        ratings = list(latest(matched(entries, matcher, self._report), self._report, user_id))
        if self._is_dry:
            for rating in ratings:
                for entry in (rating.entry, *rating.also):
                    self._report.entry(entry, "would import", movie_id=rating.movie_id)
            return
        with (
            Progress("ratings", len(ratings)) as progress,
            Writer(self._client, self._report, progress, self._files) as writer,
        ):
            for rating in ratings:
                writer.write(rating)

    def data_set(self, source: Source, data_set: DataSet) -> None:
        """Import a data set; its rows are read once, and not kept."""
        for unread in data_set.passed:
            self._report.passed(unread)
        movies = self._movies(data_set.films)
        users: dict[str, str] = {}
        with (
            Progress("ratings", data_set.lines) as progress,
            Writer(self._client, self._report, progress, self._files) as writer,
        ):
            for chunk in _chunks(data_set.rows, ROWS_AT_ONCE):
                entries = [row for row in chunk if isinstance(row, Entry)]
                for row in chunk:
                    if isinstance(row, Passed):
                        self._report.passed(row)
                if self._is_dry:
                    self._would_import(entries, movies)
                    progress.advance(len(chunk))
                    continue
                self._create_users(source, entries, users)
                for entry in entries:
                    self._write(entry, users, movies, writer)
                progress.advance(len(chunk) - len(entries))

    def _write(
        self, entry: Entry, users: Mapping[str, str], movies: Mapping[str, str], writer: Writer
    ) -> None:
        movie_id = movies.get(entry.film.external_id or "")
        user_id = users.get(entry.user or "")
        if entry.half_stars is None:
            self._report.entry(entry, "not rated", movie_id=movie_id)
        elif movie_id is None or user_id is None:
            what = "film" if movie_id is None else "user"
            self._report.entry(entry, "refused", detail=f"the {what} could not be created")
        else:
            writer.write(Rating(entry, user_id, movie_id))

    def _would_import(self, entries: Sequence[Entry], movies: Mapping[str, str]) -> None:
        for entry in entries:
            status: Status = "not rated" if entry.half_stars is None else "would import"
            movie_id = movies.get(entry.film.external_id or "")
            self._report.entry(entry, status, movie_id=movie_id)

    def _movies(self, films: Mapping[str, Film]) -> dict[str, str]:
        """Return Starfold's movie id for each film, by the source's own id with its name."""
        found = match_films(films.values(), Matcher(read_catalogue(self._client)))
        missing = [film for film in films.values() if film.external_id not in found]
        self._report.movies["in the catalogue"] = len(found)
        if self._is_dry:
            self._report.movies["would create"] = len(missing)
            return found
        self._create_movies(missing, found)
        return found

    def _create_movies(self, films: Sequence[Film], found: dict[str, str]) -> None:
        """Add the movies of the films that the catalogue lacks."""
        rows = (_new_movie(film) for film in films)
        created = self._client.create_movies(rows, rows_a_request=CREATIONS_A_REQUEST)
        with Progress("movies", len(films)) as progress:
            for film, (_, result) in zip(films, created, strict=True):
                external_id = film.external_id or ""
                if self._is_created(result, external_id, self._report.movies):
                    found[external_id] = str(result.movie_id)
                progress.advance(1)

    def _create_users(
        self, source: Source, entries: Sequence[Entry], users: dict[str, str]
    ) -> None:
        """Add the users of the entries that are not known yet."""
        new = sorted({entry.user for entry in entries if entry.user and entry.user not in users})
        rows = (NewUser(f"{source}:{user}", f"{source} user {user}") for user in new)
        created = self._client.create_external_users(rows, rows_a_request=CREATIONS_A_REQUEST)
        for user, (row, result) in zip(new, created, strict=True):
            if self._is_created(result, row.external_id, self._report.users):
                users[user] = str(result.user_id)

    def _is_created(self, result: RowResult, external_id: str, counts: Counter[str]) -> bool:
        """Count what became of a user or film; one that could not be created is in the report."""
        counts[result.status] += 1
        if result.problem is not None:
            self._report.reject(result.problem.detail, external_id)
        return result.problem is None

    def _user_id(self, user: str) -> str:
        """Return the id of an external user, who is created if needed."""
        try:
            return str(UUID(user))
        except ValueError:
            pass
        try:
            return str(self._client.create_external_user(user, user).user_id)
        except InvalidInput as refused:
            raise OperatorError(f"the user {user}: {refused.detail}") from refused


def matched(
    entries: Iterable[Entry], matcher: Matcher, report: Report
) -> Iterator[tuple[Entry, Movie]]:
    """Yield the entries whose movie is known; the others go into the report."""
    matches: dict[Film, Match] = {}
    for entry in entries:
        if entry.film not in matches:
            matches[entry.film] = matcher.match(entry.film)
        match = matches[entry.film]
        if match.movie is None:
            report.entry(entry, "unmatched", detail=described(match.candidates) or None)
        else:
            yield entry, match.movie


def latest(
    entries: Iterable[tuple[Entry, Movie]], report: Report, user_id: str | None
) -> Iterator[Rating]:
    """Yield the last rating of each movie: by the day seen, the day written, then the line.

    A row with a review but no newer score lends its review to the rating.
    """
    of_movie: dict[str, list[Entry]] = {}
    for entry, movie in entries:
        of_movie.setdefault(movie.movie_id, []).append(entry)
    for movie_id, rows in of_movie.items():
        rows.sort(key=_recency)
        rated = [row for row in rows if row.half_stars is not None]
        last = rated[-1] if rated else None
        reviewed = next((row for row in reversed(rows) if row.review), None)
        lender = reviewed if last is not None and not last.review else None
        for row in rows:
            if row is last or row is lender:
                continue
            status: Status = "superseded" if row.half_stars is not None else "not rated"
            detail = f"{last.file}, line {last.line} is later" if last and row in rated else None
            report.entry(row, status, movie_id=movie_id, detail=detail)
        if last is not None:
            review = reviewed.review if reviewed else None
            rating = Rating(_with_time(last), user_id, movie_id, last.review or review)
            yield rating._replace(also=(lender,) if lender else ())


def _recency(entry: Entry) -> tuple[datetime, datetime, bool, str, int]:
    seen, logged = entry.rated_at or _LONG_AGO, entry.logged_at or _LONG_AGO
    return seen, logged, entry.review is not None, entry.file, entry.line


def _with_time(entry: Entry) -> Entry:
    """Date a film that was seen before 1970 by the day when the row was written."""
    if entry.rated_at is None or entry.rated_at >= _EPOCH or entry.logged_at is None:
        return entry
    return msgspec.structs.replace(entry, rated_at=entry.logged_at)


def match_films(films: Iterable[Film], matcher: Matcher) -> dict[str, str]:
    """Return the movie id of each film that the catalogue has, by external id.

    Only the first of several films that match the same movie gets it, so that ratings of different
    films are never mixed. Films of an earlier import are found by their external ids first.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    matches = [
        (film.external_id, matcher.made_for(film) or matcher.match(film).movie) for film in films
    ]
    for is_ours in (True, False):
        for external_id, movie in matches:
            if movie is None or external_id is None or external_id in found:
                continue
            if (movie.external_id == external_id) is is_ours and movie.movie_id not in taken:
                found[external_id] = movie.movie_id
                taken.add(movie.movie_id)
    return found


def _new_movie(film: Film) -> NewMovie:
    fields: dict[str, Any] = {
        "genres": list(film.genres),
        "imdb_id": film.imdb_id,
        "tmdb_id": film.tmdb_id,
        "alternative_titles": list(film.other_titles),
    }
    # The command API refuses a film without title or year, and names it.
    return NewMovie(
        title=film.title or "",
        year=film.year or 0,
        external_id=film.external_id,
        **{field: value for field, value in fields.items() if value},
    )


def _chunks(elements: Iterator[Element], size: int) -> Iterator[list[Element]]:
    while chunk := list(islice(elements, size)):
        yield chunk
