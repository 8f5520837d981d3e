"""What every reader makes of a row: an entry, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from ops.errors import OperatorError

Source = Literal["letterboxd", "imdb", "trakt", "movielens", "tmdb", "netflix", "csv", "starfold"]


class Unreadable(OperatorError):
    """A file, or the rest of it, cannot be read; `line` is where, from 1."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{file}, line {line}: {reason}")
        self.file, self.line, self.reason = file, line, reason


class Film(msgspec.Struct, frozen=True, kw_only=True):
    """A film as a source describes it.

    `external_id` is the source's own id with the source's name in front, unique among all sources.
    `other_titles` are further titles that the source gives it. A film with `by_title` false is
    matched by its ids alone.
    """

    imdb_id: str | None = None
    tmdb_id: int | None = None
    external_id: str | None = None
    title: str | None = None
    year: int | None = None
    other_titles: tuple[str, ...] = ()
    genres: tuple[str, ...] = ()
    by_title: bool = True


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A row of a source: a film that somebody saw and perhaps rated.

    `half_stars` is None for a film that was seen and not rated. `rated_at` is noon UTC if the
    source has only the day, and None if it has no date. `logged_at` is when the row was written,
    which decides between rows with the same `rated_at`. `user` is the source's id of the user in a
    data set, None in a person's own file. `line` counts from 1: lines of a text or items of a list.
    """

    source: Source
    file: str
    line: int
    film: Film
    half_stars: int | None = None
    rated_at: datetime | None = None
    day_only: bool = False
    logged_at: datetime | None = None
    review: str | None = None
    tags: tuple[str, ...] = ()
    rewatch: bool = False
    user: str | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is no entry: of a type that is no film (`skipped`), or wrong (`refused`)."""

    file: str
    line: int
    status: Literal["skipped", "refused"]
    reason: str


Rows = Iterator[Entry | Passed]


class DataSet(msgspec.Struct, frozen=True):
    """The ratings of many people: films by the source's id, and how many lines `rows` will read."""

    films: Mapping[str, Film]
    lines: int
    rows: Rows
    passed: tuple[Passed, ...] = ()
