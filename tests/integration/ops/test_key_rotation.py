"""The sealing key is replaced beside commands that continue, whatever is killed."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from typing import Any

import pytest

from ops.compose.init import main as init
from ops.database import rewrap_keys
from ops.errors import OperatorError
from ops.home.folder import Home
from shared.errors import Misconfigured
from shared.ids import UserId, new_uuid7
from shared.log.connections import Connection, connect
from shared.log.sealing import KEY_BYTES, KeyWrap
from tests.conftest import Starfold
from tests.support.system import System

NEW = os.urandom(KEY_BYTES)
USERS = 120
REWRAP = """
import base64, sys
from ops.database import rewrap_keys
from shared.log.connections import connect
from shared.log.sealing import KeyWrap
dsn, schema, new, old = sys.argv[1:]
wrap = KeyWrap(base64.b64decode(new), base64.b64decode(old))
for count in rewrap_keys(connect(dsn, schema=schema, autocommit=True), wrap, at_once=10):
    print(count, flush=True)
    if sys.stdin.readline() == "":
        break
"""


class Keys:
    """The keys of some users, wrapped with the sealing key of the settings."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.old = system.command_settings().sealing_key.get_secret_value()
        self.owner = system.owner()
        self.keys: dict[UserId, bytes] = {}
        for _ in range(USERS):
            self.add(KeyWrap(self.old))

    def add(self, wrap: KeyWrap) -> None:
        user = UserId(new_uuid7())
        self.keys[user], wrapped = wrap.new_key(user)
        self.owner.execute("INSERT INTO subject_keys VALUES (%s, %s)", [user, wrapped])

    def stored(self) -> dict[UserId, bytes]:
        rows = self.owner.execute("SELECT user_id, wrapped FROM subject_keys").fetchall()
        return {UserId(user): wrapped for user, wrapped in rows}

    def opened_with(self, wrap: KeyWrap) -> dict[UserId, bytes]:
        opened = {}
        for user, wrapped in self.stored().items():
            try:
                opened[user] = wrap.unwrap(user, wrapped)
            except Misconfigured:
                continue
        return opened

    def connection(self) -> Connection[Any]:
        dsn = self.system.servers.home.owner_dsn()
        return connect(dsn, schema=self.system.schema, autocommit=True)


@pytest.fixture
def keys(system: System) -> Keys:
    return Keys(system)


def test_a_rotation_that_is_killed_goes_on_where_it_was(keys: Keys) -> None:
    both = KeyWrap(NEW, keys.old)
    texts = [base64.b64encode(key).decode() for key in (NEW, keys.old)]
    command = [sys.executable, "-c", REWRAP, keys.system.servers.home.owner_dsn()]
    with subprocess.Popen(
        [*command, keys.system.schema, *texts],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as rotation:
        assert rotation.stdin is not None
        assert rotation.stdout is not None
        assert rotation.stdout.readline() == "10\n"
        rotation.stdin.write("\n")
        rotation.stdin.flush()
        assert rotation.stdout.readline() == "10\n"
        rotation.kill()
    assert len(keys.opened_with(KeyWrap(NEW))) == 20
    assert keys.opened_with(both) == keys.keys
    with keys.connection() as connection:
        assert sum(rewrap_keys(connection, both)) == USERS - 20
        assert list(rewrap_keys(connection, both)) == []
    assert keys.opened_with(KeyWrap(NEW)) == keys.keys
    assert keys.opened_with(KeyWrap(keys.old)) == {}


def test_users_erased_and_created_meanwhile_stay_so(keys: Keys) -> None:
    both = KeyWrap(NEW, keys.old)
    gone = max(keys.keys)
    with keys.connection() as connection:
        rewrapping = rewrap_keys(connection, both, at_once=100)
        assert next(rewrapping) == 100
        keys.owner.execute("DELETE FROM subject_keys WHERE user_id = %s", [gone])
        del keys.keys[gone]
        # By a process that has not been restarted yet, and by one that has.
        keys.add(KeyWrap(keys.old, NEW))
        keys.add(both)
        assert sum(rewrapping) == USERS - 100
    assert keys.opened_with(KeyWrap(NEW)) == keys.keys
    assert gone not in keys.stored()


def test_without_the_second_key_nothing_is_changed(keys: Keys) -> None:
    before = keys.stored()
    with keys.connection() as connection, pytest.raises(Misconfigured, match="SEALING_KEY"):
        list(rewrap_keys(connection, KeyWrap(NEW)))
    assert keys.stored() == before


def test_the_command_wraps_the_keys_of_a_database_without_a_home(
    keys: Keys, starfold: Starfold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STARFOLD_OWNER_DATABASE_URL", keys.system.servers.home.owner_dsn())
    monkeypatch.setenv("STARFOLD_SEALING_KEY", base64.b64encode(NEW).decode())
    monkeypatch.setenv("STARFOLD_SECOND_SEALING_KEY", base64.b64encode(keys.old).decode())
    rotated = starfold("keys", "rotate", "sealing")
    assert rotated.exit_code == 0, rotated.output
    assert f"wrapped again: {USERS};" in rotated.stdout
    assert keys.opened_with(KeyWrap(NEW)) == keys.keys
    refused = starfold("keys", "rotate", "token")
    assert "docs/operating.md" in str(refused.exception)


def test_a_home_that_does_not_run_is_not_rotated(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, starfold: Starfold
) -> None:
    monkeypatch.delenv("STARFOLD_DATABASE_URL")
    refused = starfold("keys", "rotate", "token", "--home", str(tmp_path))
    assert "start it" in str(refused.exception)


def test_two_rotations_at_once_are_one(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, starfold: Starfold
) -> None:
    monkeypatch.delenv("STARFOLD_DATABASE_URL")
    home = Home(tmp_path)
    before = home.secrets()
    with home.lock(), home.rotation():
        refused = starfold("keys", "rotate", "token", "--home", str(tmp_path))
        assert "another rotation" in str(refused.exception)
        with pytest.raises(OperatorError, match="another rotation"):
            init(["rotate", "token", "prepare", str(tmp_path)])
    assert home.secrets() == before


def test_the_steps_of_a_deployment_issue_both_keys_and_then_one(tmp_path: Any) -> None:
    init(["secrets", str(tmp_path)])
    old = Home(tmp_path).secrets()

    def issued(service: str) -> dict[str, str]:
        lines = (tmp_path / "issued" / service / "environment").read_text().splitlines()
        return {
            name.removeprefix("STARFOLD_"): value
            for name, _, value in (line.partition("=") for line in lines)
        }

    assert not [name for name in issued("command-api") if name.startswith("SECOND")]
    for step in ("prepare", "promote"):
        init(["rotate", "sealing", step, str(tmp_path)])
        init(["rotate", "token", step, str(tmp_path)])
        own = Home(tmp_path).secrets()
        for service in ("command-api", "projector", "worker", "operator"):
            assert issued(service)["SEALING_KEY"] == own.sealing_key
            assert issued(service)["SECOND_SEALING_KEY"] == own.second_sealing_key
        for service in ("command-api", "query-api"):
            assert issued(service)["TOKEN_PUBLIC_KEY"] == own.token_public_key
            assert issued(service)["SECOND_TOKEN_PUBLIC_KEY"] == own.second_token_public_key
        assert issued("command-api")["TOKEN_PRIVATE_KEY"] == own.token_private_key
    assert own.second_sealing_key == old.sealing_key
    init(["rotate", "sealing", "finish", str(tmp_path)])
    assert "SECOND_SEALING_KEY" not in issued("command-api")
    assert issued("query-api")["SECOND_TOKEN_PUBLIC_KEY"] == old.token_public_key
