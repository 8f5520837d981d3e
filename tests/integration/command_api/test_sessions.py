"""Sessions: log-in, refresh, log-out, and what ends them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import httpx
import jwt
import psycopg
import pytest

from command_api.deciding.principal import Member
from command_api.deciding.user import ChangePassword
from command_api.identity.accounts import Accounts
from command_api.identity.sessions import Sessions
from shared.errors import NotAuthenticated
from shared.ids import UserId
from shared.log.events import UserPasswordChanged
from shared.web.tokens import TokenIssuer
from tests.support.api import PASSWORD, Api, User
from tests.support.builders import NOON
from tests.support.commits import commit
from tests.support.log import read_log
from tests.support.processes import start_processes
from tests.support.system import System, eventually

NEW_PASSWORD = "another battery staple"


@pytest.fixture(scope="module")
def shared(module_system: System) -> System:
    return module_system


@pytest.fixture(scope="module")
def writer(shared: System) -> Iterator[Api]:
    command = shared.start_command_api()
    with Api(command.url, command.url, shared.service_key()) as client:
        yield client


def refresh(api: Api, token: str) -> httpx.Response:
    return api.command.post("/v1/sessions/refresh", json={"refresh_token": token})


def bearer(session: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {session['access_token']}"}


def rename(api: Api, session: Any) -> int:
    body = {"display_name": "Anna"}
    return api.command.patch("/v1/users/me", json=body, headers=bearer(session)).status_code


def test_each_refresh_gives_the_next_token(writer: Api) -> None:
    session = writer.log_in(writer.sign_up().email)
    for _ in range(3):
        answer = refresh(writer, session["refresh_token"])
        assert answer.status_code == 200
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.json()["refresh_token"] != session["refresh_token"]
        session = answer.json()
    assert rename(writer, session) == 204


def test_a_refresh_that_is_repeated_soon_gets_the_same_token(shared: System, writer: Api) -> None:
    """The answer may have been lost; to give it again the database keeps no token."""
    session = writer.log_in(writer.sign_up().email)
    answers = [refresh(writer, session["refresh_token"]) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    first, *repeats = (answer.json() for answer in answers)
    assert {one["refresh_token"] for one in repeats} == {first["refresh_token"]}
    for one in (first, *repeats):
        assert rename(writer, one) == 204
    with shared.owner() as owner:
        rows = owner.execute("SELECT sessions::text FROM sessions").fetchall()
    assert first["refresh_token"].rpartition("_")[2] not in repr(rows)
    assert refresh(writer, first["refresh_token"]).status_code == 200


def test_a_repeat_is_answered_for_ten_seconds_however_often(shared: System, writer: Api) -> None:
    session = writer.log_in(writer.sign_up().email)
    newest = refresh(writer, session["refresh_token"]).json()
    with shared.owner() as owner:
        _age(owner, session, "5 s")
        assert refresh(writer, session["refresh_token"]).status_code == 200
        _age(owner, session, "5 s")
    assert refresh(writer, session["refresh_token"]).status_code == 401
    assert refresh(writer, newest["refresh_token"]).status_code == 401
    assert rename(writer, newest) == 401


def test_a_token_older_than_the_last_ends_the_session_at_once(writer: Api) -> None:
    oldest = writer.log_in(writer.sign_up().email)
    newest = refresh(writer, refresh(writer, oldest["refresh_token"]).json()["refresh_token"])
    assert newest.status_code == 200
    assert refresh(writer, oldest["refresh_token"]).status_code == 401
    assert refresh(writer, newest.json()["refresh_token"]).status_code == 401


def test_a_reused_refresh_token_ends_the_session_for_everybody(shared: System, writer: Api) -> None:
    """Also where the thief was fast enough to be answered: then the next reuse shows it."""
    email = writer.sign_up().email
    stolen, other = writer.log_in(email), writer.log_in(email)
    thiefs = refresh(writer, stolen["refresh_token"]).json()
    both = refresh(writer, stolen["refresh_token"]).json()
    assert both["refresh_token"] == thiefs["refresh_token"]
    owners = refresh(writer, both["refresh_token"]).json()
    with shared.owner() as owner:
        _age(owner, stolen, "10 s")
    assert refresh(writer, thiefs["refresh_token"]).status_code == 401
    assert refresh(writer, stolen["refresh_token"]).status_code == 401
    assert refresh(writer, owners["refresh_token"]).status_code == 401
    assert rename(writer, owners) == 401
    assert refresh(writer, other["refresh_token"]).status_code == 200


def test_concurrent_refreshes_by_two_processes_get_one_token(shared: System, writer: Api) -> None:
    session = writer.log_in(writer.sign_up().email)
    urls = [process.url for process in start_processes(shared, 2)] * 4
    body = {"refresh_token": session["refresh_token"]}
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda url: httpx.post(f"{url}/v1/sessions/refresh", json=body), urls)
        )
    assert [answer.status_code for answer in answers] == [200] * 8
    (token,) = {answer.json()["refresh_token"] for answer in answers}
    assert refresh(writer, token).status_code == 200


@pytest.mark.parametrize("change", ["", "x", "{}0", "sfr_{}", "{}é", "rotation"])
def test_a_forged_refresh_token_is_a_401_and_ends_nothing(writer: Api, change: str) -> None:
    session = writer.log_in(writer.sign_up().email)
    good = session["refresh_token"]
    forged = good.replace("_1_", "_2_") if change == "rotation" else change.format(good)
    assert refresh(writer, forged).status_code == 401
    assert refresh(writer, good).status_code == 200


def test_logging_out_ends_the_session_at_once(writer: Api) -> None:
    email = writer.sign_up().email
    session, other = writer.log_in(email), writer.log_in(email)
    for _ in range(2):
        answer = writer.command.delete("/v1/sessions/current", headers=bearer(session))
        assert answer.status_code == 204
    assert refresh(writer, session["refresh_token"]).status_code == 401
    assert rename(writer, session) == 401
    assert rename(writer, other) == 204


def test_an_owner_sees_their_sessions_and_ends_one(writer: Api) -> None:
    ann, bob = writer.sign_up(), writer.sign_up()
    body = {"email": ann.email, "password": PASSWORD}
    phone = writer.expect(201, writer.post("/v1/sessions", body, {"User-Agent": "Phone" * 99}))
    mine = writer.log_in(ann.email)
    path = "/v1/users/me/sessions"
    seen = writer.command.get(path, headers=bearer(mine)).json()["sessions"]
    assert [one["is_current"] for one in seen] == [True, False, False]
    assert UUID(seen[0]["session_id"]) == UUID(claims(mine)["sid"])
    (named,) = (one for one in seen if UUID(one["session_id"]) == UUID(claims(phone)["sid"]))
    assert named["user_agent"] == ("Phone" * 99)[:120]
    assert named["created_at"] <= named["last_used_at"] < named["expires_at"]
    refresh(writer, phone["refresh_token"])
    again = writer.command.get(path, headers=bearer(mine)).json()["sessions"]
    assert again[0]["session_id"] == named["session_id"], "last used first"
    its_path = f"{path}/{named['session_id']}"
    assert writer.command.delete(its_path, headers=bob.headers).status_code == 404
    assert rename(writer, phone) == 204
    assert writer.command.delete(its_path, headers=bearer(mine)).status_code == 204
    assert writer.command.delete(its_path, headers=bearer(mine)).status_code == 404
    assert rename(writer, phone) == 401
    assert len(writer.command.get(path, headers=bearer(mine)).json()["sessions"]) == 2


def test_a_session_ends_when_it_is_not_refreshed_for_long(shared: System, writer: Api) -> None:
    session = writer.log_in(writer.sign_up().email)
    with shared.owner() as owner:
        _expire(owner, session)
        assert refresh(writer, session["refresh_token"]).status_code == 401
        shared.start_command_api()
        count = "SELECT count(*) FROM sessions WHERE expires_at < now()"
        eventually(lambda: owner.execute(count).fetchone() == (0,))


def test_a_new_password_ends_the_other_sessions(writer: Api) -> None:
    ann = writer.sign_up()
    mine, other = writer.log_in(ann.email), writer.log_in(ann.email)
    body = {"old": PASSWORD, "new": NEW_PASSWORD}
    changed = writer.command.put("/v1/users/me/password", json=body, headers=bearer(mine))
    assert changed.status_code == 204
    assert refresh(writer, other["refresh_token"]).status_code == 401
    assert rename(writer, other) == 401
    assert rename(writer, mine) == 204
    assert refresh(writer, mine["refresh_token"]).status_code == 200
    old = writer.post("/v1/sessions", {"email": ann.email, "password": PASSWORD})
    assert old.status_code == 401
    writer.log_in(ann.email, NEW_PASSWORD)


def test_a_log_in_with_a_password_that_changed_meanwhile_opens_nothing(
    shared: System, writer: Api
) -> None:
    """Else a session that the change should have ended would begin right after it."""
    ann = UserId(UUID(writer.sign_up().user_id))
    store, codec, key_wrap = shared.command_store(), shared.codec(), shared.key_wrap()
    accounts = Accounts(store, codec, key_wrap, b"")
    account = asyncio.run(accounts.by_id(ann))
    assert account is not None
    assert account.user.password_hash is not None
    change = ChangePassword(
        user_id=ann, password_hash="new", replaces=account.user.password_hash, now=NOON
    )
    commit(shared.committer(), change, principal=Member(ann))
    with pytest.raises(NotAuthenticated):
        asyncio.run(Sessions(store, accounts, b"", idle_days_max=1).open_for_user(account))


def test_a_token_is_no_newer_than_what_ended_its_session(shared: System, writer: Api) -> None:
    """A refresh that overlaps a change of password gives nothing, or what the change has ended."""
    email = writer.sign_up().email
    mine, other = writer.log_in(email), writer.log_in(email)
    refreshed = refresh(writer, other["refresh_token"]).json()
    body = {"old": PASSWORD, "new": NEW_PASSWORD}
    writer.command.put("/v1/users/me/password", json=body, headers=bearer(mine))
    (changed,) = (
        entry
        for entry in read_log(shared.event_store(), shared.key_wrap())
        if isinstance(entry.event, UserPasswordChanged)
        and entry.event.kept_session == UUID(claims(mine)["sid"])
    )
    assert claims(refreshed)["ver"] < changed.version
    assert claims(writer.log_in(email, NEW_PASSWORD))["ver"] >= changed.version
    assert claims(refresh(writer, mine["refresh_token"]).json())["ver"] >= changed.version


def test_an_export_has_the_sessions_that_ended(writer: Api) -> None:
    ann = writer.sign_up()
    kept, ended = writer.log_in(ann.email), writer.log_in(ann.email)
    writer.command.delete("/v1/sessions/current", headers=bearer(ended))
    export = writer.command.get("/v1/users/me/export", headers=bearer(kept)).json()
    assert len(export["sessions"]) == 2
    (entry,) = export["ended_sessions"]
    assert entry["event"] == "SessionEnded"
    assert UUID(entry["session_id"]) == UUID(claims(ended)["sid"])


def claims(session: Any) -> Any:
    return jwt.decode(session["access_token"], options={"verify_signature": False})


def test_a_log_in_hashes_anew_with_the_settings_of_today(shared: System, writer: Api) -> None:
    """Its sessions stay, and the next log-in finds nothing to do."""
    ann = writer.sign_up()
    before = writer.log_in(ann.email)
    stronger = shared.start_command_api(argon2_iterations=2)
    with Api(stronger.url, stronger.url, "") as api:
        head = writer.command.get("/ready").json()["position"]
        api.log_in(ann.email)
        assert writer.command.get("/ready").json()["position"] == head + 1
        api.log_in(ann.email)
        assert writer.command.get("/ready").json()["position"] == head + 1
    assert refresh(writer, before["refresh_token"]).status_code == 200


class TestServices:
    def test_an_api_key_logs_in_for_what_takes_access_tokens_only(
        self, shared: System, writer: Api
    ) -> None:
        key = shared.service_key(["users", "movies"])
        session = writer.expect(201, writer.post("/v1/sessions", {"api_key": key}))
        claims = jwt.decode(session["access_token"], options={"verify_signature": False})
        assert (claims["kind"], claims["role"]) == ("service", "member")
        movie = {"title": "Mirror", "year": 1975}
        assert writer.post("/v1/movies", movie, bearer(session)).status_code == 201
        assert rename(writer, session) == 403, "a service is no user"
        again = refresh(writer, session["refresh_token"])
        assert again.status_code == 200
        role = f"/v1/users/{writer.sign_up().user_id}/role"
        answer = writer.command.put(role, json={"role": "curator"}, headers=bearer(again.json()))
        assert answer.status_code == 403, "the key has no such scope"

    def test_a_revoked_key_ends_its_sessions(self, shared: System, writer: Api) -> None:
        key = shared.service_key()
        session = writer.expect(201, writer.post("/v1/sessions", {"api_key": key}))
        with shared.owner() as owner:
            revoke = "UPDATE service_keys SET revoked_at = now() WHERE key_id = %s"
            owner.execute(revoke, [UUID(key.split("_")[1])])
        # Another process has not heard of the key yet; this one believes it for seconds more.
        other = shared.start_command_api()
        with Api(other.url, other.url, key) as api:
            assert refresh(api, session["refresh_token"]).status_code == 401
            assert api.post("/v1/sessions", {"api_key": key}).status_code == 401

    def test_the_last_use_is_noted(self, shared: System, writer: Api) -> None:
        key = shared.service_key()
        used = "SELECT last_used_at IS NOT NULL FROM service_keys WHERE key_id = %s"
        wrong = key[:-1] + ("a" if key[-1] != "a" else "b")
        with shared.owner() as owner:
            for credential, status, noted in ((wrong, 401, False), (key, 201, True)):
                other = shared.start_command_api()
                movie = {"title": "Mirror", "year": 1975}
                answer = httpx.post(
                    f"{other.url}/v1/movies",
                    json=movie,
                    headers={"Authorization": f"Bearer {credential}"},
                )
                assert answer.status_code == status
                row = owner.execute(used, [UUID(key.split("_")[1])]).fetchone()
                assert row == (noted,)

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"email": "a@x.org"},
            {"api_key": "sfk_x", "email": "a@x.org"},
            {"api_key": "sfk_x", "email": "a@x.org", "password": "x"},
            {"api_key": "x" * 300},
        ],
    )
    def test_half_a_log_in_is_refused(self, writer: Api, body: dict[str, str]) -> None:
        assert writer.post("/v1/sessions", body).status_code == 422

    def test_what_is_no_api_key_is_a_401(self, writer: Api) -> None:
        assert writer.post("/v1/sessions", {"api_key": "sfk_zz"}).status_code == 401


def test_others_may_verify_tokens_by_the_published_key(writer: Api) -> None:
    session = writer.log_in(writer.sign_up().email)
    published = jwt.PyJWKSet.from_dict(writer.command.get("/.well-known/jwks.json").json())
    kid = jwt.get_unverified_header(session["access_token"])["kid"]
    claims = jwt.decode(
        session["access_token"],
        published[kid],
        algorithms=["EdDSA"],
        issuer="starfold",
        audience="starfold",
    )
    assert claims["role"] == "member"


def _expire(owner: psycopg.Connection[Any], session: Any) -> None:
    owner.execute(
        "UPDATE sessions SET expires_at = now() - interval '1 s' WHERE session_id = %s",
        [UUID(claims(session)["sid"])],
    )


def _age(owner: psycopg.Connection[Any], session: Any, by: str) -> None:
    """Move the session's last refresh back by this interval."""
    owner.execute(
        "UPDATE sessions SET refreshed_at = refreshed_at - %s::interval WHERE session_id = %s",
        [by, UUID(claims(session)["sid"])],
    )


def test_a_token_of_no_session_goes_on_working(shared: System, writer: Api) -> None:
    """Earlier releases issued such tokens; they work until they expire, but cannot log out."""
    ann = writer.sign_up()
    token = _sessionless(shared, ann)
    headers = {"Authorization": f"Bearer {token}"}
    body = {"display_name": "Anna"}
    assert writer.command.patch("/v1/users/me", json=body, headers=headers).status_code == 204
    assert writer.command.delete("/v1/sessions/current", headers=headers).status_code == 401


def _sessionless(shared: System, user: User) -> str:
    settings = shared.command_settings()
    issuer = TokenIssuer(
        settings.token_private_key.get_secret_value(), issuer="starfold", audience="starfold"
    )
    return issuer.issue(UserId(UUID(user.user_id)), "member", now_s=time.time())
