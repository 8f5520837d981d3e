"""A caller who was shut out stops reading as soon as the read model has applied it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from uuid import UUID

import httpx
import pytest
from typer.testing import CliRunner

from ops.cli import app
from projector.audit.auditor import Audit
from projector.building.builder import Builder
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.log.events import ServiceKeyRevoked, SessionEnded
from shared.log.schema import COMMAND_ROLE
from shared.read_model.keys import partition_of
from shared.read_model.kinds import ACCESS
from tests.support.api import AT_LEAST, PASSWORD, POSITION, Api, User
from tests.support.log import read_log
from tests.support.read_models import active, read_model, wait_until_applied
from tests.support.system import System, eventually

NEW_PASSWORD = "another battery staple"
Headers = dict[str, str]


@pytest.fixture(scope="module")
def system(module_system: System) -> System:
    """The one that `api` calls."""
    return module_system


@pytest.fixture
def starfold(system: System, api: Api, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs an operator's command."""
    home = system.servers.home
    settings = home.environment(COMMAND_ROLE) | {
        "STARFOLD_DATABASE_SCHEMA": system.schema,
        "STARFOLD_OWNER_DATABASE_URL": home.owner_dsn(),
        "STARFOLD_COMMAND_URL": str(api.command.base_url),
        "STARFOLD_QUERY_URL": str(api.query.base_url),
        "STARFOLD_API_KEY": api.service["Authorization"].removeprefix("Bearer "),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> None:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output

    return run


class Readers:
    """Someone with a token of every kind of session, and somebody else who keeps reading."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.ann, self.ben = api.sign_up(role="operator"), api.sign_up()
        self.other = self.log_in()
        self.movie_id = api.movie()
        api.rate(self.ben, self.movie_id, 4)
        movie, user = f"/v1/movies/{self.movie_id}", f"/v1/users/{self.ben.user_id}"
        self.open_to_all = [
            "/v1/movies",
            movie,
            f"{movie}/stats",
            f"{movie}/history",
            f"{movie}/ratings",
            user,
            f"{user}/ratings",
            f"{user}/ratings/{self.movie_id}",
        ]
        self.paths = [*self.open_to_all, "/v1/users/me", "/v1/projections"]
        assert self.statuses(self.ann.headers) == {200}

    def log_in(self, password: str = PASSWORD) -> Headers:
        body = {"email": self.ann.email, "password": password}
        session = self.api.expect(201, self.api.post("/v1/sessions", body))
        self.refresh_token = session["refresh_token"]
        return {"Authorization": f"Bearer {session['access_token']}"}

    def statuses(self, headers: Headers, position: int | None = None) -> set[int]:
        """Return the statuses of all reads, at the position of the last event."""
        at_least = {AT_LEAST: str(self.api.position if position is None else position)}
        found = {
            self.api.query.get(path, headers=headers | at_least).status_code for path in self.paths
        }
        return found | {self.stream(headers)}

    def stream(self, headers: Headers) -> int:
        with self.api.query.stream("GET", "/v1/stream", headers=headers) as answer:
            return answer.status_code

    def are_shut_out(self, headers: Headers) -> None:
        """On every read, with a problem that says so; others read on, and so does anybody."""
        assert self.statuses(headers) == {401}
        answer = self.api.query.get("/v1/users/me", headers=headers)
        assert answer.json()["type"].endswith("not-authenticated")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert "Set-Cookie" not in answer.headers
        assert self.api.read("/v1/users/me", self.ben)["email"] == self.ben.email
        for path in self.open_to_all:
            self.api.read(path)


@pytest.fixture
def readers(api: Api) -> Readers:
    return Readers(api)


def me(api: Api, headers: Headers, position: int = 0) -> int:
    at_least = {AT_LEAST: str(position)}
    return api.query.get("/v1/users/me", headers=headers | at_least).status_code


def test_logging_out_ends_that_session_and_no_other(api: Api, readers: Readers) -> None:
    answer = api.command.delete("/v1/sessions/current", headers=readers.ann.headers)
    api.expect(204, answer)
    readers.are_shut_out(readers.ann.headers)
    assert readers.statuses(readers.other) == {200}


def test_logging_out_twice_is_one_event(system: System, api: Api) -> None:
    """Also at the same time, by two processes."""
    ann, other = api.sign_up(), system.start_command_api()

    def log_out(url: httpx.URL | str) -> str:
        answer = httpx.delete(f"{url}/v1/sessions/current", headers=ann.headers)
        assert answer.status_code == 204
        return answer.headers[POSITION]

    with ThreadPoolExecutor(8) as pool:
        positions = set(pool.map(log_out, [api.command.base_url, other.url] * 4))
    events = [one.event for one in read_log(system.event_store(), system.key_wrap())]
    ended = [one for one in events if isinstance(one, SessionEnded)]
    assert [str(one.subject_id) for one in ended].count(ann.user_id) == 1
    assert len(positions) == 1


def test_an_older_refresh_token_that_comes_again_ends_its_session(
    api: Api, readers: Readers
) -> None:
    stolen = readers.refresh_token
    body = {"refresh_token": stolen}
    second = api.expect(200, api.post("/v1/sessions/refresh", body))["refresh_token"]
    api.expect(200, api.post("/v1/sessions/refresh", {"refresh_token": second}))
    assert me(api, readers.other, api.position) == 200
    api.expect(401, api.post("/v1/sessions/refresh", body))
    eventually(lambda: me(api, readers.other) == 401, within_s=1)
    readers.are_shut_out(readers.other)
    assert readers.statuses(readers.ann.headers) == {200}


def test_a_new_password_ends_all_sessions_but_its_own(api: Api, readers: Readers) -> None:
    third = readers.log_in()
    body = {"old": PASSWORD, "new": NEW_PASSWORD}
    answer = api.command.put("/v1/users/me/password", json=body, headers=readers.other)
    api.expect(204, answer)
    readers.are_shut_out(readers.ann.headers)
    readers.are_shut_out(third)
    assert readers.statuses(readers.other) == {200}
    assert readers.statuses(readers.log_in(NEW_PASSWORD)) == {200}
    refreshed = api.post("/v1/sessions/refresh", {"refresh_token": readers.refresh_token})
    token = api.expect(200, refreshed)["access_token"]
    assert readers.statuses({"Authorization": f"Bearer {token}"}) == {200}


@pytest.mark.parametrize("by", ["the API", "the command"])
def test_a_demoted_operator_is_one_no_more(
    by: str, api: Api, readers: Readers, starfold: Callable[..., None]
) -> None:
    for role, status in (("member", 403), ("operator", 200), ("curator", 403)):
        if by == "the API":
            path = f"/v1/users/{readers.ann.user_id}/role"
            answer = api.command.put(path, json={"role": role}, headers=api.service)
            api.expect(204, answer)
            at_least = {AT_LEAST: str(api.position)}
            shown = api.query.get("/v1/projections", headers=readers.ann.headers | at_least)
            assert shown.status_code == status, role
        else:
            starfold("users", "role", readers.ann.email, role)
            eventually(partial(has_status, readers, status), within_s=1)
        assert me(api, readers.ann.headers, api.position) == 200


def has_status(readers: Readers, status: int) -> bool:
    answer = readers.api.query.get("/v1/projections", headers=readers.ann.headers)
    return answer.status_code == status


def test_a_token_issued_after_a_new_role_has_it(api: Api) -> None:
    ann = api.sign_up()
    path = f"/v1/users/{ann.user_id}/role"
    api.expect(204, api.command.put(path, json={"role": "operator"}, headers=api.service))
    body = {"email": ann.email, "password": PASSWORD}
    token = api.expect(201, api.post("/v1/sessions", body))["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert api.query.get("/v1/projections", headers=headers).status_code == 200


def test_who_is_erased_reads_no_more(
    system: System, api: Api, starfold: Callable[..., None]
) -> None:
    def by_oneself(user: User) -> None:
        api.expect(204, api.command.delete("/v1/users/me", headers=user.headers))

    def by_an_operator(user: User) -> None:
        operator = api.sign_up(role="operator").headers
        api.expect(204, api.command.delete(f"/v1/users/{user.user_id}", headers=operator))

    def by_a_service(user: User) -> None:
        api.expect(204, api.command.delete(f"/v1/users/{user.user_id}", headers=api.service))

    def by_the_command(user: User) -> None:
        starfold("users", "erase", user.email)
        api.position = system.event_store().head()

    for erase in (by_oneself, by_an_operator, by_a_service, by_the_command):
        readers = Readers(api)
        erase(readers.ann)
        readers.are_shut_out(readers.ann.headers)
        readers.are_shut_out(readers.other)


def test_a_revoked_key_has_no_tokens(
    system: System, api: Api, starfold: Callable[..., None]
) -> None:
    """Neither has the key itself: it works for a second more at most."""
    readers = Readers(api)
    key, kept = system.service_key(), system.service_key()
    tokens = []
    for one in (key, kept):
        session = api.expect(201, api.post("/v1/sessions", {"api_key": one}))
        tokens.append({"Authorization": f"Bearer {session['access_token']}"})
    revoked, other = tokens
    starfold("keys", "revoke", key)
    starfold("keys", "revoke", key)
    api.position = system.event_store().head()
    readers.are_shut_out(revoked)
    read = api.query.get("/v1/movies", headers=other | {AT_LEAST: str(api.position)})
    assert read.status_code == 200
    movie = {"title": "Mirror", "year": 1975}
    headers = {"Authorization": f"Bearer {key}"}
    eventually(lambda: api.post("/v1/movies", movie, headers).status_code == 401, within_s=2)
    events = [one.event for one in read_log(system.event_store(), system.key_wrap())]
    key_id = UUID(key.split("_")[1])
    assert sum(one == key_id for one in map(_revoked_key, events)) == 1


def _revoked_key(event: object) -> UUID | None:
    return event.key_id if isinstance(event, ServiceKeyRevoked) else None


def test_a_service_that_logs_out_reads_no_more(api: Api) -> None:
    key = api.service["Authorization"].removeprefix("Bearer ")
    session = api.expect(201, api.post("/v1/sessions", {"api_key": key}))
    headers = {"Authorization": f"Bearer {session['access_token']}"}
    api.expect(204, api.command.delete("/v1/sessions/current", headers=headers))
    at_least = {AT_LEAST: str(api.position)}
    assert api.query.get("/v1/movies", headers=headers | at_least).status_code == 401


def test_who_has_just_signed_up_reads_before_the_projector_has_heard_of_them(
    system: System, api: Api
) -> None:
    """Nothing is known against them, also where the projector is behind."""
    ann = api.sign_up()
    assert api.query.get("/v1/movies", headers=ann.headers).status_code == 200


def test_what_is_known_of_a_caller_and_damaged_lets_nobody_in(
    system: System, api: Api, readers: Readers
) -> None:
    """503 for that caller alone: it is never taken for nothing."""
    api.expect(204, api.command.delete("/v1/sessions/current", headers=readers.ann.headers))
    readers.are_shut_out(readers.ann.headers)
    wiring = system.projector_wiring()
    user_id = UUID(readers.ann.user_id)
    keys = active(wiring, "profiles").keys(partition_of(user_id))
    key = keys.document(ACCESS.name, user_id.hex)
    stored = system.redis.get(key)
    assert isinstance(stored, bytes)
    try:
        for damaged in (b"", b"{}", b"nonsense", stored[:-1], bytes([stored[0] ^ 1]) + stored[1:]):
            system.redis.set(key, damaged)
            seen = {
                api.query.get(path, headers=headers).status_code
                for path in readers.paths
                for headers in (readers.ann.headers, readers.other)
            }
            # The projector may have mended it by now.
            assert seen <= {503, 401, 200}
            assert me(api, readers.ann.headers) in (503, 401)
        assert me(api, readers.ben.headers) == 200
    finally:
        system.redis.set(key, stored)


def test_a_replay_knows_the_same_of_everybody(system: System, api: Api, readers: Readers) -> None:
    """And an audit finds nothing else."""
    for session in (readers.ann.headers, readers.other):
        api.expect(204, api.command.delete("/v1/sessions/current", headers=session))
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    live = active(wiring, "profiles")
    assert Audit(wiring.reader, wiring.store).verify(live).differences == []
    before = _access(system, wiring)
    assert before
    rebuilt = wiring.generations.create(
        DEFINITIONS["profiles"], "replay", shares=1, switch_when_ready=False
    )
    assert Builder(wiring.reader, wiring.store, wiring.generations).build(
        "profiles", rebuilt.number, 0
    )
    found = read_model(system, rebuilt)
    assert {name: found[name] for name in found if name.startswith(f"{ACCESS.name}:")} == before


def _access(system: System, wiring: Wiring) -> dict[str, object]:
    found = read_model(system, active(wiring, "profiles"))
    return {name: found[name] for name in found if name.startswith(f"{ACCESS.name}:")}


def test_a_private_user_is_private_to_operators_too(api: Api, readers: Readers) -> None:
    """Reviews and all: what operators need of a user is in no read."""
    body = {"visibility": "private"}
    answer = api.command.patch("/v1/users/me", json=body, headers=readers.ben.headers)
    api.expect(204, answer)
    user = f"/v1/users/{readers.ben.user_id}"
    for path in (user, f"{user}/ratings", f"{user}/ratings/{readers.movie_id}"):
        assert api.get(path, readers.ann).status_code == 404
        assert api.get(path, readers.ben).status_code == 200


def test_nobody_reads_without_redis_by_a_token(api: Api, system: System) -> None:
    """What is known of the caller cannot be read, so nothing says that they may."""
    ann = api.sign_up()
    api.read("/v1/movies", ann)
    system.redis.client_pause(1_500)
    assert api.query.get("/v1/movies", headers=ann.headers).status_code == 503
    assert api.query.get("/v1/movies").status_code == 200
    eventually(lambda: api.query.get("/v1/movies", headers=ann.headers).status_code == 200)
