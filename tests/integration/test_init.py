"""What the compose file's first containers do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from ops.home import Home
from ops.init import NEEDS, issue_secrets


def test_each_container_is_issued_what_it_needs_and_no_more(tmp_path: Path) -> None:
    home = Home(tmp_path / "secrets")
    home.create()
    issued = tmp_path / "issued"
    for service in (*NEEDS, "postgres", "redis"):
        (issued / service).mkdir(parents=True)
    issue_secrets(home, issued)
    first = {file: file.read_text() for file in issued.rglob("*") if file.is_file()}
    issue_secrets(home, issued)
    assert {file: file.read_text() for file in first} == first

    environment = (issued / "query-api/environment").read_text()
    assert "STARFOLD_REDIS_URL=" in environment
    assert "DATABASE" not in environment
    assert "SEALING" not in environment
    assert home.secrets().owner_password == (issued / "postgres/password").read_text()
    for service in NEEDS:
        assert (issued / service / "environment").stat().st_mode & 0o777 == 0o600


def test_a_program_gets_its_containers_settings_and_keeps_its_own(tmp_path: Path) -> None:
    settings = tmp_path / "environment"
    settings.write_text("STARFOLD_A=issued=1\nSTARFOLD_B=issued\n")
    print_both = "import os; print(os.environ['STARFOLD_A'], os.environ['STARFOLD_B'])"
    program = [sys.executable, "-c", print_both]
    script = f"import pathlib, ops.init; ops.init.run({program!r}, pathlib.Path({str(settings)!r}))"
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        env={"STARFOLD_B": "own"},
    )
    assert ran.stdout == "issued=1 own\n"
