"""Prepare the containers of the compose file: `python -m ops.compose.init`.

    secrets       create the secrets once, and issue to each container what it needs; in FOLDER,
                  `secrets [FOLDER]`, for a deployment without Docker Compose
    rotate        take a step of the rotation of a key, and issue what it changes:
                  `rotate sealing|token prepare|promote|finish [FOLDER]`
    cluster       make a cluster of the read models' nodes
    schema        create the database, migrate it and set the roles' passwords
    first-steps   create the operator's account and load the catalogue

Every step may be interrupted and run again.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import msgspec
import psycopg
import structlog
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from pydantic import SecretStr

from ops.compose.cluster import make_cluster
from ops.compose.issue import IssueSettings, SecretsHome, issue_secrets
from ops.compose.issued import OWN_SETTINGS, take_settings
from ops.database import create_database
from ops.errors import OperatorError
from ops.failures import failure_text
from ops.home.bootstrap import bootstrap
from ops.home.client import client_of
from ops.home.folder import MAINTENANCE_DATABASE, Addresses, Home
from ops.home.rotation import Kind, Step, rotated
from ops.imports import catalogue
from ops.settings import OwnerSettings
from shared.log.connections import forget_libpq_variables
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate
from shared.process.cluster_address import cluster_address
from shared.process.logs import configure_logging
from shared.process.redis_settings import RedisSettings
from shared.process.setting_types import Port
from shared.process.settings import Settings, settings_from_environment

# The folders, as the compose file mounts them.
SECRETS = Path("/var/lib/starfold/secrets")
ISSUED = Path("/var/lib/starfold/issued")
OPERATOR_HOME = Path("/var/lib/starfold/.starfold")

ADDRESSES = Addresses(command_url="http://command-api:8080", query_url="http://query-api:8081")
USAGE = "secrets [FOLDER] | rotate KEY STEP [FOLDER] | schema | cluster | first-steps"
POSTGRES_WITHIN_S = 60.0
CONNECT_WITHIN_S = 2
POLL_S = 0.5
# Read models that Redis has lost are rebuilt first.
QUERY_WITHIN_S = 600.0

log = structlog.get_logger()


class SchemaSettings(OwnerSettings):
    """Settings from `STARFOLD_*` for the step that migrates the database."""

    command_password: SecretStr
    projector_password: SecretStr


class FirstStepsSettings(OwnerSettings):
    """Settings from `STARFOLD_*` for the first steps."""

    # `default`, `none`, or a file that was mounted into the container.
    catalogue: str = catalogue.DEFAULT
    # Ports as published on this machine, for the final message.
    command_port: Port = 8080
    query_port: Port = 8081
    web_port: Port = 8082
    console_port: Port = 8083


def make_schema(settings: SchemaSettings) -> None:
    """Create the database if it is missing, and migrate it; raise `OperatorError` on failure."""
    owner_dsn = settings.owner_database_url.get_secret_value()
    parameters = conninfo_to_dict(owner_dsn)
    maintenance_dsn = make_conninfo(owner_dsn, dbname=MAINTENANCE_DATABASE)
    _wait_for_postgres(maintenance_dsn)
    create_database(maintenance_dsn, str(parameters["dbname"]))
    migrate(
        owner_dsn,
        schema=settings.database_schema,
        roles={
            COMMAND_ROLE: settings.command_password.get_secret_value(),
            PROJECTOR_ROLE: settings.projector_password.get_secret_value(),
        },
    )
    log.info("schema_ready")


def _wait_for_postgres(dsn: str) -> None:
    give_up_at = time.monotonic() + POSTGRES_WITHIN_S
    while True:
        try:
            psycopg.connect(dsn, connect_timeout=CONNECT_WITHIN_S).close()
        except psycopg.OperationalError as error:
            said = str(error)
            if "password authentication failed" in said:
                raise OperatorError(
                    "PostgreSQL refuses the owner's password: the volumes `postgres-data` and"
                    " `secrets` belong to different installations. Restore the one that was lost"
                    " or replaced; `docker compose down -v` deletes all data and starts from"
                    " scratch"
                ) from error
            if time.monotonic() > give_up_at:
                raise OperatorError(f"PostgreSQL does not answer: {said}") from error
        else:
            return
        time.sleep(POLL_S)


def take_first_steps(home: Home, settings: FirstStepsSettings) -> None:
    """Write to the home what the commands of `starfold` need."""
    home.remember_addresses(ADDRESSES)
    owner_dsn = settings.owner_database_url.get_secret_value()
    operator = bootstrap(home, owner_dsn)
    with client_of(ADDRESSES, operator.api_key) as client:
        catalogue.load(home, owner_dsn, client, settings.catalogue)
    with client_of(ADDRESSES, patience_s=QUERY_WITHIN_S) as visitor:
        visitor.query_ready()
    print(
        f"ready: command API http://127.0.0.1:{settings.command_port},"
        f" query API http://127.0.0.1:{settings.query_port},"
        f" pages http://127.0.0.1:{settings.web_port},"
        f" console http://127.0.0.1:{settings.console_port}",
        flush=True,
    )


def main(arguments: list[str]) -> None:
    forget_libpq_variables()
    if OWN_SETTINGS.exists():
        take_settings()
    configure_logging(settings_from_environment(Settings), process="init")
    match arguments:
        case ["secrets"]:
            _issue(SECRETS, ISSUED)
        case ["secrets", folder]:
            home = Path(folder).absolute()
            SecretsHome(home, IssueSettings()).create()
            _issue(home, home / "issued")
        case ["rotate", kind, step, *folder] if len(folder) <= 1:
            _rotate(kind, step, *(Path(one).absolute() for one in folder))
        case ["cluster"]:
            address = cluster_address(
                settings_from_environment(RedisSettings).redis_url.get_secret_value()
            )
            if address is None:
                raise OperatorError("STARFOLD_REDIS_URL names no cluster")
            make_cluster(address)
        case ["schema"]:
            make_schema(settings_from_environment(SchemaSettings))
        case ["first-steps"]:
            settings = settings_from_environment(FirstStepsSettings)
            take_first_steps(Home(OPERATOR_HOME), settings)
        case _:
            sys.exit(f"usage: python -m ops.compose.init {USAGE}")


def _rotate(kind: str, step: str, folder: Path | None = None) -> None:
    """Take a step, and issue the settings; the processes have to be restarted with them."""
    try:
        wanted = msgspec.convert((kind, step), type=tuple[Kind, Step])
    except msgspec.ValidationError:
        raise OperatorError(
            "name a key, sealing or token, and prepare, promote or finish"
        ) from None
    secrets, issued = (SECRETS, ISSUED) if folder is None else (folder, folder / "issued")
    home = SecretsHome(secrets, settings_from_environment(IssueSettings))
    if not home.secrets_file.exists():
        raise OperatorError(f"{secrets} holds no secrets")
    with home.rotation():
        home.replace_secrets(rotated(home.secrets(), *wanted))
        issue_secrets(home, issued)
    print(f"the {kind} key: {step} is done; restart the services with their new files")


def _issue(secrets: Path, issued: Path) -> None:
    issue_secrets(SecretsHome(secrets, settings_from_environment(IssueSettings)), issued)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Exception as error:  # One line says why nothing starts, whatever the error.
        log.debug("step_failed", exc_info=True)
        sys.exit(f"starfold: {failure_text(error)}")
