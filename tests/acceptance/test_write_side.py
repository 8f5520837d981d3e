"""The write side of a real `starfold up`: killed in the middle of it, and run by its operator."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest

from tests.acceptance.local import Local
from tests.api import PASSWORD
from tests.system import eventually

THREADS = 8
MOVIES_EACH = 40
KILLS = 3


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """A short path, for the servers' sockets."""
    folder = Path(tempfile.mkdtemp(prefix="sf-ws-"))
    one = Local(folder / "home")
    one.up()
    yield one
    one.close()
    shutil.rmtree(folder)


def post_until_answered(client: httpx.Client, path: str, body: object, key: str) -> httpx.Response:
    """What a client does that never knows whether its request arrived."""
    answers: list[httpx.Response] = []

    def answered() -> bool:
        try:
            answers.append(client.post(path, json=body, headers={"Idempotency-Key": key}))
        except httpx.TransportError:
            return False
        return answers[-1].status_code < 500

    eventually(answered, within_s=60)
    return answers[-1]


def test_with_keys_each_movie_is_made_once_while_the_command_api_is_killed(local: Local) -> None:
    """A movie without an external id is made anew by each request: only the key prevents it."""
    access = local.access()
    headers = {"Authorization": f"Bearer {access.api_key}"}
    done = Event()

    def kill() -> int:
        """Once it is up again after the last time."""
        killed: set[int] = set()
        while not done.is_set() and len(killed) < KILLS:
            for child in local.descendants():
                if _serves_commands(child) and child.pid not in killed:
                    eventually(lambda: _ready(access.addresses.command_url))
                    killed.add(child.pid)
                    child.kill()
            done.wait(0.5)
        return len(killed)

    def make(thread: int) -> list[tuple[str, str, dict[str, object]]]:
        made = []
        with httpx.Client(
            base_url=access.addresses.command_url, headers=headers, timeout=30
        ) as client:
            for n in range(MOVIES_EACH):
                key, body = str(uuid4()), {"title": f"Killed {thread} {n}", "year": 1990}
                answer = post_until_answered(client, "/v1/movies", body, key)
                assert answer.status_code == 201, answer.text
                made.append((key, answer.json()["movie_id"], dict(body)))
        return made

    with ThreadPoolExecutor(THREADS + 1) as pool:
        killing = pool.submit(kill)
        made = [entry for entries in pool.map(make, range(THREADS)) for entry in entries]
        done.set()
        assert killing.result() > 0

    with psycopg.connect(local.home.owner_dsn()) as owner:
        count = "SELECT count(*) FROM starfold.events WHERE topic = 'MovieCreated'"
        assert owner.execute(count).fetchone() == (len(made),)
    eventually(lambda: _ready(access.addresses.command_url))
    with httpx.Client(base_url=access.addresses.command_url, headers=headers) as client:
        for key, movie_id, body in made:
            again = post_until_answered(client, "/v1/movies", body, key)
            assert (again.status_code, again.json()["movie_id"]) == (201, movie_id)


def test_an_operator_manages_keys_users_and_erasures(local: Local) -> None:
    url = local.access().addresses.command_url
    eventually(lambda: _ready(url))
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


def _serves_commands(process: psutil.Process) -> bool:
    try:
        return process.cmdline()[1:] == ["-m", "command_api"]
    except psutil.NoSuchProcess:
        return False


def _is_command_api(process: psutil.Process) -> bool:
    try:
        return "command_api" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/ready", timeout=2).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
