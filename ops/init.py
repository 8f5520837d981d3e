"""`python -m ops.init`: what the containers of the compose file do before they are of use.

    secrets       make the secrets, once, and issue to each container what it needs, and no more
    schema        migrate the database and set the roles' passwords
    first-steps   make the operator's account and load the catalogue
    run PROGRAM   become a program, with the settings issued to this container

Every step may be interrupted and run again. A container sees only its own folder of what is issued:
each is a volume of its own.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import psycopg
import structlog
from psycopg.conninfo import make_conninfo

from ops import catalogue
from ops.api_client import ApiClient
from ops.bootstrap import bootstrap
from ops.errors import OperatorError
from ops.home import DATABASE, Addresses, Home, Secrets, write_private
from shared.errors import Misconfigured
from shared.logs import configure_logging
from shared.postgres import forget_libpq_variables
from shared.schema import COMMAND_ROLE, PROJECTOR_ROLE, migrate
from shared.settings import Settings

# The folders, as the compose file mounts them.
SECRETS = Path("/var/lib/starfold/secrets")
ISSUED = Path("/var/lib/starfold/issued")
OPERATOR_HOME = Path("/var/lib/starfold/.starfold")
LEDGER = Path("/var/lib/starfold/ledger/erasures.jsonl")
OWN_SETTINGS = Path("/etc/starfold/environment")

ADDRESSES = Addresses(command_url="http://command-api:8080", query_url="http://query-api:8081")
POSTGRES_WITHIN_S = 60.0
CONNECT_WITHIN_S = 2
POLL_S = 0.5
# The servers' containers read their files as users of their own images.
READABLE_BY_ALL = 0o444

# The role of each service, and the settings that it needs, without `STARFOLD_`. Only the operator's
# container, which runs for one command, may do what the database's owner may.
NEEDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "command-api": (
        COMMAND_ROLE,
        (
            *("DATABASE_URL", "SEALING_KEY", "RESERVATION_SECRET", "ERASURE_LEDGER"),
            *("TOKEN_PRIVATE_KEY", "TOKEN_PUBLIC_KEY"),
        ),
    ),
    "projector": (PROJECTOR_ROLE, ("DATABASE_URL", "REDIS_URL", "SEALING_KEY")),
    "query-api": (PROJECTOR_ROLE, ("REDIS_URL", "TOKEN_PUBLIC_KEY", "CURSOR_KEY")),
    "worker": (PROJECTOR_ROLE, ("DATABASE_URL", "REDIS_URL", "JOBS_REDIS_URL", "SEALING_KEY")),
    "operator": (
        COMMAND_ROLE,
        (
            *("DATABASE_URL", "OWNER_DATABASE_URL"),
            *("SEALING_KEY", "RESERVATION_SECRET", "ERASURE_LEDGER"),
        ),
    ),
}

log = structlog.get_logger()


class InitSettings(Settings):
    """Read from `STARFOLD_*` by the first steps."""

    # `default` or `none`; or a file that was mounted into the container.
    catalogue: str = catalogue.DEFAULT


class ComposeHome(Home):
    """The operator's home. Servers are other containers; secrets and ledger are kept elsewhere."""

    @property
    def erasure_ledger(self) -> Path:
        return LEDGER

    def secrets(self) -> Secrets:
        return Home(SECRETS).secrets()

    def dsn(self, role: str, password: str, database: str = DATABASE) -> str:
        return make_conninfo(host="postgres", user=role, password=password, dbname=database)

    def redis_url(self, database: int = 0) -> str:
        return f"redis://:{self.secrets().valkey_password}@redis:6379/{database}"


def issue_secrets(home: Home, issued: Path) -> None:
    """Write a file for each container. One that is right already is left alone."""
    own = home.secrets()
    _issue(issued / "postgres/password", own.owner_password, READABLE_BY_ALL)
    _issue(issued / "redis/redis.conf", f"requirepass {own.valkey_password}\n", READABLE_BY_ALL)
    for service, (role, names) in NEEDS.items():
        owner = {"STARFOLD_OWNER_DATABASE_URL": home.owner_dsn()}
        environment = home.environment(role) | owner
        lines = [f"STARFOLD_{name}={environment[f'STARFOLD_{name}']}\n" for name in names]
        _issue(issued / service / "environment", "".join(lines))
    log.info("secrets_issued")


def make_schema(home: Home) -> None:
    """Raises `OperatorError` if PostgreSQL does not answer in time."""
    give_up_at = time.monotonic() + POSTGRES_WITHIN_S
    while True:
        try:
            psycopg.connect(home.owner_dsn(), connect_timeout=CONNECT_WITHIN_S).close()
            break
        except psycopg.OperationalError as error:
            if time.monotonic() > give_up_at:
                raise OperatorError(f"PostgreSQL does not answer: {error}") from error
        time.sleep(POLL_S)
    migrate(home.owner_dsn(), roles=home.secrets().role_passwords)
    log.info("schema_ready")


def take_first_steps(home: Home, choice: str) -> None:
    """Leaves in the home what the commands of `starfold` look for there."""
    home.remember_addresses(ADDRESSES)
    operator = bootstrap(home)
    with ApiClient(ADDRESSES, operator.api_key) as client:
        catalogue.load(home, client, choice)
    log.info("first_steps_taken")


def run(program: list[str], settings: Path = OWN_SETTINGS) -> NoReturn:
    """Become the program; a variable that the container has already is not changed."""
    if not settings.exists():
        raise OperatorError(f"{settings} is missing: no settings were issued to this container")
    for line in settings.read_text().splitlines():
        name, _, value = line.partition("=")
        os.environ.setdefault(name, value)
    os.execvp(program[0], program)  # noqa: S606  # A program named by the image or its operator.


def main(arguments: list[str]) -> None:
    forget_libpq_variables()
    settings = InitSettings()
    configure_logging(settings, process="init")
    home = ComposeHome(OPERATOR_HOME)
    try:
        match arguments:
            case ["secrets"]:
                issue_secrets(home, ISSUED)
            case ["schema"]:
                make_schema(home)
            case ["first-steps"]:
                take_first_steps(home, settings.catalogue)
            case ["run", *program] if program:
                run(program)
            case _:
                sys.exit("usage: python -m ops.init secrets | schema | first-steps | run PROGRAM")
    except (OperatorError, Misconfigured) as error:
        sys.exit(f"starfold: {error}")


def _issue(file: Path, content: str, mode: int = 0o600) -> None:
    if not file.exists() or file.read_text() != content:
        write_private(file, content.encode())
    file.chmod(mode)


if __name__ == "__main__":
    main(sys.argv[1:])
