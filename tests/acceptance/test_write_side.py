"""The write side of a real `starfold up`: killed in the middle of it, and run by its operator."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.api import PASSWORD
from tests.support.faults.crashes import kill_in_turns, whole_log
from tests.support.faults.writers import Writers
from tests.support.local_starfold import Local
from tests.support.system import eventually

KILLS = 4


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """A short path, for the servers' sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sf-ws-"))
    one = Local(folder / "home")
    one.up()
    yield one
    one.close()
    shutil.rmtree(folder)


def test_every_command_counts_once_while_the_write_side_is_killed(local: Local) -> None:
    with Writers(local) as writers:
        assert kill_in_turns(local, writers, kills=KILLS) == KILLS
    writers.assert_exactly_once(whole_log(local))
    writers.assert_answered_alike()


def test_an_operator_manages_keys_users_and_erasures(local: Local) -> None:
    url = local.access().addresses.command_url
    eventually(local.takes_commands)
    created = local.run("keys", "create", "Importer", "--scope", "users")
    api_key = created.stdout.strip()
    service = {"Authorization": f"Bearer {api_key}"}
    body = {"external_id": "x:1", "display_name": "Cleo"}
    assert httpx.post(f"{url}/v1/users", json=body, headers=service).status_code == 201
    assert "Importer\tusers" in local.run("keys", "list").stdout
    assert local.run("keys", "revoke", api_key).returncode == 0

    ann = {"email": "ann@example.org", "password": PASSWORD}
    httpx.post(f"{url}/v1/users", json=ann | {"display_name": "Ann"}).raise_for_status()
    assert local.run("users", "role", ann["email"], "curator").returncode == 0
    listed = local.run("users", "list").stdout
    assert "curator\tAnn\tann@example.org" in listed
    assert "operator\tOperator" in listed

    session = httpx.post(f"{url}/v1/sessions", json=ann).json()
    own = {"Authorization": f"Bearer {session['access_token']}"}
    assert httpx.delete(f"{url}/v1/users/me", headers=own).status_code == 204
    assert len((local.home.path / "erasures.jsonl").read_text().split()) == 1
    assert "1 in the ledger, 0 erased again" in local.run("erase", "--reapply").stdout
    assert "ann@example.org" not in local.run("users", "list").stdout
