"""`starfold keys`, `users` and `erase`, on a log that is reached by settings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
from typer.testing import CliRunner, Result

from command_api.privacy.erasure_ledger import read_ledger
from ops.cli import app
from ops.errors import OperatorError
from shared.log.schema import COMMAND_ROLE
from starfold_client import ClientError
from tests.support.api import PASSWORD, Api
from tests.support.system import System

Starfold = Callable[..., Result]


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "erasures.jsonl"


@pytest.fixture
def writer(system: System, ledger: Path) -> Iterator[Api]:
    command = system.start_command_api(erasure_ledger=ledger)
    with Api(command.url, command.url, system.service_key()) as client:
        yield client


@pytest.fixture
def starfold(
    system: System, writer: Api, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> Starfold:
    home = system.servers.home
    settings = home.environment(COMMAND_ROLE) | {
        "STARFOLD_DATABASE_SCHEMA": system.schema,
        "STARFOLD_OWNER_DATABASE_URL": home.owner_dsn(),
        "STARFOLD_COMMAND_URL": str(writer.command.base_url),
        "STARFOLD_QUERY_URL": str(writer.command.base_url),
        "STARFOLD_API_KEY": writer.service["Authorization"].removeprefix("Bearer "),
        "STARFOLD_ERASURE_LEDGER": str(ledger),
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, arguments)

    return run


def rows(result: Result) -> list[list[str]]:
    assert result.exit_code == 0, result.output
    return [line.split("\t") for line in result.output.splitlines()]


def refusal(result: Result) -> str:
    assert isinstance(result.exception, OperatorError | ClientError), result.output
    return str(result.exception)


def test_a_key_is_made_listed_used_and_revoked(starfold: Starfold, writer: Api) -> None:
    ((api_key,),) = rows(starfold("keys", "create", "Importer", "--scope", "movies"))
    headers = {"Authorization": f"Bearer {api_key}"}
    assert writer.post("/v1/movies", {"title": "Mirror", "year": 1975}, headers).status_code == 201
    body = {"external_id": "x", "display_name": "Ann"}
    assert writer.post("/v1/users", body, headers).status_code == 403
    session = writer.post("/v1/sessions", {"api_key": api_key}).json()

    listed = starfold("keys", "list")
    assert api_key.split("_", 2)[2] not in listed.output
    heading, _, own = rows(listed)
    assert heading == ["key", "name", "scopes", "created", "last used", "revoked"]
    assert own[:3] == [str(UUID(api_key.split("_")[1])), "Importer", "movies"]
    assert own[4]
    assert own[5] == ""

    assert starfold("keys", "revoke", api_key).exit_code == 0
    assert rows(starfold("keys", "list"))[2][5]
    body = {"refresh_token": session["refresh_token"]}
    assert writer.post("/v1/sessions/refresh", body).status_code == 401


def test_a_key_takes_known_scopes_and_a_name(starfold: Starfold) -> None:
    assert "no scope 'all'" in refusal(starfold("keys", "create", "x", "--scope", "all"))
    assert "1 to 100" in refusal(starfold("keys", "create", "", "--scope", "users"))
    assert starfold("keys", "create", "x").exit_code == 2
    assert "no key" in refusal(starfold("keys", "revoke", str(UUID(int=1))))
    assert "not the id" in refusal(starfold("keys", "revoke", "x"))


def test_the_command_line_makes_keys_as_the_owner_only(
    starfold: Starfold, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARFOLD_OWNER_DATABASE_URL", system.dsn(COMMAND_ROLE))
    assert "owner" in refusal(starfold("keys", "create", "x", "--scope", "users"))
    monkeypatch.delenv("STARFOLD_OWNER_DATABASE_URL")
    assert "STARFOLD_OWNER_DATABASE_URL" in refusal(starfold("keys", "list"))
    monkeypatch.setenv("STARFOLD_OWNER_DATABASE_URL", "host=/nonexistent")
    assert "does not answer" in refusal(starfold("keys", "list"))


def test_users_are_listed_in_the_order_in_which_they_came(starfold: Starfold, writer: Api) -> None:
    ann, ben = writer.sign_up("ann@list.org", "Ann"), writer.sign_up("ben@list.org", "Ben")
    gone = writer.sign_up()
    writer.command.delete("/v1/users/me", headers=gone.headers)
    body = {"external_id": "ml:1", "display_name": "Cleo"}
    cleo = writer.expect(201, writer.post("/v1/users", body, writer.service))["user_id"]
    assert rows(starfold("users", "list"))[1:] == [
        [ann.user_id, "member", "Ann", "ann@list.org", ""],
        [ben.user_id, "member", "Ben", "ben@list.org", ""],
        [cleo, "member", "Cleo", "", "ml:1"],
    ]
    assert starfold("users", "role", "Ben@list.org", "curator").exit_code == 0
    assert starfold("users", "role", ann.user_id, "operator").exit_code == 0
    assert [row[0] for row in rows(starfold("users", "list", "--role", "curator"))[1:]] == [
        ben.user_id
    ]
    assert len(rows(starfold("users", "list", "--limit", "2"))) == 3
    assert starfold("users", "end-sessions", "Ben@list.org").exit_code == 0
    assert writer.command.get("/v1/users/me/sessions", headers=ben.headers).status_code == 401
    assert writer.command.get("/v1/users/me/sessions", headers=ann.headers).status_code == 200


def test_a_role_of_nobody_is_one_clear_line(starfold: Starfold) -> None:
    assert "no role 'king'" in refusal(starfold("users", "role", "x@x.org", "king"))
    assert "no role 'king'" in refusal(starfold("users", "list", "--role", "king"))
    assert "no user has the address" in refusal(starfold("users", "role", "x@x.org", "member"))
    assert "not the id" in refusal(starfold("users", "role", "x", "member"))
    assert "404" in refusal(starfold("users", "role", str(UUID(int=1)), "member"))


def test_a_user_is_erased_by_id_or_address_and_is_in_the_ledger(
    starfold: Starfold, writer: Api, ledger: Path
) -> None:
    ann = writer.sign_up("ann@list.org", "Ann")
    body = {"external_id": "ml:1", "display_name": "Cleo"}
    cleo = writer.expect(201, writer.post("/v1/users", body, writer.service))["user_id"]
    assert f"user {ann.user_id} is erased" in starfold("users", "erase", "Ann@list.org").output
    assert f"user {cleo} is erased" in starfold("users", "erase", cleo).output
    assert len(rows(starfold("users", "list"))) == 1
    assert [str(user) for user in read_ledger(ledger)] == [ann.user_id, cleo]
    assert "no user" in refusal(starfold("users", "erase", cleo))
    assert writer.expect(201, writer.post("/v1/users", body, writer.service))["user_id"] != cleo


def test_erasures_are_applied_again_after_a_restore(
    starfold: Starfold, system: System, writer: Api, ledger: Path
) -> None:
    assert "is empty" in starfold("erase", "--reapply").output
    ann = writer.sign_up("ann@list.org")
    with system.owner() as owner:
        head = writer.command.get("/ready").json()["position"]
        owner.execute("CREATE TEMP TABLE backup AS SELECT * FROM subject_keys")
        writer.command.delete("/v1/users/me", headers=ann.headers)
        owner.execute("DELETE FROM events WHERE notification_id > %s", [head])
        owner.execute("INSERT INTO subject_keys SELECT * FROM backup")
    log_in = {"email": "ann@list.org", "password": PASSWORD}
    assert writer.post("/v1/sessions", log_in).status_code == 201
    assert "1 in the ledger, 1 erased again" in starfold("erase", "--reapply").output
    assert writer.post("/v1/sessions", log_in).status_code == 401
    other = ("erase", "--reapply", "--ledger", str(ledger))
    assert "1 in the ledger, 0 erased again" in starfold(*other).output
    assert "--reapply" in refusal(starfold("erase"))
