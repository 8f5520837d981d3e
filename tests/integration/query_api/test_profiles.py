"""Profiles: what a user's ratings say, and what only the user sees."""

from __future__ import annotations

from typing import Any

from tests.support.api import AT_LEAST, Api, User


def ratings_of(api: Api, user: User) -> dict[str, Any]:
    found: dict[str, Any] = api.read(f"/v1/users/{user.user_id}")["ratings"]
    return found


def test_a_profile_follows_ratings_withdrawals_and_corrected_genres(api: Api) -> None:
    ann = api.sign_up()
    assert ratings_of(api, ann)["genres"] == []
    heat = api.movie("Heat", genres=["Crime", "Drama"])
    mirror = api.movie("Mirror", genres=["Drama"])
    api.rate(ann, heat, 4.5)
    api.rate(ann, mirror, 2)
    for _ in range(2):  # The second from what is kept.
        shown = ratings_of(api, ann)
        assert shown["genres"] == [
            {"genre": "Drama", "count": 2, "average": 3.25},
            {"genre": "Crime", "count": 1, "average": 4.5},
        ]
    assert (shown["first"]["movie_id"], shown["last"]["movie_id"]) == (heat, mirror)
    api.withdraw(ann, mirror)
    shown = ratings_of(api, ann)
    assert shown["first"] == shown["last"]
    assert [genre["count"] for genre in shown["genres"]] == [1, 1]
    corrected = api.command.patch(
        f"/v1/movies/{heat}",
        json={"genres": ["Thriller"]},
        headers=api.service | {"If-Match": '"1"'},
    )
    api.expect(204, corrected)
    assert ratings_of(api, ann)["genres"] == [{"genre": "Thriller", "count": 1, "average": 4.5}]


def test_only_oneself_sees_ones_email_address(api: Api) -> None:
    ann, ben = api.sign_up(), api.sign_up()
    own = api.get("/v1/users/me", ann)
    assert (own.json()["email"], own.json()["email_verified"]) == (ann.email, False)
    assert own.json()["ratings"]["count"] == 0
    for who in (None, ben, ann):
        assert "email" not in api.get(f"/v1/users/{ann.user_id}", who).json()
    assert api.query.get("/v1/users/me").status_code == 401
    known = ann.headers | {"If-None-Match": own.headers["ETag"]}
    assert api.query.get("/v1/users/me", headers=known).status_code == 304


def test_a_user_without_an_address_has_none(api: Api) -> None:
    made = api.post("/v1/users", {"external_id": "x:1", "display_name": "Xi"}, api.service)
    user_id = api.expect(201, made)["user_id"]
    assert "email" not in api.read(f"/v1/users/{user_id}")


def test_an_erased_user_leaves_no_address(api: Api) -> None:
    ann = api.sign_up()
    api.read("/v1/users/me", ann)
    api.expect(204, api.command.delete("/v1/users/me", headers=ann.headers))
    gone = api.query.get("/v1/users/me", headers=ann.headers | {AT_LEAST: str(api.position)})
    assert ann.email not in gone.text
    assert gone.status_code == 401
    public = api.read(f"/v1/users/{ann.user_id}")
    assert (public["display_name"], public["erased"]) == (None, True)


def test_what_the_weighted_average_is_drawn_to_is_shown(api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    api.rate(ann, movie_id, 5)
    for path in (f"/v1/movies/{movie_id}", f"/v1/movies/{movie_id}/stats"):
        ratings = api.read(path)["ratings"]
        m, c = ratings["weighted_by"]["m"], ratings["weighted_by"]["C"]
        assert ratings["weighted_average"] == round((5 + m * c) / (1 + m), 4)
