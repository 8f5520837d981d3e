"""The README's tour, block by block, as a new user would run it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.local_starfold import Local

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TOUR = re.findall(r"^```sh tour\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
# What differs from run to run.
_VARYING = re.compile(
    r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=\"position\":)\d+"
)


@pytest.fixture(scope="module")
def said() -> Iterator[str]:
    """What the tour prints, all its blocks run by one shell."""
    folder = Path(tempfile.mkdtemp(prefix="sf-tour-"))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    local = Local(folder / ".starfold")
    try:
        local.up()
        script = "set -e\n" + "\necho\n".join(TOUR)
        for default, port in ((8080, local.command_port), (8081, local.query_port)):
            script = script.replace(f"127.0.0.1:{default}", f"127.0.0.1:{port}")
        shell = subprocess.run(
            ["sh", "-c", script],
            check=False,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert shell.returncode == 0, shell.stderr
        yield shell.stdout
    finally:
        local.close()
        shutil.rmtree(folder)


def test_the_tour_has_blocks_and_they_run(said: str) -> None:
    assert len(TOUR) == 5
    assert "generation 2 of movies is active" in said


def test_the_readme_shows_what_is_really_printed(said: str) -> None:
    printed = _VARYING.sub("*", said)
    shown = re.findall(r"^```json\n(.*?)\n```", README, re.MULTILINE | re.DOTALL)
    assert len(shown) == 4
    for answer in shown:
        unwrapped = re.sub(r"\n\s*", "", answer)
        assert _VARYING.sub("*", unwrapped) in printed
