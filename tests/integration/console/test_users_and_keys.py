"""Service keys and users over the operators' API: what it shows, does, and keeps secret."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import httpx
import pytest

from tests.support.api import Api, User
from tests.support.operated import Operated
from tests.support.system import ALL_SCOPES, System, eventually

NOBODY = str(UUID(int=1))


@pytest.fixture(scope="module")
def operated(module_system: System, api: Api) -> Iterator[Operated]:
    command_url = str(api.command.base_url).rstrip("/")
    one = Operated(module_system, ALL_SCOPES, command_url=command_url, access_log=True)
    yield one
    one.close()


def keys_of(operated: Operated) -> dict[str, dict[str, object]]:
    return {one["key_id"]: one for one in operated.get("/keys")["items"]}


def headers_of(api_key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"}


def movie_status(api: Api, api_key: str) -> int:
    return api.post(
        "/v1/movies", {"title": "Mirror", "year": 1975}, headers_of(api_key)
    ).status_code


def is_logged_in(api: Api, user: User) -> bool:
    return api.command.get("/v1/users/me/sessions", headers=user.headers).status_code == 200


def test_a_key_is_shown_once_and_kept_nowhere(
    operated: Operated, module_system: System, api: Api, capfd: pytest.CaptureFixture[str]
) -> None:
    capfd.readouterr()
    body = {"name": "Importer", "scopes": ["movies", "movies", "ratings"]}
    made = operated.act("POST", "/keys", body, status=201, key="one-key")
    api_key, key_id = made["api_key"], made["key_id"]
    assert made["note"] is None
    assert movie_status(api, api_key) == 201
    shown = keys_of(operated)[key_id]
    assert (shown["name"], shown["scopes"]) == ("Importer", ["movies", "ratings"])
    assert shown["last_used_at"] is not None
    again = operated.act("POST", "/keys", body, status=200, key="one-key")
    assert (again["key_id"], again["act_id"], again["api_key"]) == (key_id, made["act_id"], None)
    assert "revoke it and create another one" in again["note"]
    other = operated.act("POST", "/keys", {**body, "name": "x"}, status=422, key="one-key")
    assert other["type"].endswith(":idempotency-key-reused")
    act = operated.recorded("key create")[0]
    assert act.parameters == {"name": "Importer", "scopes": ["movies", "ratings"]}
    assert act.result == {"key_id": key_id}
    secret = api_key.split("_", 2)[2]
    owner = module_system.owner()
    for table in ("operator_acts", "idempotency_keys", "service_keys", "sessions", "events"):
        rows = owner.execute(f"SELECT t::text FROM {table} AS t").fetchall()  # A table of ours.
        assert not any(secret in row or secret.encode().hex() in row for (row,) in rows), table
    logged = "".join(capfd.readouterr())
    assert "/v1/operator/keys" in logged
    assert secret not in logged


def test_a_key_is_revoked_once_its_page_is_current(operated: Operated, api: Api) -> None:
    made = operated.act("POST", "/keys", {"name": "x", "scopes": ["movies"]}, status=201)
    path, seen = f"/keys/{made['key_id']}", str(keys_of(operated)[made["key_id"]]["version"])
    assert movie_status(api, made["api_key"]) == 201
    revoked = operated.act("DELETE", path, version=seen, key="one-revocation")
    assert operated.act("DELETE", path, version=seen, key="one-revocation") == revoked
    operated.act("DELETE", path, status=412, version=seen)
    assert keys_of(operated)[made["key_id"]]["revoked_at"] is not None
    eventually(lambda: movie_status(api, made["api_key"]) == 401, within_s=3)
    operated.act("DELETE", f"/keys/{NOBODY}", status=404)
    assert [one.state for one in operated.recorded("key revoke")] == ["failed", "failed", "done"]


def test_a_key_gives_no_right_that_it_lacks(
    operated: Operated, module_system: System, api: Api
) -> None:
    ann = api.sign_up()
    lesser = httpx.Client(
        base_url=operated.http.base_url,
        headers=headers_of(module_system.service_key(["operate"])),
    )
    with lesser:
        refused = lesser.post("/keys", json={"name": "x", "scopes": ["operate", "erasure"]})
        assert (refused.status_code, "gives only scopes" in refused.text) == (403, True)
        assert lesser.post("/keys", json={"name": "x", "scopes": ["operate"]}).status_code == 201
        role = lesser.put(f"/users/{ann.user_id}/role", json={"role": "operator"})
        assert (role.status_code, "'roles'" in role.text) == (403, True)
        erased = lesser.delete(f"/users/{ann.user_id}")
        assert (erased.status_code, "'erasure'" in erased.text) == (403, True)
    assert operated.get(f"/users/{ann.user_id}")["role"] == "member"
    assert operated.recorded("erase")[0].state == "failed"
    for wrong in ({"name": "x", "scopes": []}, {"name": "", "scopes": ["users"]}, {"name": "x"}):
        operated.act("POST", "/keys", wrong, status=422)


def test_a_user_is_found_without_what_is_personal(operated: Operated, api: Api) -> None:
    ann = api.sign_up("Ann.Found@example.org", "Ann the Found")
    found = operated.http.get("/users", params={"email": " ann.found@Example.ORG"})
    assert found.json() == operated.get(f"/users/{ann.user_id}")
    assert found.headers["etag"] == f'"{found.json()["version"]}"'
    assert found.json().keys() == {
        "user_id",
        "role",
        "erased",
        "created_at",
        "erased_at",
        "version",
    }
    for path in (
        "/users?email=nobody@example.org",
        f"/users/{NOBODY}",
        f"/users/{NOBODY}/sessions",
    ):
        operated.get(path, 404)
    operated.get("/users?email=x", 422)


def test_a_role_changes_once_its_page_is_current(operated: Operated, api: Api) -> None:
    ann = api.sign_up()
    path = f"/users/{ann.user_id}"
    seen, curator = operated.get(path)["version"], {"role": "curator"}
    done = operated.act("PUT", f"{path}/role", curator, version=seen, key="one-role")
    assert operated.act("PUT", f"{path}/role", curator, version=seen, key="one-role") == done
    operated.act("PUT", f"{path}/role", {"role": "operator"}, status=412, version=seen)
    assert operated.get(path)["role"] == "curator"
    operated.act("PUT", f"{path}/role", {"role": "king"}, status=422)
    operated.act("PUT", f"/users/{NOBODY}/role", curator, status=404)
    absent, stale, first = operated.recorded("role")[:3]
    assert (first.state, first.parameters) == ("done", {"user_id": ann.user_id, **curator})
    assert (absent.state, stale.state) == ("failed", "failed")


def test_sessions_are_listed_and_end_together(operated: Operated, api: Api) -> None:
    ann = api.sign_up()
    other = User(ann.user_id, ann.email, api.log_in(ann.email)["access_token"])
    path = f"/users/{ann.user_id}/sessions"
    seen = operated.get(path)
    assert len(seen["items"]) == 2
    assert seen["items"][0].keys() == {"session_id", "created_at", "last_used_at", "expires_at"}
    api.log_in(ann.email)
    operated.act("DELETE", path, status=412, version=seen["version"])
    assert is_logged_in(api, ann)
    operated.act("DELETE", path, version=operated.get(path)["version"])
    assert not is_logged_in(api, ann)
    assert not is_logged_in(api, other)
    assert operated.get(path)["items"] == []
    operated.act("DELETE", path)
    operated.act("DELETE", f"/users/{NOBODY}/sessions", status=404)
    assert operated.recorded("end sessions")[-2].parameters == {"user_id": ann.user_id}


def test_an_operator_ends_their_own_sessions_and_erases_others(
    operated: Operated, api: Api
) -> None:
    boss, ann = api.sign_up(role="operator"), api.sign_up()
    url = operated.http.base_url
    with httpx.Client(base_url=url, headers=boss.headers, timeout=30) as client:
        seen = client.get(f"/users/{ann.user_id}").headers["etag"]
        assert client.delete(f"/users/{boss.user_id}").status_code == 409
        erased = client.delete(f"/users/{ann.user_id}", headers={"If-Match": seen})
        assert erased.status_code == 200, erased.text
        shown = client.get(f"/users/{ann.user_id}").json()
        assert (shown["role"], shown["erased"]) == (None, True)
        assert client.get("/users", params={"email": ann.email}).status_code == 404
        stale = client.delete(f"/users/{ann.user_id}", headers={"If-Match": seen})
        assert stale.status_code == 412
        assert client.delete(f"/users/{ann.user_id}").status_code == 404
        assert client.delete(f"/users/{boss.user_id}/sessions").status_code == 200
        assert client.get("/keys").status_code == 401
    act = operated.recorded("end sessions")[0]
    assert (act.actor, act.via, act.state) == (boss.user_id, "web", "done")


def test_without_the_command_api_an_act_is_refused(module_system: System, api: Api) -> None:
    cut_off = Operated(module_system, command_url="http://127.0.0.1:9")
    made = cut_off.act("POST", "/keys", {"name": "x", "scopes": ["operate"]}, status=503)
    assert made["type"].endswith(":unavailable")
    assert cut_off.recorded("key create")[0].state == "failed"
    cut_off.close()
