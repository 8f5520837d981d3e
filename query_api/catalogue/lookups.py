"""Find movies, and movies that left, by their ids in other catalogues."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from shared.ids import START, Position

Catalogue = Literal["imdb", "tmdb", "external"]
CATALOGUES: tuple[Catalogue, ...] = get_args(Catalogue)


class Ids(msgspec.Struct, frozen=True, gc=False):
    """The ids of a movie in other catalogues."""

    imdb_id: str | None = None
    tmdb_id: int | None = None
    external_id: str | None = None

    def shown(self, catalogue: Catalogue) -> str | None:
        """Return the id in a catalogue as it is written in a path."""
        match catalogue:
            case "imdb":
                return self.imdb_id
            case "tmdb":
                return None if self.tmdb_id is None else str(self.tmdb_id)
            case "external":
                return self.external_id


NO_IDS = Ids()

# Decodes the ids in a stored movie, or in the document of a movie that left.
ids_of = msgspec.json.Decoder(Ids).decode


class Lookups:
    """Movies by id, for each catalogue. Not thread-safe: it belongs to the event loop."""

    def __init__(self) -> None:
        self._present: dict[Catalogue, dict[str, bytes]] = {one: {} for one in CATALOGUES}
        # With the position at which the movie left.
        self._left: dict[Catalogue, dict[str, tuple[Position, bytes]]] = {
            one: {} for one in CATALOGUES
        }

    def find(self, catalogue: Catalogue, shown: str) -> bytes | None:
        """Return the movie that has the id, else the last one that left with it."""
        found = self._present[catalogue].get(shown)
        if found is None and shown in self._left[catalogue]:
            _, found = self._left[catalogue][shown]
        return found

    def put(self, movie: bytes, old: Ids, new: Ids) -> None:
        """Replace the ids of a movie of the catalogue."""
        for catalogue, movies in self._present.items():
            given_up, shown = old.shown(catalogue), new.shown(catalogue)
            # Another movie may have taken the id already.
            if given_up is not None and given_up != shown and movies.get(given_up) == movie:
                del movies[given_up]
            if shown is not None:
                movies[shown] = movie

    def leave(self, movie: bytes, ids: Ids, position: Position) -> None:
        """Remember the ids of a movie that left, unless another left with one of them later."""
        for catalogue, movies in self._left.items():
            shown = ids.shown(catalogue)
            if shown is not None:
                movies[shown] = max(movies.get(shown, (START, b"")), (position, movie))
