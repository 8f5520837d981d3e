"""`starfold backup` and `restore` of a real home: under load, damaged, interrupted."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec
import pytest

from ops.backups.archive import opened_archive
from ops.home.rotation import promoted, rotated
from tests.support.api import PASSWORD
from tests.support.faults.crashes import whole_log
from tests.support.faults.writers import Writers, said_in
from tests.support.local_starfold import Local, mode_of, starfold
from tests.support.system import eventually

WRITTEN_BEFORE = 150
FLIPPED = 60


class Made(NamedTuple):
    """A running Starfold and a backup of it that was made under load, with and without secrets.

    The log has more by now: Ann was erased before it, Bob after it.
    """

    local: Local
    backup: Path
    bare: Path
    acknowledged: set[str]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A short path, for the servers' sockets."""
    path = Path(tempfile.mkdtemp(prefix="sf-b-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="module")
def made(folder: Path) -> Iterator[Made]:
    local = Local(folder / "home")
    local.up()
    try:
        erase(local, sign_up(local, "ann@example.org"))
        bob = sign_up(local, "bob@example.org")
        sign_up(local, "cleo@example.org")
        with Writers(local) as writers:
            eventually(lambda: writers.acknowledged > WRITTEN_BEFORE)
            acknowledged = {name for one in writers.all for name in dict(one.acknowledged)}
            backup = folder / "whole.tar"
            ran = local.run("backup", str(backup), "--with-secrets")
            assert ran.returncode == 0, ran.stderr
            now = writers.acknowledged
            eventually(lambda: writers.acknowledged > now)
        (folder / "backups").mkdir()
        ran = local.run("backup", str(folder / "backups"))
        assert ran.returncode == 0, ran.stderr
        assert f"a restore needs {local.home.secrets_file}" in ran.stdout
        erase(local, bob)
        (bare,) = (folder / "backups").iterdir()
        yield Made(local, backup, bare, acknowledged)
    finally:
        local.close()


def sign_up(local: Local, email: str) -> str:
    url = local.access().addresses.command_url
    body = {"email": email, "password": PASSWORD, "display_name": email.partition("@")[0]}
    user_id: str = httpx.post(f"{url}/v1/users", json=body).raise_for_status().json()["user_id"]
    return user_id


def erase(local: Local, user_id: str) -> None:
    ran = local.run("users", "erase", user_id)
    assert ran.returncode == 0, ran.stderr


def restored(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        starfold("restore", *map(str, arguments)), capture_output=True, text=True, timeout=120
    )


def refusal(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1, ran.stdout + ran.stderr
    lines = [line for line in ran.stderr.splitlines() if line.startswith("starfold: ")]
    assert len(lines) == 1, ran.stderr
    return lines[0]


def leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_a_backup_under_load_restores_every_event_to_its_position(made: Made, folder: Path) -> None:
    """Erased people stay erased, the one by the log, the other by the current ledger."""
    with opened_archive(made.backup) as archive:
        head = archive.manifest.head
    assert mode_of(made.backup) == 0o600
    ledger = made.local.home.erasure_ledger
    ran = restored(made.backup, "--home", folder / "new", "--ledger", ledger)
    assert ran.returncode == 0, ran.stderr
    assert "2 users in the ledger, 1 erased again" in ran.stdout
    assert leftovers(folder) == []

    again = Local(folder / "new")
    again.up()
    try:
        there, here = whole_log(again), whole_log(made.local)
        assert [e for e in there if e.position <= head] == [e for e in here if e.position <= head]
        assert made.acknowledged <= {said_in(entry) for entry in there}
        verified = again.run("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert verified.stdout.count("differences: 0") == 3
        listed = again.run("users", "list").stdout
        assert "\tcleo@example.org" in listed
        assert "ann@" not in listed
        assert "bob@" not in listed
        # The old home's operator is the new home's operator, and the log continues.
        assert again.run("token").returncode == 0
        sign_up(again, "bob@example.org")
    finally:
        again.close()
    assert "is not empty" in refusal(restored(made.backup, "--home", folder / "new"))


def test_without_secrets_a_restore_needs_the_ones_of_the_home(made: Made, folder: Path) -> None:
    home = folder / "from-bare"
    backups = made.bare.parent
    assert "--secrets" in refusal(restored(backups, "--home", home))
    other = folder / "other.json"
    other.write_bytes(b"{}")
    assert "is not the one" in refusal(restored(backups, "--home", home, "--secrets", other))
    assert not home.exists()
    # The sealing key was rotated twice since.
    own = made.local.home.secrets()
    for _ in range(2):
        own = rotated(promoted(own, "sealing"), "sealing", "finish")
    secrets = folder / "rotated.json"
    secrets.write_bytes(msgspec.json.encode(own))
    ledger = made.local.home.erasure_ledger
    ran = restored(backups, "--home", home, "--secrets", secrets, "--ledger", ledger)
    assert ran.returncode == 0, ran.stderr
    # To erase again, the new key has to open the users' keys.
    assert "2 users in the ledger, 1 erased again" in ran.stdout
    assert leftovers(folder) == []
    assert (home / "secrets.json").read_bytes() == secrets.read_bytes()
    assert not (home / "operator.json").exists()


def test_a_changed_byte_or_a_missing_end_is_refused(made: Made, folder: Path) -> None:
    content = made.backup.read_bytes()
    damaged = folder / "damaged.tar"
    places = random.Random(1)  # Which places does not matter.
    for place in [0, len(content) - 1, *(places.randrange(len(content)) for _ in range(FLIPPED))]:
        changed = bytearray(content)
        changed[place] ^= 1 << places.randrange(8)
        damaged.write_bytes(changed)
        with (
            pytest.raises(Exception, match="is damaged or incomplete") as refused,
            ExitStack() as stack,
        ):
            stack.enter_context(opened_archive(damaged))
        assert type(refused.value).__name__ == "OperatorError"
    for length in (0, 100, 512, len(content) // 2, len(content) - 1):
        damaged.write_bytes(content[:length])
        line = refusal(restored(damaged, "--home", folder / "never"))
        assert "is damaged or incomplete" in line
    assert not (folder / "never").exists()


def test_ctrl_c_leaves_nothing_and_the_next_restore_succeeds(made: Made, folder: Path) -> None:
    home, draft = folder / "stopped", folder / ".stopped.restoring"
    arguments = starfold("restore", str(made.backup), "--home", str(home))
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True) as running:
        # The database is being made.
        eventually((draft / "postgres").exists)
        running.send_signal(signal.SIGINT)
        assert (
            "interrupted: a restore that was not complete leaves nothing"
            in running.communicate(timeout=60)[1]
        )
    assert running.returncode == 130
    assert not home.exists()
    assert not draft.exists()
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as killed:
        eventually((draft / "postgres" / "postmaster.pid").exists)
        killed.kill()
    assert not home.exists()
    ran = restored(made.backup, "--home", home)
    assert ran.returncode == 0, ran.stderr
    assert not draft.exists()


def test_a_backup_that_cannot_be_written_leaves_no_file(made: Made, folder: Path) -> None:
    place = folder / "small"
    place.mkdir()
    command = " ".join(starfold("backup", str(place), "--home", str(made.local.home.path)))
    ran = subprocess.run(
        ["bash", "-c", f"ulimit -f 8; exec {command}"], capture_output=True, text=True, timeout=60
    )
    assert "cannot write" in refusal(ran)
    assert not any(place.iterdir())
    assert "exists" in refusal(made.local.run("backup", str(made.backup)))
