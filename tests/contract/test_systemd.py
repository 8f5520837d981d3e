"""The units of systemd, against the settings and the confinement of the code."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.deployed_processes import (
    MODULES,
    PROCESSES,
    WITH_SECRETS,
    deployed_settings,
    each_process,
)

ROOT = Path(__file__).parents[2]
SYSTEMD = ROOT / "deploy/systemd"


def _unit(file: Path) -> dict[str, list[tuple[str, str]]]:
    """Parse a unit by systemd's rules; fail at a line that it would ignore."""
    sections: dict[str, list[tuple[str, str]]] = {}
    section = ""
    for line in file.read_text().splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
            sections.setdefault(section, [])
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"{file.name}: {line}"
            assert re.fullmatch(r"[A-Z][A-Za-z]+", name), f"{file.name}: {line}"
            sections[section].append((name, value))
    assert sections.keys() <= {"Unit", "Service", "Install"}
    return sections


UNITS = {process: SYSTEMD / f"starfold-{process}.service" for process in PROCESSES}
CONFINED = SYSTEMD / "starfold-.service.d/confined.conf"


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    """By its own check where that is installed, and everywhere by the rules of its syntax."""
    files = [*SYSTEMD.glob("*.service"), *SYSTEMD.glob("*.target")]
    assert set(UNITS.values()) | {SYSTEMD / "starfold.target"} == set(files)
    for file in (*files, CONFINED):
        assert _unit(file)
    analyze = shutil.which("systemd-analyze")
    if analyze is not None:
        units = tmp_path / "units"
        shutil.copytree(SYSTEMD, units)
        for file in units.glob("*.service"):
            text = file.read_text().replace("/opt/starfold/bin/python", sys.executable)
            file.write_text(text)
        checked = subprocess.run(
            [
                analyze,
                "verify",
                "--man=no",
                *map(str, units.glob("*.service")),
                str(units / "starfold.target"),
            ],
            env={"SYSTEMD_UNIT_PATH": f"{units}:", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


@each_process
def test_a_unit_has_every_setting_and_no_unknown_one(
    process: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = _unit(UNITS[process])["Service"]
    environment = dict(
        value.split("=", 1)
        for name, value in service
        if name == "Environment" and value.startswith("STARFOLD_")
    )
    credential = ("LoadCredential", f"environment:/etc/starfold/{process}/environment")
    assert (credential in service) == (process in WITH_SECRETS)
    (started,) = (value for name, value in service if name == "ExecStart")
    assert f" -m {MODULES[process]}" in started
    deployed_settings(process, environment, tmp_path, monkeypatch)
    names = dict(service)
    for folder in ("StateDirectory", "RuntimeDirectory"):
        for path in environment.values():
            if folder in names and path.startswith("/"):
                root = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run"}[folder]
                assert str(Path(path).parent) == f"{root}/{names[folder]}"


def test_every_unit_is_confined() -> None:
    confined = _unit(CONFINED)["Service"]
    for name, value in {
        "DynamicUser": "yes",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "ProtectSystem": "strict",
        "ProtectHome": "yes",
        "PrivateDevices": "yes",
        "PrivateTmp": "yes",
        "MemoryDenyWriteExecute": "yes",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
        "SystemCallFilter": "@system-service",
    }.items():
        assert (name, value) in confined
    relaxed = {name for name, _ in confined} - {"Environment"}
    for file in UNITS.values():
        service = _unit(file)["Service"]
        assert {name for name, _ in service} & relaxed == set()
        assert "MemoryMax" in dict(service)


def test_the_target_starts_and_stops_the_services_that_are_enabled() -> None:
    for process in set(PROCESSES) - {"schema"}:
        unit = _unit(UNITS[process])
        assert ("WantedBy", "starfold.target") in unit["Install"]
        assert ("PartOf", "starfold.target") in unit["Unit"]
    assert ("WantedBy", "multi-user.target") in _unit(SYSTEMD / "starfold.target")["Install"]


def test_a_service_reads_its_credential(tmp_path: Path) -> None:
    """As systemd passes it: in the folder that `CREDENTIALS_DIRECTORY` names."""
    (tmp_path / "environment").write_text("STARFOLD_A=of the credential\n")
    ran = subprocess.run(
        [sys.executable, "-m", "ops.compose.issued", "sh", "-c", 'echo "$STARFOLD_A"'],
        env={"CREDENTIALS_DIRECTORY": str(tmp_path), "PATH": os.environ["PATH"]},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (ran.stdout, ran.stderr) == ("of the credential\n", "")
