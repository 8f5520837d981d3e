"""Match films of other sources to the movies of the catalogue; never guess between two.

In this order: the IMDb id, the TMDB id, the source's own id, then the folded title with the exact
year, then with a year beside it. A movie that has another id than the film in the same catalogue is
not the film, whatever its title.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ops.imports.reading.entry import Film
from ops.progress import Progress
from query_api.catalogue.search_key import search_words
from starfold_client import Starfold

PAGE_MOVIES = 100
CANDIDATES_MAX = 5
YEARS_OFF_MAX = 1


class Movie(NamedTuple):
    """A movie of the catalogue, with what it is matched by."""

    movie_id: str
    title: str
    year: int
    imdb_id: str | None = None
    tmdb_id: int | None = None
    external_id: str | None = None

    def contradicts(self, film: Film) -> bool:
        """Return whether both have ids in one catalogue that differ."""
        if self.imdb_id and film.imdb_id and self.imdb_id != film.imdb_id:
            return True
        if self.tmdb_id and film.tmdb_id and self.tmdb_id != film.tmdb_id:
            return True
        ours, theirs = self.external_id or "", film.external_id or ""
        is_one_source = ours.partition(":")[0] == theirs.partition(":")[0]
        return bool(ours and theirs) and is_one_source and ours != theirs


class Match(NamedTuple):
    """The movie of a film, or None and the movies that it may be."""

    movie: Movie | None
    candidates: tuple[Movie, ...] = ()


class Matcher:
    """Finds movies in memory; the catalogue is as it was when it was read."""

    def __init__(self, catalogue: Iterable[tuple[Movie, Iterable[str]]] = ()) -> None:
        self._by_imdb: dict[str, Movie] = {}
        self._by_tmdb: dict[int, Movie] = {}
        self._by_external: dict[str, Movie] = {}
        self._by_title: defaultdict[str, list[Movie]] = defaultdict(list)
        for movie, other_titles in catalogue:
            self.add(movie, other_titles)

    def add(self, movie: Movie, other_titles: Iterable[str]) -> None:
        if movie.imdb_id is not None:
            self._by_imdb[movie.imdb_id] = movie
        if movie.tmdb_id is not None:
            self._by_tmdb[movie.tmdb_id] = movie
        if movie.external_id is not None:
            self._by_external[movie.external_id] = movie
        for key in {compared(title) for title in (movie.title, *other_titles)}:
            self._by_title[key].append(movie)

    def made_for(self, film: Film) -> Movie | None:
        """Return the movie that an earlier import created for this very film."""
        return self._by_external.get(film.external_id or "")

    def match(self, film: Film) -> Match:
        found = (
            (film.imdb_id and self._by_imdb.get(film.imdb_id))
            or (film.tmdb_id and self._by_tmdb.get(film.tmdb_id))
            or (film.external_id and self._by_external.get(film.external_id))
        )
        if found:
            return Match(found)
        return self._by_titles(film)

    def _by_titles(self, film: Film) -> Match:
        keys = {compared(title) for title in (film.title, *film.other_titles) if title}
        same = {
            movie.movie_id: movie
            for key in keys
            for movie in self._by_title.get(key, ())
            if not movie.contradicts(film)
        }
        candidates = tuple(sorted(same.values(), key=lambda movie: (movie.year, movie.movie_id)))
        if film.by_title and film.year is not None:
            for years_off in range(YEARS_OFF_MAX + 1):
                near = [m for m in candidates if abs(m.year - film.year) <= years_off]
                if len(near) == 1:
                    return Match(near[0])
                if near:
                    return Match(None, tuple(near[:CANDIDATES_MAX]))
        return Match(None, candidates[:CANDIDATES_MAX])


def compared(title: str) -> str:
    """Return a title as it is compared: without case, accents and punctuation, `&` as `and`."""
    return " ".join(search_words(title.replace("&", " and ")))


def read_catalogue(client: Starfold) -> Iterator[tuple[Movie, Iterable[str]]]:
    """Yield the movies of the query API's list with their other titles, once through."""
    reader = client.for_caller(position=client.command_ready().position)
    total = reader.list_movies(limit=1, count=True).count or 0
    with Progress("catalogue", total) as progress:
        for listed in reader.list_movies.all(sort="title", limit=PAGE_MOVIES):
            movie = Movie(
                movie_id=str(listed.movie_id),
                title=listed.title,
                year=listed.year,
                imdb_id=listed.imdb_id,
                tmdb_id=listed.tmdb_id,
                external_id=listed.external_id,
            )
            others = (listed.original_title, *listed.alternative_titles)
            yield movie, [title for title in others if title]
            progress.advance(1)
