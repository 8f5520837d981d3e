"""Settings of the worker and of the commands that give it jobs."""

from __future__ import annotations

from pydantic import SecretStr

from shared.settings import Settings


class JobsSettings(Settings):
    """Read from `STARFOLD_*`. RQ's Redis is a setting of its own and need not be a cluster."""

    jobs_redis_url: SecretStr
