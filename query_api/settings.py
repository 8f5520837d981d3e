"""The query API's settings."""

from __future__ import annotations

from pydantic import Field

from shared.settings import HttpSettings, RedisSettings

# Each holds the whole catalogue's index.
WORKERS_MAX = 64


class QuerySettings(HttpSettings, RedisSettings):
    """Read from `STARFOLD_*`. Needs Redis alone."""

    port: int = 8081
    streams_max: int = Field(1_000, ge=0)
    workers: int = Field(1, ge=1, le=WORKERS_MAX)
