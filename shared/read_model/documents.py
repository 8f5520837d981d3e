"""The stored documents of the read models."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import msgspec

from shared.ids import START, MovieId, Position, UserId
from shared.log.events import MovieFields, Visibility

HISTORY_STEP = 16


class MovieDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A movie's details, with the position of their last event.

    `version` is the movie's stream's, the basis of `If-Match`, and stays last. Documents of an
    earlier release lack the fields that have a default.
    """

    movie_id: MovieId
    title: str
    original_title: str | None = None
    alternative_titles: tuple[str, ...] = ()
    year: int
    genres: tuple[str, ...]
    directors: tuple[str, ...]
    writers: tuple[str, ...]
    cast: tuple[str, ...]
    runtime_min: int | None
    languages: tuple[str, ...]
    countries: tuple[str, ...]
    certificate: str | None
    description: str | None
    imdb_id: str | None
    tmdb_id: int | None = None
    poster_url: str | None
    external_id: str | None
    created_at: datetime
    position: Position = START
    version: int


class ClosedDocument(msgspec.Struct, frozen=True, kw_only=True):
    """Replaces a movie that left at `position`, with the ids by which it was found.

    `into` is the movie it was merged into, None if it was withdrawn.
    """

    into: MovieId | None
    position: Position = START
    imdb_id: str | None = None
    tmdb_id: int | None = None
    external_id: str | None = None


class ProfileDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A user's public profile; an erased user's name is None."""

    user_id: UserId
    display_name: str | None
    visibility: Visibility
    erased: bool
    created_at: datetime


class PrivateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a profile that only its user sees."""

    email: str
    email_verified: bool = False


class HistoryYear(msgspec.Struct, array_like=True, gc=False):
    """What each day of a year added to each bin; may be negative.

    Keys are the day of the year (1 to 366, UTC) times `HISTORY_STEP` plus the half stars. The
    running sum up to the end of a day is the histogram at that time.
    """

    added: dict[int, int]


class Parked(msgspec.Struct, frozen=True, kw_only=True):
    """An entity whose event at `position` could not be applied, and why.

    `discarded` means that an operator has accepted its documents as they were before the event,
    `damaged` that a document of the entity is at fault instead of the event, and that the projector
    rebuilds all of them.
    """

    entity: UUID
    position: Position
    topic: str
    error: str
    discarded: bool = False
    damaged: bool = False


def movie_version(stored: bytes) -> str:
    """Return the version in a stored movie, its last field, without decoding the rest."""
    return stored[stored.rindex(b":") + 1 : -1].decode()


def movie_document(
    movie_id: MovieId,
    fields: MovieFields,
    created_at: datetime,
    position: Position,
    version: int,
) -> MovieDocument:
    """Return the document of a movie with these details."""
    return MovieDocument(
        movie_id=movie_id,
        created_at=created_at,
        position=position,
        version=version,
        **{name: getattr(fields, name) for name in MovieFields.__struct_fields__},
    )
