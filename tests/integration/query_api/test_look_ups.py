"""Movies by other catalogues' ids, many movies at once, genres, and the length of a list."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.support.api import AT_LEAST, Api
from tests.support.system import System, eventually

NOBODY = str(UUID(int=7))


def merge(api: Api, movie_id: str, into: str) -> None:
    api.expect(202, api.post(f"/v1/movies/{movie_id}/merge", {"into": into}, api.service))


def withdraw(api: Api, movie_id: str) -> None:
    api.expect(204, api.command.delete(f"/v1/movies/{movie_id}", headers=api.service))


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("imdb_id", "tt8000001", "imdb/tt8000001"),
        ("tmdb_id", 800001, "tmdb/800001"),
        ("external_id", "films 8:1%", "external/films%208:1%25"),
    ],
)
def test_a_movie_is_found_by_another_catalogues_id(
    api: Api, field: str, value: Any, path: str
) -> None:
    movie_id = api.movie("Heat", **{field: value})
    found = api.get(f"/v1/movies/by/{path}")
    shown = api.get(f"/v1/movies/{movie_id}")
    assert (found.status_code, found.json()) == (200, shown.json())
    assert found.headers["ETag"] == shown.headers["ETag"]
    for unknown in (f"/v1/movies/by/{path}0", "/v1/movies/by/tmdb/0800001"):
        missing = api.get(unknown)
        assert (missing.status_code, missing.json()["type"]) == (
            404,
            "urn:starfold:problem:not-found",
        )
    assert api.get("/v1/movies/by/letterboxd/heat").status_code == 422
    assert api.get(f"/v1/movies/by/external/{'x' * 101}").status_code == 422


def test_a_given_up_id_leads_to_the_movie_that_takes_it(api: Api) -> None:
    first, second = api.movie("Heat", imdb_id="tt8000002"), api.movie("Heat 2")
    for movie_id, imdb_id in ((first, None), (second, "tt8000002")):
        headers = api.service | {"If-Match": "*"}
        change = api.command.patch(
            f"/v1/movies/{movie_id}", json={"imdb_id": imdb_id}, headers=headers
        )
        api.expect(204, change)
        found = api.get("/v1/movies/by/imdb/tt8000002")
        assert found.status_code == (404 if imdb_id is None else 200)
    assert found.json()["movie_id"] == second


def test_the_id_of_a_movie_that_left_still_leads_to_it(api: Api, module_system: System) -> None:
    """Also in a process that has started since."""
    old, withdrawn = api.movie(imdb_id="tt8000003"), api.movie(tmdb_id=800003)
    new, taker = api.movie("The remaining one"), api.movie("The next one")
    merge(api, old, new)
    withdraw(api, withdrawn)

    with httpx.Client(base_url=module_system.start_query_api().url) as later:
        eventually(lambda: later.get("/ready").status_code == 200)
        for client in (api.query, later):
            headers = {AT_LEAST: str(api.position)}
            moved = client.get("/v1/movies/by/imdb/tt8000003", headers=headers)
            assert (moved.status_code, moved.headers["Location"]) == (301, f"/v1/movies/{new}")
            assert client.get("/v1/movies/by/tmdb/800003", headers=headers).status_code == 410
            page = client.get("/v1/movies", params={"ids": f"{old},{withdrawn}"}, headers=headers)
            assert [item["left"] for item in page.json()["items"]] == ["merged", "withdrawn"]
    headers = api.service | {"If-Match": "*"}
    body = {"imdb_id": "tt8000003"}
    api.expect(204, api.command.patch(f"/v1/movies/{taker}", json=body, headers=headers))
    assert api.read("/v1/movies/by/imdb/tt8000003")["movie_id"] == taker


class TestManyMovies:
    def test_they_come_in_the_requested_order_with_null_for_unknown_ones(self, api: Api) -> None:
        first, second, old, gone = (api.movie(f"One of many {n}") for n in range(4))
        merge(api, old, first)
        withdraw(api, gone)
        ids = [second, NOBODY, old, gone, first.upper(), second]
        page = api.read("/v1/movies", ids=",".join(ids))
        items = page["items"]
        assert page["next_cursor"] is None
        assert items[1:4] == [
            None,
            {"movie_id": old, "left": "merged", "into": first},
            {"movie_id": gone, "left": "withdrawn", "into": None},
        ]
        assert [items[place]["movie_id"] for place in (0, 4, 5)] == [second, first, second]

    def test_a_hundred_are_the_most(self, api: Api) -> None:
        hundred = ",".join([NOBODY] * 100)
        assert api.read("/v1/movies", ids=hundred)["items"] == [None] * 100
        assert api.get("/v1/movies", ids=f"{hundred},{NOBODY}").status_code == 422

    @pytest.mark.parametrize(
        "more",
        [{"sort": "title"}, {"q": "x"}, {"limit": 5}, {"count": "true"}, {"cursor": "x"}],
        ids=str,
    )
    def test_nothing_else_is_taken_beside_the_ids(self, api: Api, more: dict[str, Any]) -> None:
        answer = api.get("/v1/movies", ids=NOBODY, **more)
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/query/ids"
        assert api.get("/v1/movies", ids="nonsense").status_code == 422


def test_a_list_shows_poster_imdb_id_and_runtime(api: Api) -> None:
    details: dict[str, Any] = {
        "poster_url": "https://example.org/p.jpg",
        "imdb_id": "tt8000004",
        "runtime_min": 90,
    }
    movie_id = api.movie("A poster of its own", **details)
    (item,) = api.read("/v1/movies", q="poster of its own")["items"]
    assert (item["movie_id"], {name: item[name] for name in details}) == (movie_id, details)


def test_genres_are_counted_as_a_filter_finds_them(api: Api) -> None:
    for number, genres in enumerate((["Noir", "Kış"], ["Noir"], ["NOIR", "noir"], ["kis"])):
        api.movie(f"Of a genre {number}", genres=genres)
    left = api.movie("Of a genre that left", genres=["Noir", "Lost"])
    withdraw(api, left)
    counted: dict[str, int] = {}
    cursor: dict[str, Any] = {}
    while True:
        page = api.read("/v1/genres", limit=2, **cursor)
        counted |= {item["genre"]: item["count"] for item in page["items"]}
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert list(counted.values()) == sorted(counted.values(), reverse=True)
    assert {"Noir": 3, "Kış": 2}.items() <= counted.items()
    assert "Lost" not in counted
    for genre, count in counted.items():
        assert api.read("/v1/movies", genre=genre, count="true", limit=1)["count"] == count


class TestCounts:
    def test_a_count_is_of_the_whole_list(self, api: Api) -> None:
        for number in range(5):
            api.movie(f"Counted film {number}", year=1950 + number)
        page = api.read("/v1/movies", q="counted", count="true", limit=2)
        assert (len(page["items"]), page["count"]) == (2, 5)
        narrowed = api.read("/v1/movies", q="counted", year_max=1952, sort="title", count="true")
        assert narrowed["count"] == 3
        total = api.read("/v1/movies", count="true", limit=1)["count"]
        api.movie("One more")
        assert api.read("/v1/movies", count="true", limit=1)["count"] == total + 1
        assert "count" not in api.read("/v1/movies", count="false")
        assert api.get("/v1/movies", count="1").status_code == 422

    def test_a_users_ratings_are_counted(self, api: Api) -> None:
        ann = api.sign_up()
        path = f"/v1/users/{ann.user_id}/ratings"
        assert api.read(path, count="true")["count"] == 0
        rated = [api.movie(f"Rated {number}") for number in range(3)]
        for movie_id in rated:
            api.rate(ann, movie_id, 4)
        api.withdraw(ann, rated[0])
        page = api.read(path, count="true", limit=1, sort="title")
        assert (len(page["items"]), page["count"]) == (1, 2)
