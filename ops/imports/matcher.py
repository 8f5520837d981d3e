"""Match films of other sources to the movies of the catalogue; never guess between two.

In this order: the IMDb id, the TMDB id, the source's own id, then the folded title with the exact
year, then with a year beside it. A movie that has another id than the film in the same catalogue is
not the film, whatever its title.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ops.home.api_client import ApiClient, Row
from ops.imports.reading.entry import Film
from ops.progress import Progress
from query_api.catalogue.search_key import search_words

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

    def __init__(self, catalogue: Iterable[Row] = ()) -> None:
        self._by_imdb: dict[str, Movie] = {}
        self._by_tmdb: dict[int, Movie] = {}
        self._by_external: dict[str, Movie] = {}
        self._by_title: defaultdict[str, list[Movie]] = defaultdict(list)
        for row in catalogue:
            movie = Movie(
                movie_id=row["movie_id"],
                title=row["title"],
                year=row["year"],
                imdb_id=row.get("imdb_id"),
                tmdb_id=row.get("tmdb_id"),
                external_id=row.get("external_id"),
            )
            others = (row.get("original_title"), *row.get("alternative_titles", ()))
            self.add(movie, [title for title in others if title])

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


def read_catalogue(client: ApiClient) -> list[Mapping[str, Any]]:
    """Return the movies of the query API's list, once through."""
    movies: list[Mapping[str, Any]] = []
    head = client.head()
    parameters: dict[str, Any] = {"sort": "title", "limit": PAGE_MOVIES}
    first = client.query("/v1/movies", at_least=head, count=True, **parameters)
    page = first
    with Progress("catalogue", first["count"]) as progress:
        while True:
            movies += page["items"]
            progress.reach(len(movies))
            if page["next_cursor"] is None:
                return movies
            page = client.query(
                "/v1/movies", at_least=head, cursor=page["next_cursor"], **parameters
            )
