"""Import MovieLens: users and films by external id, ratings through the bulk route.

Every step finds what an earlier run has created and creates only what is missing, so that an import
may be interrupted anywhere and run again.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import structlog
from rich.console import Console

from ops.home.access import access_of
from ops.home.api_client import ApiClient, Row
from ops.home.folder import Home
from ops.imports import catalogue, movielens_files
from ops.imports.movielens_files import Files, Item, Rating, natural_title
from ops.imports.movielens_report import Report
from ops.progress import Progress
from query_api.catalogue.search_key import search_key

SOURCE = "movielens"
CREATIONS_A_REQUEST = 500
RATINGS_A_REQUEST = 1_000
# Each lane has one request in flight; a user's ratings share a lane, to keep their order.
LANES = 4
PAGE_MOVIES = 100

log = structlog.get_logger()

Element = TypeVar("Element")


def import_from(home: Home, folder: Path) -> None:
    """Import a folder's files, and print the report even after an interrupt."""
    files = movielens_files.read(folder)
    access = access_of(home)
    if access.local:
        catalogue.wait_loaded(home)
    started = time.monotonic()
    with ApiClient(access.addresses, access.api_key) as client:
        run = Import(client, files)
        try:
            run.run()
        finally:
            run.report.print(Console(), seconds=time.monotonic() - started)


class Import:
    """One run of the import; `report` is accurate at any time, even after an interrupt."""

    def __init__(self, client: ApiClient, files: Files) -> None:
        self._client = client
        self._files = files
        self._stop = threading.Event()
        self.report = Report.of(files)

    def run(self) -> None:
        """Run the import; raise `OperatorError` if Starfold refuses or stops answering."""
        users = self._users()
        movies = self._movies()
        self._rate(users, movies)

    def _users(self) -> dict[str, str]:
        """Return Starfold's user id for each user of the files."""
        ids = list(dict.fromkeys(self._files.users))
        rows = [
            {"external_id": f"{SOURCE}:{user}", "display_name": f"MovieLens user {user}"}
            for user in ids
        ]
        return self._created_ids(
            "users", "/v1/users/batch", "user_id", ids, rows, self.report.users
        )

    def _movies(self) -> dict[str, str]:
        """Return Starfold's movie id for each film: from the catalogue if it has the film."""
        items = list({item.item_id: item for item in self._files.items}.values())
        matched = match(items, self._catalogue())
        missing = [item for item in items if item.item_id not in matched]
        latest = _first_rated_years(self._files.ratings)
        made = self._created_ids(
            "movies",
            "/v1/movies/batch",
            "movie_id",
            [item.item_id for item in missing],
            [_movie(item, latest) for item in missing],
            self.report.movies,
        )
        self.report.movies["in the catalogue"] = len(matched)
        return matched | made

    def _catalogue(self) -> list[Row]:
        """Return every movie that was not imported from MovieLens."""
        movies: list[Row] = []
        cursor: str | None = None
        head = self._client.head()
        while True:
            parameters = {"sort": "title", "limit": PAGE_MOVIES}
            if cursor:
                parameters["cursor"] = cursor
            page = self._client.query("/v1/movies", at_least=head, **parameters)
            movies += [one for one in page["items"] if not _is_ours(one["external_id"])]
            cursor = page["next_cursor"]
            if cursor is None:
                return movies

    def _created_ids(
        self,
        field: str,
        path: str,
        subject: str,
        names: Sequence[str],
        rows: Sequence[Row],
        counts: Counter[str],
    ) -> dict[str, str]:
        """Create the missing rows; return the id of each row by name."""
        ids: dict[str, str] = {}
        with Progress(field, len(rows)) as progress:
            for chunk in _chunks(list(zip(names, rows, strict=True)), CREATIONS_A_REQUEST):
                results = self._client.rows(path, field, [row for _, row in chunk])
                for (name, _), result in zip(chunk, results, strict=True):
                    counts[result["status"]] += 1
                    if result["status"] == "rejected":
                        self.report.reject(result["problem"]["detail"], f"{field} {name}")
                    else:
                        ids[name] = result[subject]
                progress.advance(len(chunk))
        return ids

    def _rate(self, users: Mapping[str, str], movies: Mapping[str, str]) -> None:
        lanes: list[list[Rating]] = [[] for _ in range(LANES)]
        lane_of = {user: place % LANES for place, user in enumerate(users)}
        for rating in self._files.ratings:
            if rating.user_id not in users or rating.item_id not in movies:
                self.report.reject_rating(
                    "the files lack the user or the film",
                    f"user {rating.user_id}, film {rating.item_id}",
                )
                continue
            lanes[lane_of[rating.user_id]].append(rating)
        with (
            Progress("ratings", sum(map(len, lanes))) as progress,
            ThreadPoolExecutor(LANES) as pool,
        ):
            try:
                sent = [
                    pool.submit(self._send, lane, users, movies, progress) for lane in lanes if lane
                ]
                for done in as_completed(sent):
                    done.result()
            finally:
                # Let running requests finish: their results belong in the report.
                self._stop.set()

    def _send(
        self,
        lane: Sequence[Rating],
        users: Mapping[str, str],
        movies: Mapping[str, str],
        progress: Progress,
    ) -> None:
        for chunk in _chunks(lane, RATINGS_A_REQUEST):
            if self._stop.is_set():
                return
            rows = [
                {
                    "user_id": users[rating.user_id],
                    "movie_id": movies[rating.item_id],
                    "score": rating.score,
                    "rated_at": rating.rated_at.isoformat(),
                }
                for rating in chunk
            ]
            results = self._client.rows("/v1/ratings/batch", "ratings", rows)
            self.report.count_ratings(chunk, results)
            progress.advance(len(chunk))


def match(items: Sequence[Item], catalogue: Sequence[Row]) -> dict[str, str]:
    """Return the catalogue's movie id for each film that it has exactly once, by title and year.

    Of several films with the same title and year only the first is matched: ratings of different
    films are never mixed.
    """
    known: dict[tuple[str, int], list[str]] = {}
    for movie in catalogue:
        known.setdefault((_compared(movie["title"]), movie["year"]), []).append(movie["movie_id"])
    matched: dict[str, str] = {}
    for item in items:
        if item.year is None:
            continue
        found = known.pop((_compared(natural_title(item.title)), item.year), [])
        if len(found) == 1:
            matched[item.item_id] = found[0]
    return matched


def _compared(title: str) -> str:
    words = "".join(c if c.isalnum() else " " for c in search_key(title.replace("&", " and ")))
    return " ".join(words.split())


def _movie(item: Item, latest: Mapping[str, int]) -> dict[str, Any]:
    """Use the year of the first rating for a film without a year: it is not newer."""
    return {
        "external_id": f"{SOURCE}:{item.item_id}",
        "title": natural_title(item.title),
        "year": item.year or latest.get(item.item_id),
        "genres": item.genres,
    }


def _first_rated_years(ratings: Sequence[Rating]) -> dict[str, int]:
    years: dict[str, int] = {}
    for rating in ratings:
        years.setdefault(rating.item_id, rating.rated_at.year)
    return years


def _is_ours(external_id: str | None) -> bool:
    return external_id is not None and external_id.startswith(f"{SOURCE}:")


def _chunks(elements: Sequence[Element], size: int) -> Iterator[Sequence[Element]]:
    for start in range(0, len(elements), size):
        yield elements[start : start + size]
