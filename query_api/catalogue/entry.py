"""A movie as the index holds it, decoded from its two documents."""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from query_api.catalogue.genres import genre_key
from query_api.catalogue.search_key import Names, names_of, search_key
from shared.ids import Position
from shared.read_model.documents import MovieDocument
from shared.read_model.ranks import milliseconds

_json = msgspec.json.Encoder().encode


class Ratings(msgspec.Struct, frozen=True, gc=False):
    """The statistics of a movie that a list shows."""

    count: int
    average: float | None
    weighted_average: float | None


class _Statistics(Ratings, frozen=True, gc=False):
    """The same with the position of the last rating."""

    position: Position


decode_statistics = msgspec.json.Decoder(_Statistics).decode


class _Listed(msgspec.Struct, frozen=True, gc=False):
    """The details of a movie that a list shows, as they are stored."""

    movie_id: str
    title: str
    year: int
    genres: tuple[str, ...]
    external_id: str | None
    imdb_id: str | None
    poster_url: str | None
    runtime_min: int | None
    tmdb_id: int | None = None
    original_title: str | None = None
    alternative_titles: tuple[str, ...] = ()


_decode_listed = msgspec.json.Decoder(_Listed).decode


class Film(NamedTuple):
    """The details of a movie in the index; `stored` is the document that they come from."""

    movie_id: bytes
    stored: bytes
    title: str
    title_key: str
    names: Names
    year: int
    created_ms: int
    genre_names: tuple[str, ...]
    genres: frozenset[str]
    directors: tuple[str, ...]
    position: Position


class Entry(msgspec.Struct, gc=False):
    """A movie in the index; its JSON in a list is encoded on first use."""

    film: Film
    ratings: Ratings
    # The position of the last change of the details or of a rating.
    position: Position
    _item: bytes | None = None
    _rated: bytes | None = None
    counted: tuple[Any, ...] | None = None
    # The stored documents are unreadable; this is their last readable state.
    stale: bool = False

    @property
    def item(self) -> bytes:
        """The movie's JSON in a list."""
        if self._item is None:
            # Decoded when it is first shown, so that the others need no memory for it.
            listed = _json(_decode_listed(self.film.stored))[:-1]
            end = b',"stale":true}' if self.stale else b"}"
            self._item = b"".join((listed, b',"ratings":', _json(self.ratings), end))
        return self._item

    @property
    def rated(self) -> bytes:
        """The beginning of the movie's JSON in a user's list of ratings."""
        if self._rated is None:
            film = self.film
            self._rated = rated_part(
                UUID(bytes=film.movie_id), film.title, film.year, self.ratings.average
            )
        return self._rated


def rated_part(
    movie_id: UUID, title: str | None = None, year: int | None = None, average: float | None = None
) -> bytes:
    """Encode the movie's members of a rating's JSON, ending with a comma; the user's follow."""
    shown = {"movie_id": movie_id, "title": title, "year": year, "movie_average": average}
    return _json(shown)[:-1] + b","


def film_of(movie: MovieDocument, stored: bytes) -> Film:
    title_key = search_key(movie.title)
    titles = filter(None, (movie.title, movie.original_title, *movie.alternative_titles))
    genre_names, genres = _genres(movie.genres)
    return Film(
        movie_id=movie.movie_id.bytes,
        stored=stored,
        title=movie.title,
        title_key=title_key,
        names=names_of(titles),
        year=movie.year,
        created_ms=milliseconds(movie.created_at),
        genre_names=genre_names,
        genres=genres,
        # Interned, since the same directors come in many movies.
        directors=tuple(sys.intern(search_key(name)) for name in movie.directors),
        position=movie.position,
    )


# Movies with the same genres share both.
@lru_cache(maxsize=10_000)
def _genres(names: tuple[str, ...]) -> tuple[tuple[str, ...], frozenset[str]]:
    return tuple(dict.fromkeys(names)), frozenset(map(genre_key, names))
