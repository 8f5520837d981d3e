"""Find Starfold's addresses and credentials: in `STARFOLD_*`, else in a local home."""

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
    """Settings from `STARFOLD_*` for commands that call the APIs of a remote Starfold."""

    command_url: HttpUrl | None = None
    query_url: HttpUrl | None = None
    api_key: Token | None = None


class Access(NamedTuple):
    """Both APIs and an operator's service key; `local` if they come from a home."""

    addresses: Addresses
    api_key: str
    local: bool


def access_of(home: Home) -> Access:
    """Return the access; raise `OperatorError` if neither the settings nor the home have it."""
    settings = settings_from_environment(ApiSettings)
    if settings.command_url and settings.query_url and settings.api_key:
        addresses = Addresses(settings.command_url, settings.query_url)
        return Access(addresses, settings.api_key.get_secret_value(), local=False)
    place = _existing(home, "STARFOLD_COMMAND_URL, STARFOLD_QUERY_URL and STARFOLD_API_KEY")
    return Access(place.addresses(), operator_of(home).api_key, local=True)


def projector_settings(home: Home) -> ProjectorSettings:
    """Return the settings for commands on the read models."""
    _take_environment(home, PROJECTOR_ROLE)
    return settings_from_environment(ProjectorSettings)


def jobs_settings(home: Home) -> JobsSettings:
    _take_environment(home, PROJECTOR_ROLE)
    return settings_from_environment(JobsSettings)


def write_side_settings(home: Home) -> WriteSideSettings:
    """Return the settings for commands on accounts."""
    if "STARFOLD_DATABASE_URL" in os.environ:
        return settings_from_environment(WriteSideSettings)
    own = _existing(home).environment(COMMAND_ROLE)
    named = {name.removeprefix("STARFOLD_").lower(): value for name, value in own.items()}
    return WriteSideSettings.model_validate(named)


def owner_settings(home: Home) -> OwnerSettings:
    """Return the owner's settings: `STARFOLD_OWNER_DATABASE_URL`, else from the home."""
    if "STARFOLD_OWNER_DATABASE_URL" in os.environ:
        return settings_from_environment(OwnerSettings)
    if "STARFOLD_DATABASE_URL" in os.environ:
        raise OperatorError("this needs the database's owner: set STARFOLD_OWNER_DATABASE_URL")
    place = _existing(home, "STARFOLD_OWNER_DATABASE_URL")
    return OwnerSettings(owner_database_url=SecretStr(place.owner_dsn()))


def _take_environment(home: Home, role: str) -> None:
    if "STARFOLD_DATABASE_URL" not in os.environ:
        os.environ.update(_existing(home).environment(role))


def _existing(home: Home, instead: str = "STARFOLD_DATABASE_URL") -> Home:
    """Return a home that was started; raise `OperatorError` with the settings to use instead."""
    try:
        home.addresses()
    except OperatorError as error:
        raise OperatorError(f"{error}, or set {instead}") from None
    return home
