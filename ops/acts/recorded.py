"""Record the acts of `starfold` in the audit log of operators' acts."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import SecretStr

from ops.acts.log import ActLog, By, Record
from ops.home.access import owner_settings
from ops.home.folder import Home
from shared.process.postgres_settings import DatabaseSettings
from shared.process.settings import settings_from_environment


def act_log(home: Home) -> ActLog:
    """Return the log, over the owner's connection if there is one, else over the settings' own.

    Raises `OperatorError` if neither the settings nor the home have one.
    """
    if "STARFOLD_OWNER_DATABASE_URL" in os.environ or "STARFOLD_DATABASE_URL" not in os.environ:
        owner = owner_settings(home)
        return ActLog(_text(owner.owner_database_url), schema=owner.database_schema)
    own = settings_from_environment(DatabaseSettings)
    return ActLog(_text(own.database_url), schema=own.database_schema, pooler=own.database_pooler)


@contextmanager
def recorded(home: Home, act: str, **parameters: Any) -> Iterator[Record]:
    """Record an act of the operating system's user; parameters are neither secret nor personal."""
    with act_log(home).recorded(By(_system_user(), "cli"), act, parameters) as record:
        yield record


def _system_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # A container's user may have no name.
        return str(os.getuid())


def _text(url: SecretStr) -> str:
    return url.get_secret_value()
