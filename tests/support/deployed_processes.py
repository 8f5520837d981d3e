"""The processes of a deployment, and the settings that each one reads there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from command_api.settings import CommandSettings
from console.settings import ConsoleSettings
from ops.compose.init import SchemaSettings
from ops.compose.issue import LEDGER, NEEDS, IssueSettings, SecretsHome, issue_secrets
from ops.settings import JobsSettings
from projector.settings import ProjectorSettings
from query_api.settings import QuerySettings
from shared.process.settings import Settings, settings_from_environment
from web.settings import WebSettings

PROCESSES: dict[str, list[type[Settings]]] = {
    "schema": [SchemaSettings],
    "command-api": [CommandSettings],
    "query-api": [QuerySettings],
    "projector": [ProjectorSettings],
    "worker": [JobsSettings, ProjectorSettings],
    "console": [ConsoleSettings],
    "web": [WebSettings],
}
MODULES = {
    "command-api": "command_api",
    "query-api": "query_api",
    "projector": "projector",
    "worker": "ops.worker",
    "console": "console",
    "web": "web",
    "schema": "ops.compose.init",
}

# The processes to which settings are issued.
WITH_SECRETS = [process for process in PROCESSES if process in NEEDS]

each_process = pytest.mark.parametrize("process", PROCESSES)


def deployed_settings(
    process: str, environment: dict[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Settings]:
    """Read a process's settings from its environment and what it is issued."""
    kinds = PROCESSES[process]
    fields = {f"STARFOLD_{name.upper()}" for kind in kinds for name in kind.model_fields}
    assert {name for name in environment if name.startswith("STARFOLD_")} <= fields
    issued = {f"STARFOLD_{name}" for _, names in NEEDS.values() for name in names}
    secret = issued - {"STARFOLD_ERASURE_LEDGER"} | {"STARFOLD_METRICS_TOKEN"}
    assert {name for name, value in environment.items() if value} & secret == set()
    home = SecretsHome(folder / "home", IssueSettings())
    home.create()
    issue_secrets(home, folder / "issued")
    issued_file = folder / "issued" / process / "environment"
    lines = issued_file.read_text().splitlines() if process in WITH_SECRETS else []
    for name in list(os.environ):
        if name.startswith("STARFOLD_"):
            monkeypatch.delenv(name)
    for name, value in {**dict(line.split("=", 1) for line in lines), **environment}.items():
        folders = {LEDGER.parent, Path("/run/starfold-worker")}
        exists = Path(value).parent not in folders
        monkeypatch.setenv(name, value if exists else str(folder / Path(value).name))
    return [settings_from_environment(kind) for kind in kinds]
