"""What the compose file's first containers do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pydantic import SecretStr

from command_api.privacy.erasure_ledger import read_ledger
from ops.compose.init import OPERATOR_HOME, SECRETS, SchemaSettings, make_schema
from ops.compose.issue import CLUSTER_CONTAINERS, CONTAINERS, LEDGER, NEEDS, issue_secrets
from ops.home.folder import Home
from shared.log.schema import COMMAND_ROLE, require_database
from tests.support.api import Api
from tests.support.servers import Servers
from tests.support.system import System

ROOT = Path(__file__).parents[3]

# What the image's entry point does: become a program with the settings of a file.
BECOME = """
import pathlib, sys, ops.compose.issued
ops.compose.issued.become(sys.argv[2:], pathlib.Path(sys.argv[1]))
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_each_container_is_issued_what_it_needs_and_no_more(tmp_path: Path) -> None:
    home = Home(tmp_path / "secrets")
    home.create()
    issued = tmp_path / "issued"
    issue_secrets(home, issued)
    first = {file: file.read_text() for file in issued.rglob("*") if file.is_file()}
    issue_secrets(home, issued)
    assert {file: file.read_text() for file in first} == first

    query_api = {"REDIS_URL", "TOKEN_PUBLIC_KEY", "CURSOR_KEY", "METRICS_TOKEN"}
    assert _names(issued, "query-api") == query_api
    assert home.secrets().owner_password == (issued / "postgres/password").read_text()
    for service in set(NEEDS) - set(CLUSTER_CONTAINERS):
        assert (issued / service / "environment").stat().st_mode & 0o777 == 0o600
    for setting, holders in {
        "OWNER_DATABASE_URL": {"operator", "schema", "first-steps"},
        "RESERVATION_SECRET": {"operator", "command-api", "console"},
        "ERASURE_LEDGER": {"operator", "command-api"},
        "TOKEN_PRIVATE_KEY": {"command-api"},
        "CURSOR_KEY": {"query-api"},
        "METRICS_TOKEN": {"command-api", "query-api", "console"},
        "REDIS_URL": {"projector", "query-api", "worker", "console"},
    }.items():
        services = set(NEEDS) - set(CLUSTER_CONTAINERS)
        assert {service for service in services if setting in _names(issued, service)} == holders


def test_the_image_and_the_compose_file_know_every_container() -> None:
    """Each has a folder that the image's user owns, and a volume that only it mounts."""
    compose = "".join((ROOT / f"docker-compose{name}.yml").read_text() for name in ("", ".cluster"))
    (folders,) = re.findall(
        r"install .* -m 0755 \\\n +(postgres [^&]*) \\\n", (ROOT / "Dockerfile").read_text()
    )
    assert set(folders.replace("\\", "").split()) == set(CONTAINERS)
    for service in CONTAINERS:
        volume = f"{service}-{'settings' if service in NEEDS else 'secrets'}"
        assert compose.count(f"- {volume}:/var/lib/starfold/issued/{service}\n") == 1
        mounted = len(re.findall(rf"(?<![a-z-]){volume}:/etc/starfold:ro", compose))
        assert mounted == (6 if service == "cluster-node" else 1)
    for folder in (LEDGER.parent, OPERATOR_HOME, SECRETS):
        assert f":{folder}" in compose


class TestOperator:
    """Commands with what is issued to the containers that they run in, and with nothing else."""

    @pytest.fixture
    def issued(self, servers: Servers, tmp_path: Path) -> Path:
        issue_secrets(servers.home, tmp_path)
        return tmp_path

    @pytest.fixture
    def run(self, issued: Path, system: System) -> Run:
        """As the image's entry point does; only the schema and the ledger are the test's own."""
        environment = {
            "STARFOLD_DATABASE_SCHEMA": system.schema,
            "STARFOLD_ERASURE_LEDGER": str(issued / "erasures.jsonl"),
        }

        def run(container: str, *arguments: str) -> subprocess.CompletedProcess[str]:
            settings = issued / container / "environment"
            program = [str(Path(sys.executable).with_name("starfold")), *arguments]
            return subprocess.run(
                [sys.executable, "-c", BECOME, str(settings), *program],
                capture_output=True,
                text=True,
                env=environment,
                cwd=issued,
                timeout=60,
            )

        return run

    def test_keys_users_and_erasures_are_the_operators(
        self, run: Run, system: System, issued: Path
    ) -> None:
        ledger = issued / "erasures.jsonl"
        command = system.start_command_api(erasure_ledger=ledger)
        api_key = printed(run("operator", "keys", "create", "Importer", "--scope", "users")).strip()
        assert "Importer\tusers" in printed(run("operator", "keys", "list"))
        with Api(command.url, command.url, api_key) as api:
            ann, ben = api.sign_up("ann@example.org"), api.sign_up("ben@example.org")
            assert "ann@example.org" in printed(run("operator", "users", "list"))
            api.expect(204, api.command.delete("/v1/users/me", headers=ann.headers))
            printed(run("operator", "users", "erase", "ben@example.org"))
            assert [str(user) for user in read_ledger(ledger)] == [ann.user_id, ben.user_id]
            again = printed(run("operator", "erase", "--reapply"))
            assert "2 in the ledger, 0 erased again" in again
        printed(run("operator", "keys", "revoke", api_key))

    @pytest.mark.parametrize(
        "command", [("keys", "list"), ("users", "list"), ("erase", "--reapply")]
    )
    def test_the_worker_may_do_none_of_it(self, run: Run, command: tuple[str, ...]) -> None:
        refused = run("worker", *command)
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "STARFOLD_" in line


def test_the_secrets_of_a_deployment_elsewhere_go_to_a_folder(tmp_path: Path) -> None:
    """With the servers' own addresses; a second run changes nothing."""
    folder = tmp_path / "secrets"
    environment = {
        "STARFOLD_POSTGRES": "host=db.example.org sslmode=verify-full",
        "STARFOLD_REDIS": "rediss://cache.example.org:6380?ssl_cert_reqs=required",
        "STARFOLD_JOBS_REDIS": "redis://jobs.example.org:6379",
    }
    command = [sys.executable, "-m", "ops.compose.init", "secrets", str(folder)]
    issued = []
    for _ in range(2):
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT)
        printed(ran)
        issued.append({file: file.read_text() for file in folder.rglob("environment")})
    files, again = issued
    assert again == files
    worker = files[folder / "issued/worker/environment"]
    assert "=host=db.example.org sslmode=verify-full user=" in worker
    assert re.search(
        r"_REDIS_URL=rediss://worker:[^@]+@cache.example.org:6380/0\?ssl_cert_reqs=required\n",
        worker,
    )
    assert re.search(r"JOBS_REDIS_URL=redis://worker:[^@]+@jobs.example.org:6379/1\n", worker)
    assert (folder / "secrets.json").stat().st_mode & 0o777 == 0o600
    assert not (folder / "issued/cluster").exists()


def test_an_owner_without_a_superusers_rights_migrates_the_database() -> None:
    """On a server of somebody else's, as docs/operating.md says; again it changes nothing."""
    servers = Servers()
    servers.start()
    try:
        with psycopg.connect(servers.home.owner_dsn(), autocommit=True) as superuser:
            superuser.execute("CREATE ROLE hired LOGIN CREATEDB CREATEROLE PASSWORD 'hired'")
        settings = SchemaSettings(
            owner_database_url=SecretStr(servers.home.dsn("hired", "hired", "hired_log")),
            command_password=SecretStr("command"),
            projector_password=SecretStr("projector"),
        )
        make_schema(settings)
        make_schema(settings)
        dsn = servers.home.dsn(COMMAND_ROLE, "command", "hired_log")
        require_database(dsn, schema=settings.database_schema, pooler=False)
    finally:
        servers.close()


def printed(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _names(issued: Path, service: str) -> set[str]:
    lines = (issued / service / "environment").read_text().splitlines()
    return {line.partition("=")[0].removeprefix("STARFOLD_") for line in lines}


def test_a_program_gets_its_containers_settings_and_keeps_its_own(tmp_path: Path) -> None:
    settings = tmp_path / "environment"
    settings.write_text("STARFOLD_A=issued=1\nSTARFOLD_B=issued\n")
    print_both = "import os; print(os.environ['STARFOLD_A'], os.environ['STARFOLD_B'])"
    ran = subprocess.run(
        [sys.executable, "-c", BECOME, str(settings), sys.executable, "-c", print_both],
        check=True,
        capture_output=True,
        text=True,
        env={"STARFOLD_B": "own"},
    )
    assert ran.stdout == "issued=1 own\n"
