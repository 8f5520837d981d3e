"""Merging movies: what moves, what the old id answers, and what no merge may bring back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import httpx

from tests.support.api import Api, User
from tests.support.read_models import assert_exact_at_head
from tests.support.system import System, eventually


def merge(api: Api, movie_id: str, into: str, caller: User | None = None) -> httpx.Response:
    headers = caller.headers if caller else api.service
    return api.post(f"/v1/movies/{movie_id}/merge", {"into": into}, headers)


def merged(api: Api, system: System, movie_id: str, into: str) -> None:
    """Merge, and wait until no rating stands on the movie any more."""
    assert api.expect(202, merge(api, movie_id, into)) == {"movie_id": into}
    wait_until_complete(api, system, movie_id)


def wait_until_complete(api: Api, system: System, movie_id: str) -> None:
    """Later reads of this client see all that has moved."""
    with system.event_store(pool_size=1).connections.get_connection() as connection:

        def completed() -> bool:
            row = connection.execute(
                "SELECT max(notification_id) AS head, count(*) FILTER ("
                "WHERE topic = 'MovieMergeCompleted' AND originator_id = %s) AS done FROM events",
                [movie_id],
            ).fetchone()
            assert row is not None
            api.position = max(api.position, row["head"])
            return bool(row["done"])

        eventually(completed)


def ratings_of(api: Api, movie_id: str) -> dict[str, tuple[float, str | None]]:
    items = api.read(f"/v1/movies/{movie_id}/ratings", limit=100)["items"]
    return {item["user_id"]: (item["score"], item["review"]) for item in items}


def test_ratings_move_and_the_later_opinion_of_a_person_counts(
    api: Api, module_system: System
) -> None:
    old, new = api.movie("Solaris", genres=["Drama"]), api.movie("Solyaris")
    only_old, later_old, later_new, only_new, same_time = (api.sign_up() for _ in range(5))
    api.rate(only_old, old, 4.5, review="Seen twice", rated_at="2026-01-05T10:00:00Z")
    api.rate(later_old, old, 1, rated_at="2026-01-07T10:00:00Z")
    api.rate(later_old, new, 5, review="Gone", rated_at="2026-01-06T10:00:00Z")
    api.rate(later_new, old, 1, review="Gone", rated_at="2026-01-06T10:00:00Z")
    api.rate(later_new, new, 3, rated_at="2026-01-07T10:00:00Z")
    api.rate(only_new, new, 2, rated_at="2026-01-08T10:00:00Z")
    api.rate(same_time, old, 1, rated_at="2026-01-09T10:00:00Z")
    api.rate(same_time, new, 2.5, rated_at="2026-01-09T10:00:00Z")
    merged(api, module_system, old, new)
    assert ratings_of(api, new) == {
        only_old.user_id: (4.5, "Seen twice"),
        later_old.user_id: (1, None),
        later_new.user_id: (3, None),
        only_new.user_id: (2, None),
        same_time.user_id: (2.5, None),
    }
    statistics = api.read(f"/v1/movies/{new}")["ratings"]
    assert (statistics["count"], statistics["average"]) == (5, 2.6)
    days = api.read(f"/v1/movies/{new}/history", limit=100)["items"]
    assert [(day["date"], day["count"]) for day in days] == [
        ("2026-01-05", 1),
        ("2026-01-06", 2),
        ("2026-01-07", 3),
        ("2026-01-08", 4),
        ("2026-01-09", 5),
    ]
    profile = api.read(f"/v1/users/{later_old.user_id}")["ratings"]
    assert (profile["count"], profile["average"]) == (1, 1)
    (rating,) = api.read(f"/v1/users/{only_old.user_id}/ratings")["items"]
    assert (rating["movie_id"], rating["title"], rating["score"]) == (new, "Solyaris", 4.5)
    assert_exact_at_head(module_system)


def test_the_old_id_answers_moved(api: Api, module_system: System) -> None:
    old, new = api.movie("Zerkalo", external_id="merge:old"), api.movie("Mirror")
    ann = api.sign_up()
    merged(api, module_system, old, new)
    for path in ("", "/stats", "/history", "/ratings"):
        answer = api.get(f"/v1/movies/{old}{path}")
        assert (answer.status_code, answer.headers["Location"]) == (301, f"/v1/movies/{new}{path}")
        assert answer.json()["type"] == "urn:starfold:problem:moved"
    page = api.get(f"/v1/movies/{old}/ratings", limit=5)
    assert page.headers["Location"] == f"/v1/movies/{new}/ratings?limit=5"
    rated = api.rate(ann, old, 4)
    assert (rated.status_code, rated.headers["Location"]) == (301, f"/v1/movies/{new}/rating")
    assert api.withdraw(ann, old).status_code == 301
    change = api.command.patch(
        f"/v1/movies/{old}", json={"year": 1980}, headers=api.service | {"If-Match": "*"}
    )
    assert (change.status_code, change.headers["Location"]) == (301, f"/v1/movies/{new}")
    row = {"movie_id": old, "score": 4}
    lone = api.post("/v1/ratings", row, ann.headers)
    assert (lone.status_code, lone.headers["Location"]) == (301, f"/v1/movies/{new}")
    rows = api.post("/v1/ratings/batch", {"ratings": [row]}, ann.headers).json()["results"]
    assert rows == [{"index": 0, "status": "moved", "movie_id": new}]
    movie = {"title": "Zerkalo", "year": 1975, "external_id": "merge:old"}
    assert api.post("/v1/movies", movie, api.service).headers["Location"] == f"/v1/movies/{new}"
    made = api.post("/v1/movies/batch", {"movies": [movie]}, api.service).json()["results"]
    assert made == [{"index": 0, "status": "moved", "movie_id": new}]


def test_a_merged_movie_is_in_no_list(api: Api, module_system: System) -> None:
    old, new = api.movie("Nostalghia", genres=["Drama"]), api.movie("Tempo di viaggio")
    assert listed(api, q="nostalghia") == [old]
    merged(api, module_system, old, new)
    assert listed(api, q="nostalghia") == []
    assert old not in listed(api, sort="title")
    assert listed(api, q="tempo") == [new]
    reset = module_system.start_query_api()
    with httpx.Client(base_url=reset.url) as fresh:
        eventually(lambda: fresh.get("/ready").status_code == 200)
        assert fresh.get("/v1/movies", params={"q": "nostalghia"}).json()["items"] == []


def listed(api: Api, **parameters: Any) -> list[str]:
    items = api.read("/v1/movies", limit=100, **parameters)["items"]
    return [item["movie_id"] for item in items]


def test_the_imdb_id_of_a_merged_movie_is_free(api: Api, module_system: System) -> None:
    old, new = api.movie(imdb_id="tt7000001"), api.movie()
    merged(api, module_system, old, new)
    change = api.command.patch(
        f"/v1/movies/{new}", json={"imdb_id": "tt7000001"}, headers=api.service | {"If-Match": "*"}
    )
    assert change.status_code == 204


def test_whom_and_what_a_merge_refuses(api: Api, module_system: System) -> None:
    old, new, other = api.movie(), api.movie(), api.movie()
    nobody = str(UUID(int=9))
    assert merge(api, old, new, api.sign_up()).status_code == 403
    assert merge(api, old, old).status_code == 422
    assert merge(api, nobody, new).status_code == 404
    missing = merge(api, old, nobody)
    assert (missing.status_code, missing.json()["errors"][0]["pointer"]) == (404, "/into")
    assert merge(api, old, new, api.sign_up(role="curator")).status_code == 202
    assert merge(api, old, new).status_code == 202
    assert merge(api, old, other).headers["Location"] == f"/v1/movies/{new}/merge"
    assert merge(api, new, old).status_code == 301
    assert merge(api, new, other).status_code == 202
    wait_until_complete(api, module_system, new)


def test_ratings_go_to_the_last_of_a_chain(api: Api, module_system: System) -> None:
    first, second, third = api.movie(), api.movie(), api.movie()
    ann, ben = api.sign_up(), api.sign_up()
    api.rate(ann, first, 4)
    api.rate(ben, second, 2)
    assert merge(api, first, second).status_code == 202
    assert merge(api, second, third).status_code == 202
    for movie in (first, second):
        wait_until_complete(api, module_system, movie)
    assert ratings_of(api, third) == {ann.user_id: (4, None), ben.user_id: (2, None)}
    assert api.get(f"/v1/movies/{first}").headers["Location"] == f"/v1/movies/{second}"
    assert_exact_at_head(module_system)


def test_an_erased_user_stays_erased_and_keeps_counting(api: Api, module_system: System) -> None:
    old, new = api.movie(), api.movie()
    ann = api.sign_up(name="Ann of the merge")
    api.rate(ann, old, 4, review="personal words")
    api.expect(204, api.command.delete("/v1/users/me", headers=ann.headers))
    merged(api, module_system, old, new)
    assert ratings_of(api, new) == {ann.user_id: (4, None)}
    profile = api.read(f"/v1/users/{ann.user_id}")
    assert (profile["erased"], profile["display_name"]) == (True, None)
    assert_exact_at_head(module_system)


def test_who_withdrew_does_not_come_back(api: Api, module_system: System) -> None:
    old, new = api.movie(), api.movie()
    ann, ben = api.sign_up(), api.sign_up()
    api.rate(ann, old, 4)
    api.withdraw(ann, old)
    api.rate(ben, old, 4, rated_at="2026-01-05T10:00:00Z")
    api.rate(ben, new, 2, rated_at="2026-01-06T10:00:00Z")
    api.withdraw(ben, new)
    merged(api, module_system, old, new)
    assert ratings_of(api, new) == {}
    assert_exact_at_head(module_system)
