"""Where a command finds Starfold: in `STARFOLD_*` settings, else in the home of a local one."""

from __future__ import annotations

import os
from typing import NamedTuple

from pydantic import SecretStr

from ops.errors import OperatorError
from ops.home.bootstrap import operator_of
from ops.home.folder import Addresses, Home
from ops.settings import JobsSettings, OwnerSettings, WriteSideSettings
from projector.settings import ProjectorSettings
from shared.log.schema import COMMAND_ROLE, PROJECTOR_ROLE
from shared.process.setting_types import HttpUrl, Token
from shared.process.settings import Settings, settings_from_environment


class ApiSettings(Settings):
    """Read from `STARFOLD_*` by commands that call the APIs of a Starfold that is not in a home."""

    command_url: HttpUrl | None = None
    query_url: HttpUrl | None = None
    api_key: Token | None = None


class Access(NamedTuple):
    """Both APIs and an operator's service key; `local` if they are a home's."""

    addresses: Addresses
    api_key: str
    local: bool


def access_of(home: Home) -> Access:
    """Raises `OperatorError` if neither the settings nor the home say it."""
    settings = settings_from_environment(ApiSettings)
    if settings.command_url and settings.query_url and settings.api_key:
        addresses = Addresses(settings.command_url, settings.query_url)
        return Access(addresses, settings.api_key.get_secret_value(), local=False)
    return Access(home.addresses(), operator_of(home).api_key, local=True)


def projector_settings(home: Home) -> ProjectorSettings:
    """For commands on the read models. Raises `OperatorError` and `Misconfigured`."""
    _take_environment(home, PROJECTOR_ROLE)
    return settings_from_environment(ProjectorSettings)


def jobs_settings(home: Home) -> JobsSettings:
    _take_environment(home, PROJECTOR_ROLE)
    return settings_from_environment(JobsSettings)


def write_side_settings(home: Home) -> WriteSideSettings:
    """For commands on accounts. Raises `OperatorError` and `Misconfigured`."""
    _take_environment(home, COMMAND_ROLE)
    return settings_from_environment(WriteSideSettings)


def owner_settings(home: Home) -> OwnerSettings:
    """`STARFOLD_OWNER_DATABASE_URL`, else the owner's access to the home's database."""
    if "STARFOLD_OWNER_DATABASE_URL" in os.environ:
        return settings_from_environment(OwnerSettings)
    if "STARFOLD_DATABASE_URL" in os.environ:
        raise OperatorError("this needs the database's owner: set STARFOLD_OWNER_DATABASE_URL")
    return OwnerSettings(owner_database_url=SecretStr(_existing(home).owner_dsn()))


def _take_environment(home: Home, role: str) -> None:
    if "STARFOLD_DATABASE_URL" not in os.environ:
        os.environ.update(_existing(home).environment(role))


def _existing(home: Home) -> Home:
    home.addresses()
    return home
