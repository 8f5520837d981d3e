"""A user's ratings as files: cells come back as they were, and Letterboxd's files are cut."""

from __future__ import annotations

import csv
import io
import json
import random
import zipfile
from datetime import timedelta

from command_api.privacy.rating_files import (
    LETTERBOXD_BYTES_MAX,
    CurrentRating,
    RatingsFormat,
    ratings_file,
)
from ops.imports.formats import letterboxd
from ops.imports.reading.entry import Entry
from ops.imports.reading.files import open_content
from tests.support.builders import NOON, movie_fields

STALKER = movie_fields(imdb_id="tt0079944", tmdb_id=1398, external_id="films:1")
HOSTILE = [
    "=HYPERLINK(\"http://example.org\",\"x\")",
    "+1, -1; @SUM(A1)",
    'He said "no",\nand left\r\nfor good;',
    "\tZażółć 映画 🎬",
    "",
]  # fmt: skip


def rating(number: int = 0, review: str | None = None, half_stars: int = 7) -> CurrentRating:
    return CurrentRating(STALKER, half_stars, NOON + timedelta(days=number), review)


def cells(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


def test_every_cell_comes_back_as_it_was() -> None:
    ratings = [rating(number, review) for number, review in enumerate(HOSTILE)]
    for kind, column in (("csv", "review"), ("letterboxd", "Review")):
        made: RatingsFormat = "csv" if kind == "csv" else "letterboxd"
        rows = cells(ratings_file(ratings, made).content)
        assert [row[column] for row in rows] == HOSTILE, kind


def test_ids_scores_and_times_are_as_each_format_writes_them() -> None:
    bare = CurrentRating(movie_fields(title="Solaris", year=1972), 10, NOON, None)
    (first, second) = cells(ratings_file([rating(1), bare], "csv").content)
    assert first == {
        "imdb_id": "",
        "tmdb_id": "",
        "external_id": "",
        "title": "Solaris",
        "year": "1972",
        "rating": "5.0",
        "rated_at": NOON.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "review": "",
    }
    assert (second["imdb_id"], second["tmdb_id"], second["external_id"]) == (
        "tt0079944",
        "1398",
        "films:1",
    )
    (film,) = cells(ratings_file([rating()], "letterboxd").content)
    assert film == {
        "imdbID": "tt0079944",
        "tmdbID": "1398",
        "Title": "Stalker",
        "Year": "1979",
        "Rating": "3.5",
        "WatchedDate": NOON.date().isoformat(),
        "Review": "",
    }
    movies = json.loads(ratings_file([rating(1), bare], "trakt").content)["movies"]
    assert [(one["rating"], one["title"], one["ids"]) for one in movies] == [
        (10, "Solaris", {}),
        (7, "Stalker", {"imdb": "tt0079944", "tmdb": 1398}),
    ]


def test_what_is_too_large_for_letterboxd_is_a_zip_of_files_that_are_not() -> None:
    drawn = random.Random(7)
    reviews = ["".join(drawn.choices("éàüñøßł", k=10_000)) for _ in range(120)]
    ratings = [rating(number, one, number % 10 + 1) for number, one in enumerate(reviews)]
    made = ratings_file(ratings, "letterboxd")
    assert (made.name, made.media_type) == ("letterboxd.zip", "application/zip")
    archive = zipfile.ZipFile(io.BytesIO(made.content))
    parts = [archive.read(name) for name in archive.namelist()]
    assert archive.namelist() == [f"letterboxd-{number}.csv" for number in (1, 2, 3)]
    assert all(len(part) <= LETTERBOXD_BYTES_MAX for part in parts)
    rows = [row for part in parts for row in cells(part)]
    assert [row["Rating"] for row in rows] == [str((n % 10 + 1) / 2) for n in range(120)]
    assert ratings_file(ratings, "letterboxd") == made
    with open_content(made.content, NOON) as files:
        read = [one for one in letterboxd.read(files) if isinstance(one, Entry)]
    assert [(one.half_stars, one.rated_at, one.review) for one in read] == [
        (one.half_stars, one.rated_at, one.review) for one in ratings
    ]


def test_no_rating_is_a_file_with_the_header_alone() -> None:
    assert ratings_file([], "csv").content.startswith(b"imdb_id,")
    assert ratings_file([], "letterboxd").content.count(b"\n") == 1
    assert ratings_file([], "trakt").content == b'{"movies":[]}'
