"""Settings of the worker and of the commands that give it jobs."""

from __future__ import annotations

from shared.process.postgres_settings import DatabaseSettings, PostgresUrl, SchemaName
from shared.process.redis_settings import RedisUrl
from shared.process.setting_types import Base64Secret, NewFile
from shared.process.settings import SealingSettings, Settings


class JobsSettings(Settings):
    """Read from `STARFOLD_*`. RQ's Redis is a setting of its own and need not be a cluster."""

    jobs_redis_url: RedisUrl
    # The worker touches it while it works, for a health check.
    heartbeat_file: NewFile | None = None


class WriteSideSettings(DatabaseSettings, SealingSettings):
    """Read from `STARFOLD_*` by commands that read accounts and commit beside the command API."""

    reservation_secret: Base64Secret
    erasure_ledger: NewFile | None = None


class OwnerSettings(Settings):
    """Read from `STARFOLD_*` by commands on what no service may change, as service keys."""

    owner_database_url: PostgresUrl
    database_schema: SchemaName = "starfold"
