"""Matching films of other sources: the order of the ways, and no guess between two movies."""

from __future__ import annotations

from typing import Any

import pytest

from ops.imports.importer import match_films
from ops.imports.matcher import Matcher
from ops.imports.reading.entry import Film
from tests.support.scenarios.import_reports import CATALOGUE, movies


def movie(movie_id: str, title: str, year: int, **ids: Any) -> dict[str, Any]:
    return {"movie_id": movie_id, "title": title, "year": year, **ids}


@pytest.mark.parametrize(
    ("film", "found"),
    [
        (Film(imdb_id="tt0113277", tmdb_id=2103, title="Solaris", year=2002), "heat"),
        (Film(imdb_id="tt9999999", tmdb_id=2103), "solaris02"),
        (Film(external_id="trakt:77", title="Heat", year=1995), "mirror"),
        (Film(title="LE FABULEUX DESTIN D’AMELIE POULAIN", year=2001), "amelie"),
        (Film(title="Other", other_titles=("zerkalo",), year=1974), "mirror"),
        (Film(title="Heat", year=1996), "heat"),
        (Film(title="Heat", year=1997), None),
        (Film(title="Heat"), None),
        (Film(title="Heat", year=1995, imdb_id="tt9999999"), None),
        (Film(title="Heat", year=1995, by_title=False), None),
        (Film(), None),
    ],
)
def test_a_film_is_matched_by_its_ids_and_then_by_title_and_year(
    film: Film, found: str | None
) -> None:
    match = Matcher(movies(CATALOGUE)).match(film)
    assert (match.movie and match.movie.movie_id) == found


@pytest.mark.parametrize("years", [(1995, 1995), (1994, 1996)])
def test_between_two_movies_nothing_is_guessed(years: tuple[int, int]) -> None:
    first, second = years
    twins = Matcher(movies([movie("a", "Heat", first), movie("b", "Heat", second)]))
    match = twins.match(Film(title="Heat", year=1995))
    assert match.movie is None
    assert [one.movie_id for one in match.candidates] == ["a", "b"]


def test_no_two_films_of_a_data_set_share_a_movie_and_a_repeat_finds_its_own() -> None:
    films = [
        Film(external_id=f"movielens:{number}", title="Chasing Amy", year=1997) for number in (1, 2)
    ]
    catalogue = [movie("a", "Chasing Amy", 1997)]
    assert match_films(films, Matcher(movies(catalogue))) == {"movielens:1": "a"}
    catalogue.append(movie("b", "Chasing Amy", 1997, external_id="movielens:2"))
    assert match_films(films, Matcher(movies(catalogue))) == {
        "movielens:1": "a",
        "movielens:2": "b",
    }
