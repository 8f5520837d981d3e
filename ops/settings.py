"""Settings of the worker, and of what queues its jobs."""

from __future__ import annotations

from shared.process.postgres_settings import DatabaseSettings, PostgresUrl, SchemaName
from shared.process.redis_settings import SingleRedisUrl
from shared.process.setting_types import Base64Secret, NewFile, Port
from shared.process.settings import SealingSettings, Settings


class JobQueueSettings(Settings):
    """Where the jobs' queue is: RQ's Redis may be separate from the read models' one."""

    jobs_redis_url: SingleRedisUrl


class JobsSettings(JobQueueSettings):
    """Settings from `STARFOLD_*` of the worker, and of the commands that queue its jobs."""

    # The worker touches this file while it works, for a health check.
    heartbeat_file: NewFile | None = None
    # Port of the worker's Prometheus metrics at the projector's `metrics_host`; none by default.
    worker_metrics_port: Port | None = None


class WriteSideSettings(DatabaseSettings, SealingSettings):
    """Settings from `STARFOLD_*` for commands that read accounts and commit events."""

    reservation_secret: Base64Secret
    erasure_ledger: NewFile | None = None


class OwnerSettings(Settings):
    """Settings from `STARFOLD_*` for commands that need the owner, such as service keys."""

    owner_database_url: PostgresUrl
    database_schema: SchemaName = "starfold"
