"""Making and correcting movies: the limits at their edges, versions, and what is unique."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.api import Api

FULL: dict[str, Any] = {
    "title": "Stalker",
    "original_title": "Сталкер",
    "alternative_titles": ["Der Stalker", "Roadside Picnic"],
    "year": 1979,
    "genres": ["Drama", "Science Fiction"],
    "directors": ["Andrei Tarkovsky"],
    "writers": ["Arkady Strugatsky", "Boris Strugatsky"],
    "cast": ["Alisa Freindlich"],
    "runtime_min": 162,
    "languages": ["ru"],
    "countries": ["SU"],
    "certificate": "PG",
    "description": "A guide leads two men through the Zone.",
    "poster_url": "https://example.org/stalker.jpg",
}
THIS_YEAR = datetime.now(UTC).year

_imdb_numbers = itertools.count(1)


def an_imdb_id() -> str:
    return f"tt{next(_imdb_numbers):08}"


def change(api: Api, movie_id: str, body: object, version: str | None = '"1"') -> httpx.Response:
    headers = api.service if version is None else api.service | {"If-Match": version}
    return api.note(api.command.patch(f"/v1/movies/{movie_id}", json=body, headers=headers))


def test_every_field_is_kept(api: Api) -> None:
    ids = {"imdb_id": an_imdb_id(), "tmdb_id": 1398, "external_id": "catalogue:1"}
    made = FULL | ids
    shown = api.read(f"/v1/movies/{api.movie(**made)}")
    assert {name: shown[name] for name in made} == made


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("year", value) for value in (1888, THIS_YEAR + 5)),
        *(("title", value) for value in ("x" * 300, "M", "Бегущий по лезвию", "映画 🎬")),
        *(("runtime_min", value) for value in (1, 6_000)),
        *(("genres", value) for value in ([], ["x"] * 100, ["x" * 100])),
        ("description", "x" * 5_000),
        ("imdb_id", "tt1234567890"),
        *(("tmdb_id", value) for value in (1, 2_147_483_647)),
        ("original_title", "x" * 300),
        *(("alternative_titles", value) for value in ([], ["x"] * 50, ["x" * 300])),
    ],
)
def test_what_is_just_within_the_limits_is_taken(api: Api, field: str, value: Any) -> None:
    body = {"title": "Mirror", "year": 1975} | {field: value}
    assert api.post("/v1/movies", body, api.service).status_code == 201


@pytest.mark.parametrize(
    ("field", "value", "pointer"),
    [
        *(("tmdb_id", value, "/tmdb_id") for value in (0, 2_147_483_648, "1398", True)),
        *(("original_title", value, "/original_title") for value in ("", "\u200b", "x" * 301)),
        ("alternative_titles", ["x"] * 51, "/alternative_titles"),
        *(
            ("alternative_titles", ["Mirror", value], "/alternative_titles/1")
            for value in ("", "a\nb", "x" * 301, None)
        ),
    ],
)
def test_titles_and_ids_beyond_the_limits_are_refused(
    api: Api, field: str, value: Any, pointer: str
) -> None:
    body = {"title": "Mirror", "year": 1975} | {field: value}
    refused = api.post("/v1/movies", body, api.service)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == pointer


def test_a_year_too_far_ahead_is_refused(api: Api) -> None:
    body = {"title": "Mirror", "year": THIS_YEAR + 6}
    assert api.post("/v1/movies", body, api.service).status_code == 422


class TestCorrections:
    def test_what_is_named_is_replaced_and_the_rest_stays(self, api: Api) -> None:
        movie_id = api.movie(**FULL)
        assert change(api, movie_id, {"year": 1980, "certificate": None}).status_code == 204
        shown = api.read(f"/v1/movies/{movie_id}")
        assert shown["version"] == 2
        expected = FULL | {"year": 1980, "certificate": None}
        assert {name: shown[name] for name in expected} == expected

    def test_a_correction_names_the_version_that_it_was_made_to(self, api: Api) -> None:
        movie_id = api.movie()
        statuses = [
            change(api, movie_id, {"year": 1980}, version).status_code
            for version in (None, '"0"', '"2"', "1", '"x"', '"1", "2"', '"1"')
        ]
        assert statuses == [428, 412, 412, 400, 412, 204, 412]

    def test_a_correction_of_nothing_leaves_the_version(self, api: Api) -> None:
        movie_id = api.movie()
        for body in ({}, {"year": 1979}):
            assert change(api, movie_id, body).status_code == 204
        assert change(api, movie_id, {"year": 1980}).status_code == 204

    @pytest.mark.parametrize(
        "body",
        [
            {"title": None},
            {"title": ""},
            {"year": None},
            {"year": 1887},
            {"genres": None},
            {"colour": "red"},
        ],
    )
    def test_a_correction_keeps_to_the_limits(self, api: Api, body: dict[str, Any]) -> None:
        movie_id = api.movie()
        assert change(api, movie_id, body).status_code == 422
        assert change(api, movie_id, {"year": 1980}).status_code == 204

    def test_only_curators_correct_and_only_what_there_is(self, api: Api) -> None:
        movie_id, nothing = api.movie(), str(UUID(int=7))
        member, curator = api.sign_up(), api.sign_up(role="curator")
        for user, movie, status in (
            (member, movie_id, 403),
            (member, nothing, 403),
            (curator, movie_id, 204),
            (curator, nothing, 404),
        ):
            headers = user.headers | {"If-Match": '"1"'}
            path = f"/v1/movies/{movie}"
            answer = api.command.patch(path, json={"year": 1980}, headers=headers)
            assert answer.status_code == status


class TestTmdbIds:
    def test_a_tmdb_id_is_of_one_movie_until_it_gives_it_up(self, api: Api) -> None:
        first, second = api.movie("Stalker", tmdb_id=501), api.movie("Solaris")
        taken = change(api, second, {"tmdb_id": 501})
        assert taken.status_code == 409
        assert taken.json()["errors"][0]["pointer"] == "/tmdb_id"
        body = {"title": "Another", "year": 1979, "tmdb_id": 501}
        assert api.post("/v1/movies", body, api.service).status_code == 409
        assert change(api, first, {"tmdb_id": 502}).status_code == 204
        assert change(api, second, {"tmdb_id": 501}).status_code == 204
        shown = [api.read(f"/v1/movies/{movie}")["tmdb_id"] for movie in (first, second)]
        assert shown == [502, 501]

    def test_of_two_ids_neither_is_taken_if_one_is_not_free(self, api: Api) -> None:
        imdb_id = an_imdb_id()
        api.movie("Stalker", tmdb_id=503)
        other = api.movie("Solaris")
        assert change(api, other, {"imdb_id": imdb_id, "tmdb_id": 503}).status_code == 409
        assert change(api, other, {"imdb_id": imdb_id, "tmdb_id": 504}).status_code == 204

    def test_the_id_of_a_withdrawn_or_merged_movie_is_free(self, api: Api) -> None:
        withdrawn, merged = api.movie(tmdb_id=505), api.movie(tmdb_id=506)
        into, other = api.movie(), api.movie()
        path = f"/v1/movies/{withdrawn}"
        assert api.note(api.command.delete(path, headers=api.service)).status_code == 204
        api.expect(202, api.post(f"/v1/movies/{merged}/merge", {"into": into}, api.service))
        assert change(api, into, {"tmdb_id": 506}).status_code == 204
        assert change(api, other, {"tmdb_id": 505}).status_code == 204


class TestImdbIds:
    def test_an_imdb_id_is_of_one_movie(self, api: Api) -> None:
        imdb_id = an_imdb_id()
        first = api.movie("Stalker", imdb_id=imdb_id)
        body = {"title": "Another", "year": 1979, "imdb_id": imdb_id}
        taken = api.post("/v1/movies", body, api.service)
        assert taken.status_code == 409
        assert taken.json()["errors"][0]["pointer"] == "/imdb_id"
        assert change(api, api.movie("Another"), {"imdb_id": imdb_id}).status_code == 409
        assert change(api, first, {"imdb_id": imdb_id, "year": 1980}).status_code == 204

    def test_an_id_that_a_movie_gave_up_is_free(self, api: Api) -> None:
        old, new = an_imdb_id(), an_imdb_id()
        first, second = api.movie("Stalker", imdb_id=old), api.movie("Solaris")
        assert change(api, second, {"imdb_id": old}).status_code == 409
        assert change(api, first, {"imdb_id": new}).status_code == 204
        assert change(api, second, {"imdb_id": old}).status_code == 204
        assert change(api, first, {"imdb_id": old}, '"2"').status_code == 409
        assert change(api, first, {"imdb_id": None}, '"2"').status_code == 204
        third = api.movie("Mirror", imdb_id=new)
        shown = [api.read(f"/v1/movies/{movie}")["imdb_id"] for movie in (first, second, third)]
        assert shown == [None, old, new]

    def test_a_change_that_is_refused_gives_up_nothing(self, api: Api) -> None:
        old, taken = an_imdb_id(), an_imdb_id()
        first = api.movie("Stalker", imdb_id=old)
        api.movie("Solaris", imdb_id=taken)
        assert change(api, first, {"imdb_id": taken}).status_code == 409
        assert change(api, first, {"imdb_id": None}, '"2"').status_code == 412
        assert change(api, api.movie("Mirror"), {"imdb_id": old}).status_code == 409

    def test_of_many_who_take_a_free_id_at_once_one_gets_it(self, api: Api) -> None:
        imdb_id = an_imdb_id()
        owner = api.movie("Owner", imdb_id=imdb_id)
        movies = [api.movie(f"Taker {n}") for n in range(8)]
        assert change(api, owner, {"imdb_id": None}).status_code == 204
        with ThreadPoolExecutor(len(movies)) as takers:
            taking = takers.map(lambda movie: change(api, movie, {"imdb_id": imdb_id}), movies)
            statuses = [answer.status_code for answer in taking]
        assert sorted(statuses) == [204] + [409] * 7
        assert [
            movie for movie in movies if api.read(f"/v1/movies/{movie}")["imdb_id"] == imdb_id
        ] == [movies[statuses.index(204)]]

    def test_in_a_batch_the_second_of_two_is_refused_alone(self, api: Api) -> None:
        imdb_id = an_imdb_id()
        rows = [{"title": f"Twin {n}", "year": 1990, "imdb_id": imdb_id} for n in range(2)]
        rows.append({"title": "Single", "year": 1990})
        answer = api.post("/v1/movies/batch", {"movies": rows}, api.service)
        results = api.expect(200, answer)["results"]
        assert [row["status"] for row in results] == ["created", "rejected", "created"]
        assert results[1]["problem"]["type"] == "urn:starfold:problem:conflict"
