"""The README's tour, its client in Python and the client's page, as a new user would run them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_starfold import Local

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLE, PRINTED = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL
)[0]
TOUR = re.findall(r"^```sh tour\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# What differs from run to run.
_VARYING = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=\"position\":)\d+"
)


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    folder = Path(tempfile.mkdtemp(prefix="sf-tour-"))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    local = Local(folder / ".starfold")
    try:
        local.up()
        yield local
    finally:
        local.close()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def said(local: Local) -> str:
    """What the tour prints, all its blocks run by one shell."""
    return _run(local, "sh", "-c", "set -e\n" + "\necho\n".join(TOUR))


def _run(local: Local, *command: str, env: dict[str, str] | None = None) -> str:
    """Return the output of a block that is run unchanged except for the ports."""
    *program, script = command
    for default, port in ((8080, local.command_port), (8081, local.query_port)):
        assert f"127.0.0.1:{default}" in script
        script = script.replace(f"127.0.0.1:{default}", f"127.0.0.1:{port}")
    done = subprocess.run(
        [*program, script],
        check=False,
        cwd=local.home.path.parent,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_tour_has_blocks_and_they_run(said: str) -> None:
    assert len(TOUR) == 6
    assert "generation 2 of movies is active" in said


def test_the_readme_shows_what_is_really_printed(said: str) -> None:
    printed = _VARYING.sub("*", said)
    shown = re.findall(r"^```json\n(.*?)\n```", README, re.MULTILINE | re.DOTALL)
    assert len(shown) == 4
    for answer in shown:
        unwrapped = re.sub(r"\n\s*", "", answer)
        assert _VARYING.sub("*", unwrapped) in printed


def test_the_status_has_the_rows_and_columns_that_are_shown(said: str) -> None:
    """But for the numbers; what a pipe reads has tabs between the columns."""
    shown = re.findall(r"^```text\n(log at .*?)^```", README, re.MULTILINE | re.DOTALL)[0]
    assert _without_numbers(shown) in _without_numbers(said)


def _without_numbers(table: str) -> str:
    """Return a table without what varies: numbers, spaces, and whether an audit has passed yet."""
    rows = "\n".join(" ".join(row.split()) for row in table.splitlines())
    return re.sub(r"\d+(\.\d+)?", "0", rows).replace(" passed ", " wanted ")


def test_the_client_in_python_prints_what_is_shown(local: Local, said: str) -> None:
    """After the tour, whose movie is the best that there is."""
    assert said
    assert _run(local, sys.executable, "-c", EXAMPLE) == PRINTED
    statements = [line for line in EXAMPLE.splitlines() if line.strip()]
    assert len(statements) <= 10


def test_the_examples_of_the_client_s_page_run(local: Local, said: str) -> None:
    """In order, in one program, with the key that the page says how to get."""
    assert said
    scopes = [f"--scope={scope}" for scope in ("movies", "users", "ratings")]
    made = local.run("keys", "create", "page", *scopes)
    assert made.returncode == 0, made.stderr
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs/client.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 8
    environment = {**os.environ, "STARFOLD_API_KEY": made.stdout.strip()}
    printed = _run(local, sys.executable, "-c", "\n".join(blocks), env=environment)
    assert "LiveUpdate(" in printed
    assert "/score" in printed
