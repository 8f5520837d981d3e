"""Settings of a process that uses PostgreSQL; the query API must not import them."""

from __future__ import annotations

import re
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, SecretStr

from shared.process.setting_types import require_port
from shared.process.settings import Settings

_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_OTHER_DRIVERS = re.compile(r"postgres(ql)?\+\w+://", re.IGNORECASE)


def _postgres_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if _OTHER_DRIVERS.match(text):
        raise ValueError("names a driver: start it with postgresql://")
    try:
        parameters = conninfo_to_dict(text)
    except (psycopg.Error, ValueError):
        raise ValueError(
            "is neither a postgresql:// address nor a libpq connection string"
        ) from None
    for port in filter(None, str(parameters.get("port", "")).split(",")):
        require_port(port)
    for name in ("connect_timeout", "keepalives", "keepalives_idle", "tcp_user_timeout"):
        if not re.fullmatch(r"-?\d{1,9}", str(parameters.get(name, "0"))):
            raise ValueError(f"has a {name} that is not a number")
    return value


def _schema(value: str) -> str:
    if not _SCHEMA.fullmatch(value):
        raise ValueError("is not a name of lowercase letters, digits and _")
    return value


PostgresUrl = Annotated[SecretStr, AfterValidator(_postgres_url)]
SchemaName = Annotated[str, AfterValidator(_schema)]


class DatabaseSettings(Settings):
    """Settings of a process that uses PostgreSQL, each with its own role."""

    database_url: PostgresUrl
    database_schema: SchemaName = "starfold"
    # The address leads to a pooler that lends a server connection for one transaction.
    database_pooler: bool = False
