"""Settings of the worker and of the commands that give it jobs."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from shared.settings import Base64Secret, DatabaseSettings, SealingSettings, Settings


class JobsSettings(Settings):
    """Read from `STARFOLD_*`. RQ's Redis is a setting of its own and need not be a cluster."""

    jobs_redis_url: SecretStr


class WriteSideSettings(DatabaseSettings, SealingSettings):
    """Read from `STARFOLD_*` by commands that read accounts and commit beside the command API."""

    reservation_secret: Base64Secret
    erasure_ledger: Path | None = None


class OwnerSettings(Settings):
    """Read from `STARFOLD_*` by commands on what no service may change, as service keys."""

    owner_database_url: SecretStr
    database_schema: str = "starfold"
