"""Nobody does what only others may: what went wrong in an earlier service."""

from __future__ import annotations

import pytest

from tests.support.api import PASSWORD, Api, problem


def test_nobody_edits_or_deletes_anybody_elses_rating(api: Api) -> None:
    ann, ben, movie_id = api.sign_up(), api.sign_up(), api.movie()
    api.rate(ann, movie_id, 5)
    body = {"movie_id": movie_id, "score": 1, "user_id": ann.user_id}
    assert problem(api.post("/v1/ratings", body, ben.headers))["status"] == 403
    assert api.withdraw(ben, movie_id).status_code == 204
    batch = api.post("/v1/ratings/batch", {"ratings": [body]}, ben.headers).json()
    assert batch["results"][0]["status"] == "rejected"
    assert api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")["score"] == 5


@pytest.mark.parametrize("field", ["role", "is_admin", "user_id"])
def test_sign_up_takes_no_role(api: Api, field: str) -> None:
    body = {"email": f"{field}@example.org", "password": PASSWORD, "display_name": "Eve"}
    assert problem(api.post("/v1/users", body | {field: "operator"}))["status"] == 422


def test_a_member_may_not_add_movies_or_give_roles(api: Api) -> None:
    ann = api.sign_up()
    movie = {"title": "Mirror", "year": 1975}
    assert problem(api.post("/v1/movies", movie, ann.headers))["status"] == 403
    role = api.command.put(
        f"/v1/users/{ann.user_id}/role", json={"role": "operator"}, headers=ann.headers
    )
    assert problem(role)["status"] == 403


def test_nobody_lists_users_or_sees_an_address(api: Api) -> None:
    ann = api.sign_up("secret-address@example.org")
    assert problem(api.query.get("/v1/users"))["status"] in (404, 405)
    assert "secret-address" not in api.get(f"/v1/users/{ann.user_id}").text
