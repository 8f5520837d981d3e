"""First steps of `starfold up` once the command API answers: `python -m ops.local.first_steps`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import structlog
import typer

from ops.failures import failure_text
from ops.home.bootstrap import bootstrap
from ops.home.client import client_of
from ops.home.folder import Home
from ops.imports import catalogue
from shared.log.connections import forget_libpq_variables
from shared.process.logs import configure_logging
from shared.process.settings import Settings, settings_from_environment

log = structlog.get_logger()


def first_steps(
    home: Annotated[Path, typer.Option("--home")],
    catalogue_choice: Annotated[str, typer.Option("--catalogue")] = catalogue.DEFAULT,
) -> None:
    """Create the operator's account and load the catalogue; may be interrupted and run again."""
    forget_libpq_variables()
    configure_logging(settings_from_environment(Settings), process="first-steps")
    local = Home(home)
    try:
        operator = bootstrap(local, local.owner_dsn())
        local.bootstrapped_file.touch(mode=0o600)
        with client_of(local.addresses(), operator.api_key) as client:
            catalogue.load(local, local.owner_dsn(), client, catalogue_choice)
    # One line says why, whatever the error; the traceback is for debugging.
    except Exception as error:
        log.debug("first_steps_failed", exc_info=True)
        failure = failure_text(error)
    else:
        return
    log.error("first_steps_failed", reason=failure)
    sys.exit(1)


if __name__ == "__main__":
    typer.run(first_steps)
