"""What a service key may do by its scopes, and for whom."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.log.schema import migrate
from tests.support.api import Api, User
from tests.support.system import System


@pytest.fixture(scope="module")
def system(module_system: System) -> System:
    """The one that `api` calls."""
    return module_system


def key(system: System, *scopes: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {system.service_key(list(scopes))}"}


def external_user(api: Api) -> str:
    body = {"external_id": str(uuid4()), "display_name": "Ann"}
    user_id: str = api.expect(201, api.post("/v1/users", body, api.service))["user_id"]
    return user_id


def rating(user_id: str, movie_id: str) -> dict[str, Any]:
    return {"user_id": user_id, "movie_id": movie_id, "score": 4, "review": "Mine."}


def test_a_key_rates_for_external_users_with_the_scope_ratings_alone(
    system: System, api: Api
) -> None:
    row = rating(external_user(api), api.movie())
    for scopes in (["users"], ["roles"], ["users", "movies", "roles", "erasure"], []):
        headers = key(system, *scopes)
        assert api.post("/v1/ratings", row, headers).status_code == 403, scopes
        bulk = api.post("/v1/ratings/batch", {"ratings": [row]}, headers)
        assert bulk.status_code == 403, scopes
    assert api.post("/v1/ratings", row, key(system, "ratings")).status_code == 201


def test_a_key_rates_for_nobody_who_has_a_password(system: System, api: Api) -> None:
    """Neither in the batch that knows the user already, nor in one that has just come to."""
    ann, movie_id = api.sign_up(), api.movie()
    headers = key(system, "users", "ratings")
    row = rating(ann.user_id, movie_id)
    for _ in range(2):
        answer = api.post("/v1/ratings", row, headers)
        assert answer.status_code == 403
        assert answer.json()["errors"][0]["pointer"] == "/user_id"
    api.rate(ann, movie_id, 2)
    rows = [row, rating(external_user(api), movie_id), rating(str(UUID(int=7)), movie_id)]
    results = api.expect(200, api.post("/v1/ratings/batch", {"ratings": rows}, headers))["results"]
    assert [one["status"] for one in results] == ["rejected", "created", "rejected"]
    kinds = [one["problem"]["type"].rpartition(":")[2] for one in results[::2]]
    assert kinds == ["forbidden", "not-found"]
    shown = api.read(f"/v1/users/{ann.user_id}/ratings/{movie_id}")
    assert (shown["score"], shown["review"]) == (2, None)


def test_an_external_user_of_before_a_restart_is_known_as_one(system: System, api: Api) -> None:
    """Also while nothing personal of them is opened, and after their profile was changed."""
    row = rating(external_user(api), api.movie())
    other = system.start_command_api()
    with Api(other.url, other.url, "") as fresh:
        assert fresh.post("/v1/ratings", row, key(system, "ratings")).status_code == 201


def test_no_scope_reads_what_is_private(system: System, api: Api) -> None:
    ann, movie_id = api.sign_up(), api.movie()
    api.rate(ann, movie_id, 4, review="Mine alone.")
    private = {"visibility": "private"}
    api.note(api.command.patch("/v1/users/me", json=private, headers=ann.headers))
    user = f"/v1/users/{ann.user_id}"
    for scope in ("users", "ratings", "movies", "roles", "erasure"):
        body = {"api_key": system.service_key([scope])}
        token = api.expect(201, api.post("/v1/sessions", body))["access_token"]
        service = User("", "", token)
        for path in (user, f"{user}/ratings", f"{user}/ratings/{movie_id}"):
            assert api.get(path, service).status_code == 404, scope
        assert api.get("/v1/projections", service).status_code == 403, scope
        assert api.get("/v1/users/me", service).status_code == 403, scope


def test_a_key_that_rated_before_there_was_a_scope_for_it_still_may(system: System) -> None:
    """But for external users alone. Keys made since have what they were given."""
    older = UUID(system.service_key(["users", "movies"]).split("_")[1])
    with system.owner() as owner:
        owner.execute("DELETE FROM migrations WHERE name = '0011_ratings_scope.sql'")
        home = system.servers.home
        migrate(home.owner_dsn(), schema=system.schema, roles=home.secrets().role_passwords)
        newer = UUID(system.service_key(["users"]).split("_")[1])
        migrate(home.owner_dsn(), schema=system.schema, roles=home.secrets().role_passwords)
        query = "SELECT scopes FROM service_keys WHERE key_id = %s"
        assert owner.execute(query, [older]).fetchone() == (["users", "movies", "ratings"],)
        assert owner.execute(query, [newer]).fetchone() == (["users"],)
