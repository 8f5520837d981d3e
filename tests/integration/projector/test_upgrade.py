"""A definition changes: two releases of the projector run beside each other, and nobody notices."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import projector
from projector.audit.auditor import Audit
from projector.projections import DEFINITIONS
from projector.wiring import Wiring
from shared.errors import AuditImpossible
from shared.ids import Position
from shared.log.schema import PROJECTOR_ROLE
from shared.read_model.checkpoints import decode_checkpoint
from tests.support.read_models import active, wait_until_applied
from tests.support.scenarios.mixed_history import History
from tests.support.system import System, eventually

VERSION = DEFINITIONS["movies"].version


class Release:
    """A copy of the projector whose `movies` is one version further and ranks otherwise."""

    def __init__(self, system: System, folder: Path) -> None:
        package = Path(projector.__file__).parent
        shutil.copytree(package, folder / "projector")
        definition = folder / "projector/projections/movies.py"
        before = definition.read_text()
        after = before.replace(f"version={VERSION}", f"version={VERSION + 1}").replace(
            "milliseconds(event.created_at)", "milliseconds(event.created_at) + 1"
        )
        assert after.count("+ 1") == before.count("+ 1") + 1
        definition.write_text(after)
        self._environment = {
            **os.environ,
            **system.servers.home.environment(PROJECTOR_ROLE),
            "STARFOLD_DATABASE_SCHEMA": system.schema,
        }
        # Python looks in the working directory first.
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []

    def start_projector(self) -> None:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "projector"], env=self._environment, cwd=self._folder
            )
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            env=self._environment,
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
            assert process.wait(30) == 0


@pytest.fixture
def release(system: System, tmp_path: Path) -> Iterator[Release]:
    made = Release(system, tmp_path)
    yield made
    made.close()


def lowest(wiring: Wiring, number: int) -> Position:
    generation = wiring.generations.get("movies", number)
    assert generation is not None
    stored = wiring.store.checkpoints(generation.all_keys)
    return min(decode_checkpoint(checkpoint).position for checkpoint in stored)


def test_a_new_definition_is_built_audited_and_switched_to_under_load(
    system: System, release: Release
) -> None:
    history = History(system)
    history.go_on()
    system.start_projector()
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    new = DEFINITIONS["movies"]._replace(version=VERSION + 1)
    wiring.generations.create(new, "replay", shares=1, switch_when_ready=True, audit="wanted")
    release.start_projector()
    history.go_on()
    job = release.run("-c", "from ops.jobs import build_share; build_share('movies', 2, 0)")
    assert job.returncode == 0, job.stderr
    history.go_on()

    def switched() -> bool:
        history.go_on(5)
        return active(wiring, "movies").number == 2

    eventually(switched)
    history.go_on()
    wait_until_applied(wiring)
    verified = release.run("-m", "ops.cli", "verify", "movies")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    with pytest.raises(AuditImpossible, match=f"this release has v{VERSION}"):
        Audit(wiring.reader, wiring.store).verify(active(wiring, "movies"))
    # The old release's projector keeps what it may be switched back to.
    head = wiring.reader.head()
    eventually(lambda: lowest(wiring, 1) >= head)
    assert wiring.generations.switch("movies", 1)
    assert Audit(wiring.reader, wiring.store).verify(active(wiring, "movies")).passed


def test_a_release_builds_its_new_definition_once(system: System, release: Release) -> None:
    """It switches by itself, and not again away from what an operator has switched back to."""
    history = History(system)
    history.go_on()
    system.start_projector()
    wiring = system.projector_wiring()
    wait_until_applied(wiring)
    release.start_projector()
    eventually(lambda: active(wiring, "movies").number == 2)
    history.go_on()
    wait_until_applied(wiring)
    built = active(wiring, "movies")
    assert (built.definition_version, built.reason) == (VERSION + 1, "new definition")
    assert wiring.generations.switch("movies", 1)
    head = wiring.reader.head()
    history.go_on()
    eventually(lambda: lowest(wiring, 2) > head)
    assert [one.number for one in wiring.generations.all() if one.projection == "movies"] == [1, 2]
