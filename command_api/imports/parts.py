"""What a member's import holds: parts, sealed with the member's key in its place."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeVar
from uuid import UUID

import msgspec

from shared.log.sealing import seal, seal_bytes, unseal, unseal_bytes

# One after the other; a failed import stays as it is, a finished one waits for choices.
State = Literal["queued", "reading", "writing", "finished", "failed"]
ImportFormat = Literal["letterboxd", "imdb", "trakt", "movielens", "tmdb", "csv", "starfold"]
# `file`: what was sent. `ratings`: to be written, each part at once. `unmatched`: films to choose a
# movie for. `report`: rows that are nothing to write. `written`: the outcome of a part of ratings.
Kind = Literal["file", "ratings", "unmatched", "report", "written"]
# Ratings or films of one part: what one step of the command API writes.
ELEMENTS_A_PART = 200
_FAILURE = b"import failure "

Decoded = TypeVar("Decoded")


class ReportLine(msgspec.Struct, frozen=True, array_like=True):
    """What became of a row; `detail` is the reason."""

    file: str
    line: int
    status: str
    title: str | None = None
    year: int | None = None
    movie_id: str | None = None
    half_stars: int | None = None
    detail: str | None = None


class Proposal(msgspec.Struct, frozen=True, array_like=True):
    """A rating to write; `rows` are the lines that it comes from, without a status."""

    movie_id: UUID
    half_stars: int
    rated_at: datetime
    review: str | None
    rows: Sequence[ReportLine]


class Candidate(msgspec.Struct, frozen=True):
    """A movie that a film may be."""

    movie_id: UUID
    title: str
    year: int


class UnmatchedFilm(msgspec.Struct, frozen=True, array_like=True):
    """A film of the file without a movie; the proposal's movie is any until one is chosen."""

    number: int
    title: str | None
    year: int | None
    candidates: Sequence[Candidate]
    proposal: Proposal


def sealed(key: bytes, import_id: UUID, kind: Kind, number: int, content: bytes) -> bytes:
    return seal_bytes(key, _place(import_id, kind, number), content)


def unsealed(key: bytes, import_id: UUID, kind: Kind, number: int, content: bytes) -> bytes:
    """Return a part's content; raise `Misconfigured` if it is not in its place."""
    return unseal_bytes(key, _place(import_id, kind, number), content)


def _place(import_id: UUID, kind: Kind, number: int) -> bytes:
    return b"import %b %b %d" % (import_id.bytes, kind.encode(), number)


def sealed_failure(key: bytes, import_id: UUID, reason: str) -> str:
    """Return the reason of a failure for storage: it may quote the file."""
    return seal(key, _FAILURE + import_id.bytes, reason)


def unsealed_failure(key: bytes, import_id: UUID, stored: str) -> str:
    return unseal(key, _FAILURE + import_id.bytes, stored)


def in_parts(elements: Sequence[Decoded]) -> list[Sequence[Decoded]]:
    """Cut a list into parts."""
    return [elements[at : at + ELEMENTS_A_PART] for at in range(0, len(elements), ELEMENTS_A_PART)]
