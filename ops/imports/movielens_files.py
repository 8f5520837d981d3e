"""Read the MovieLens 100K files: tab-separated, with a header line of field names and types.

A line that cannot be read becomes a `MalformedLine`, and reading continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from ops.errors import OperatorError

NAME = "ml-100k"
_NO_GENRE = "unknown"
# Articles that the files move from the beginning of a title to its end.
_ARTICLES = {
    "The",
    "A",
    "An",
    "Le",
    "La",
    "Les",
    "L'",
    "Il",
    "El",
    "Los",
    "Das",
    "Der",
    "Die",
    "Un",
    "Une",
    "De",
    "Den",
    "Lo",
    "I",
    "O",
    "Os",
    "As",
}


class Item(NamedTuple):
    """A film; `year` is None if the file has none."""

    item_id: str
    title: str
    year: int | None
    genres: tuple[str, ...]


class Rating(NamedTuple):
    """A user's rating of a film."""

    user_id: str
    item_id: str
    score: float
    rated_at: datetime


class MalformedLine(NamedTuple):
    """A line that could not be read, with its number in the file, from 1."""

    file: str
    line: int
    reason: str


class Files(NamedTuple):
    """The contents of the files in their order; ratings are sorted by time."""

    users: list[str]
    items: list[Item]
    ratings: list[Rating]
    malformed: list[MalformedLine]


Parsed = TypeVar("Parsed")


def read(folder: Path) -> Files:
    """Read the files; raise `OperatorError` if one is missing or has another header."""
    malformed: list[MalformedLine] = []

    def parsed(
        suffix: str, fields: tuple[str, ...], parse: Callable[[list[str]], Parsed]
    ) -> list[Parsed]:
        return list(_parsed(folder / f"{NAME}.{suffix}", fields, parse, malformed))

    users = parsed("user", ("user_id",), lambda values: _some(values[0]))
    items = parsed("item", ("item_id", "movie_title", "release_year", "class"), _item)
    ratings = parsed("inter", ("user_id", "item_id", "rating", "timestamp"), _rating)
    ratings.sort(key=lambda rating: rating.rated_at)
    return Files(users, items, ratings, malformed)


def natural_title(title: str) -> str:
    """Turn `Usual Suspects, The` into `The Usual Suspects`, and drop a title in brackets."""
    title = title.partition(" (")[0].strip()
    head, comma, tail = title.rpartition(", ")
    if not comma or tail not in _ARTICLES:
        return title
    return f"{tail}{head}" if tail.endswith("'") else f"{tail} {head}"


def _parsed(
    file: Path,
    fields: tuple[str, ...],
    parse: Callable[[list[str]], Parsed],
    malformed: list[MalformedLine],
) -> Iterator[Parsed]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise OperatorError(f"{file} cannot be read: {error.strerror}") from error
    first = lines[0].decode(errors="replace") if lines else ""
    header = [name.partition(":")[0] for name in first.split("\t")]
    if tuple(header[: len(fields)]) != fields:
        raise OperatorError(f"{file} does not begin with the fields {', '.join(fields)}")
    for number, line in enumerate(lines[1:], start=2):
        try:
            yield parse(_values(line, len(header)))
        except (ValueError, OverflowError) as error:
            malformed.append(MalformedLine(file.name, number, str(error)))


def _values(line: bytes, expected: int) -> list[str]:
    values = line.decode().split("\t")
    if len(values) != expected:
        raise ValueError(f"{len(values)} fields instead of {expected}")
    return values


def _item(values: list[str]) -> Item:
    item_id, title, year, genres = values
    return Item(
        _some(item_id),
        _some(title),
        int(year) if year.isdecimal() else None,
        tuple(genre for genre in genres.split() if genre != _NO_GENRE),
    )


def _rating(values: list[str]) -> Rating:
    user_id, item_id, score, timestamp = values
    rated_at = datetime.fromtimestamp(float(timestamp), UTC)
    stars = float(score)
    if not 0.5 <= stars <= 5 or stars % 0.5:
        raise ValueError(f"{score} is not a score from 0.5 to 5 stars in steps of 0.5")
    return Rating(_some(user_id), _some(item_id), stars, rated_at)


def _some(value: str) -> str:
    if not value:
        raise ValueError("an empty field")
    return value
