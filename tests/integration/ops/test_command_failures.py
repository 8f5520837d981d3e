"""Commands that cannot be done, or are cut off: one line, exit status 1, never a stack."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from ops.errors import OperatorError
from ops.home.folder import Home
from ops.local.child import Child, ChildSpec
from ops.local.supervisor import Supervisor
from shared.log.schema import PROJECTOR_ROLE
from tests.support.ports import free_port
from tests.support.servers import Servers
from tests.support.system import System, eventually

WITHOUT_PSUTIL = "import sys; sys.modules['psutil'] = None; from ops.cli import main; main()"
SERVICES = (
    ("command_api",),
    ("query_api",),
    ("projector",),
    ("ops.worker",),
    ("ops.compose.init", "schema"),
    ("ops.compose.init", "first-steps"),
)
TERMINATED_AFTER_S = (0.0, 0.02, 0.05, 0.1, 1.5)


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops.cli", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], **environment},
    )


def _looked_after(child: Child) -> Child:
    child.watch()
    return child


def _one_line(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1, ran.stderr
    (line,) = ran.stderr.splitlines()
    return line


def test_every_module_of_the_services_does_without_the_local_extra() -> None:
    """The image has no psutil; `starfold up` says what is missing."""
    commands = subprocess.run(
        [sys.executable, "-c", WITHOUT_PSUTIL, "--help"], capture_output=True, text=True, timeout=60
    )
    assert commands.returncode == 0, commands.stderr
    up = subprocess.run(
        [sys.executable, "-c", WITHOUT_PSUTIL, "up"], capture_output=True, text=True, timeout=60
    )
    assert "`starfold up` needs psutil" in _one_line(up)


def test_a_server_that_is_away_is_named(system: System) -> None:
    settings = system.servers.home.environment(PROJECTOR_ROLE)
    settings["STARFOLD_DATABASE_SCHEMA"] = system.schema
    nobody = free_port()
    away = settings | {"STARFOLD_DATABASE_URL": f"postgresql://a@127.0.0.1:{nobody}/a"}
    assert "PostgreSQL does not answer" in _one_line(_run("replays", **away))
    away = settings | {"STARFOLD_JOBS_REDIS_URL": f"redis://127.0.0.1:{nobody}/0"}
    assert "Redis does not answer" in _one_line(_run("replay", "movies", **away))


def test_a_path_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "addresses.json").mkdir()
    line = _one_line(_run("replays", "--home", str(tmp_path)))
    assert line == f"starfold: {tmp_path / 'addresses.json'}: Is a directory"


def test_output_that_nobody_reads_is_no_stack(system: System) -> None:
    settings = system.servers.home.environment(PROJECTOR_ROLE)
    read_end, write_end = os.pipe()
    os.close(read_end)
    ran = subprocess.run(
        [sys.executable, "-m", "ops.cli", "replays"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        env=os.environ | settings | {"STARFOLD_DATABASE_SCHEMA": system.schema},
    )
    os.close(write_end)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


def test_nobody_to_erase_again_is_no_error(system: System, tmp_path: Path) -> None:
    settings = system.command_environment()
    settings["STARFOLD_ERASURE_LEDGER"] = str(tmp_path / "erasures.jsonl")
    settings["STARFOLD_OWNER_DATABASE_URL"] = system.servers.home.owner_dsn()
    ran = _run("erase", "--reapply", **settings)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"no users to erase again: {tmp_path / 'erasures.jsonl'} is empty\n"


def test_a_child_that_is_not_ready_is_explained(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    supervisor = Supervisor(home)
    output = tmp_path / "output"
    name = f"ends with: out of {output.name}"
    script = f"import sys; sys.exit('out of {output.name}')"
    child = supervisor.start(
        ChildSpec("server", [sys.executable, "-c", script], {}, lambda: False, output=output)
    )

    def explanation() -> str:
        with pytest.raises(OperatorError) as failed:
            supervisor.wait_ready([child], within_s=0.5)
        return str(failed.value)

    try:
        # In the pause between two starts, which are longer and longer.
        eventually(
            lambda: "exits at every start" in (said := explanation()) and said.endswith(name)
        )
    finally:
        supervisor.stop([("server",)])


def test_a_supervisor_outlives_a_disk_that_takes_no_note(tmp_path: Path) -> None:
    """A full disk is such a disk; whatever the reason, the children keep running."""
    home = Home(tmp_path / "home")
    home.create()
    home.children_file.mkdir()
    supervisor = Supervisor(home)
    child = supervisor.start(ChildSpec("sleeper", ["sleep", "60"], {}))
    supervisor.watch()
    assert child.running
    home.children_file.rmdir()
    supervisor.stop([("sleeper",)])


def test_a_patient_supervisor_waits_for_a_late_child(tmp_path: Path) -> None:
    """After a rotation, PostgreSQL is not stopped for a service that is slow to start."""
    home = Home(tmp_path / "home")
    home.create()
    supervisor = Supervisor(home)
    late = tmp_path / "late"
    start = ["sh", "-c", f"sleep 0.5; touch {late}; sleep 60"]
    child = supervisor.start(ChildSpec("server", start, {}, ready=late.exists))
    with capture_logs() as logs:
        supervisor.wait_ready([child], within_s=0.05, patient=True)
    assert [one["child"] for one in logs if one["event"] == "child_not_ready"] == ["server"]
    supervisor.stop([("server",)])


def test_a_child_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    log_folder = tmp_path / "logs"
    log_folder.mkdir()
    child = Child(ChildSpec("short", ["sleep", "0.2"], {}, output=log_folder / "output"))
    child.start()
    (log_folder / "output").unlink()
    log_folder.rename(tmp_path / "elsewhere")
    eventually(lambda: not child.running)
    for _ in range(3):
        child.watch()
    (tmp_path / "elsewhere").rename(log_folder)
    eventually(lambda: _looked_after(child).running)
    child.request_stop()
    child.stop()


@pytest.mark.parametrize("arguments", SERVICES, ids=" ".join)
def test_a_service_ends_at_once_when_told_so_during_its_start(
    arguments: tuple[str, ...], servers: Servers
) -> None:
    environment = servers.home.environment(PROJECTOR_ROLE)
    # Where it would wait: a server that takes connections and says nothing.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        environment["STARFOLD_DATABASE_URL"] = f"postgresql://a@127.0.0.1:{port}/a"
        environment["STARFOLD_OWNER_DATABASE_URL"] = environment["STARFOLD_DATABASE_URL"]
        environment["STARFOLD_COMMAND_PASSWORD"] = environment["STARFOLD_PROJECTOR_PASSWORD"] = "a"
        environment["STARFOLD_PORT"] = str(free_port())
        for after_s in TERMINATED_AFTER_S:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                env=os.environ | environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            terminated = False
            try:
                process.wait(after_s)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGTERM)
                terminated = True
            _, said = process.communicate(timeout=10)
            ended = (0, 128 + signal.SIGTERM, -signal.SIGTERM)
            assert process.returncode in ended or not terminated, said
            assert "Traceback" not in said
