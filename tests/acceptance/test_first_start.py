"""The first start of a local Starfold: killed at any moment, and again where something was lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import msgspec
import psutil
import pytest

from starfold_client import NewMovie
from tests.support.local_starfold import Local, starfold

KILLED_AFTER_S = (0.4, 0.9, 1.4, 2.0, 2.8, 3.8)
MOVIES = [
    NewMovie(title="Mirror", year=1975, external_id="film:1"),
    NewMovie(title="Stalker", year=1979, external_id="film:2"),
]


@pytest.fixture
def local(folder: Path) -> Iterator[Local]:
    catalogue = folder / "catalogue.jsonl"
    catalogue.write_bytes(b"\n".join(map(msgspec.json.encode, MOVIES)))
    one = Local(folder / "home", catalogue=str(catalogue))
    yield one
    one.close()


def test_a_first_start_that_is_killed_at_any_moment_is_made_good_by_the_next(
    local: Local, folder: Path
) -> None:
    for after_s in KILLED_AFTER_S:
        local.start()
        time.sleep(after_s)  # The moment of the kill is what is tested.
        local.kill_everything()
    local.up()
    assert _is_whole(local)


def test_a_home_of_any_name_outlives_its_terminal_under_nohup(folder: Path) -> None:
    """`nohup` is nothing but a SIGHUP that is ignored by what it starts."""
    local = Local(folder / 'it\'s, "my" \\home')
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        local.up()
        for process in [psutil.Process(local.process.pid), *local.descendants()]:
            with suppress(psutil.NoSuchProcess):  # A database connection that has just ended.
                process.send_signal(signal.SIGHUP)
        assert local.takes_commands(), local.printed
        assert local.run("status").returncode == 0, local.run("status").stderr
        assert local.stop() == 0
    finally:
        signal.signal(signal.SIGHUP, before)
        local.close()


def test_a_new_database_gets_account_key_and_catalogue(local: Local) -> None:
    """What a home remembers belongs to the log that it remembers it of."""
    local.up()
    first = local.home.operator_file.read_bytes()
    local.stop()
    shutil.rmtree(local.home.postgres_data)
    shutil.rmtree(local.home.valkey_data)
    local.up()
    assert _is_whole(local)
    assert local.home.operator_file.read_bytes() == first
    local.stop()
    local.up()
    assert local.printed.count('"catalogue_loaded"') == 0, "the log has it already"


def test_a_lost_operator_is_replaced_and_lost_secrets_are_one_clear_line(local: Local) -> None:
    local.up()
    local.stop()
    local.home.operator_file.unlink()
    local.up()
    assert _is_whole(local)
    local.stop()
    local.home.secrets_file.unlink()
    ports = (
        f"--command-port={local.command_port}",
        f"--query-port={local.query_port}",
        f"--web-port={local.web_port}",
        f"--console-port={local.console_port}",
    )
    refused = subprocess.run(
        starfold("up", "--home", str(local.home.path), *ports),
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert refused.returncode == 1
    (line,) = refused.stderr.strip().splitlines()
    assert f"{local.home.secrets_file} is missing" in line


def _is_whole(local: Local) -> bool:
    """The operator's token and key work, and the catalogue is loaded, soon at least."""
    token = local.run("token")
    assert token.returncode == 0, token.stderr
    for_operators = httpx.get(
        f"http://127.0.0.1:{local.query_port}/v1/projections",
        headers={"Authorization": f"Bearer {token.stdout.strip()}"},
    )
    assert for_operators.status_code == httpx.codes.OK, for_operators.text
    with local.client() as client:
        statuses = {result.status for _, result in client.create_movies(MOVIES)}
    return statuses == {"unchanged"}
