"""What the parts of one import hold, opened and sealed with the member's key.

For a large file this is a second of computation, which belongs on a thread.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar
from uuid import UUID

import msgspec

from command_api.imports.parts import (
    Kind,
    Proposal,
    ReportLine,
    UnmatchedFilm,
    sealed,
    unsealed,
)
from shared.errors import InvalidInput

PROPOSALS = msgspec.json.Decoder(list[Proposal])
FILMS = msgspec.json.Decoder(list[UnmatchedFilm])
_LINES = msgspec.json.Decoder(list[ReportLine])

Element = TypeVar("Element")


class Choice(NamedTuple):
    """A part with the ratings of the chosen movies, their rows, and the films' parts without them.

    `films` are parts by their numbers.
    """

    ratings: bytes
    rows: int
    films: Mapping[int, bytes]


class Contents(NamedTuple):
    """The contents of an import; all raise `Misconfigured` for another key's part."""

    key: bytes
    import_id: UUID

    def encoded(self, kind: Kind, number: int, elements: Sequence[object]) -> bytes:
        return sealed(self.key, self.import_id, kind, number, msgspec.json.encode(elements))

    def decoded(
        self, kind: Kind, number: int, content: bytes, decoder: msgspec.json.Decoder[list[Element]]
    ) -> list[Element]:
        return decoder.decode(unsealed(self.key, self.import_id, kind, number, bytes(content)))

    def films(self, parts: Iterable[tuple[int, bytes]], most: int) -> list[UnmatchedFilm]:
        """Return the first films of parts."""
        films: list[UnmatchedFilm] = []
        for number, content in parts:
            films += self.decoded("unmatched", number, content, FILMS)
        return films[:most]

    def chosen(
        self, parts: Iterable[tuple[int, bytes]], movies: Mapping[int, UUID], number: int
    ) -> Choice:
        """Move the films for which a movie was chosen to the part of ratings with this number.

        Raises `InvalidInput` if one is not there.
        """
        proposals: list[Proposal] = []
        remaining: dict[int, bytes] = {}
        for films_number, content in parts:
            films = self.decoded("unmatched", films_number, content, FILMS)
            proposals += [
                msgspec.structs.replace(film.proposal, movie_id=movies[film.number])
                for film in films
                if film.number in movies
            ]
            left = [film for film in films if film.number not in movies]
            remaining[films_number] = self.encoded("unmatched", films_number, left)
        if len(proposals) < len(movies):
            raise InvalidInput("a film is not among the unmatched ones", pointer="/choices")
        rows = sum(len(proposal.rows) for proposal in proposals)
        return Choice(self.encoded("ratings", number, proposals), rows, remaining)

    def report(self, parts: Iterable[tuple[Kind, int, bytes]]) -> bytes:
        """Return the lines of all parts as CSV, in the order of the file."""
        lines: list[ReportLine] = []
        for kind, number, content in parts:
            if kind != "unmatched":
                lines += self.decoded(kind, number, content, _LINES)
                continue
            for film in self.decoded(kind, number, content, FILMS):
                shown = "; ".join(f"{it.title} ({it.year})" for it in film.candidates)
                lines += outcome(film.proposal, "unmatched", None, shown or None)
        return _csv(lines)


def outcome(
    proposal: Proposal, status: str, movie_id: UUID | None, detail: str | None
) -> Iterable[ReportLine]:
    """Return the lines of a rating's rows with a status."""
    shown = None if movie_id is None else str(movie_id)
    return [
        msgspec.structs.replace(row, status=status, movie_id=shown, detail=detail)
        for row in proposal.rows
    ]


def _csv(lines: Sequence[ReportLine]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(ReportLine.__struct_fields__)
    writer.writerows(
        msgspec.structs.astuple(line)
        for line in sorted(lines, key=lambda line: (line.file, line.line))
    )
    return stream.getvalue().encode()
