"""The query API's settings."""

from __future__ import annotations

from pydantic import Field

from shared.process.redis_settings import RedisSettings
from shared.process.setting_types import Base64Secret, Port, Whole
from shared.process.settings import HttpSettings

# Every worker holds the whole catalogue's index.
WORKERS_MAX = 64


class QuerySettings(HttpSettings, RedisSettings):
    """Settings from `STARFOLD_*`; the query API needs Redis only."""

    port: Port = 8081
    # 32 bytes that seal cursors; every query API behind one address needs the same key.
    cursor_key: Base64Secret
    streams_max: Whole = Field(1_000, ge=0, le=1_000_000)
    # Live updates and waiting reads that one address or access-token subject may hold; 0 is no
    # limit.
    streams_per_caller_max: Whole = Field(200, ge=0, le=1_000_000)
    waiters_per_caller_max: Whole = Field(500, ge=0, le=1_000_000)
    # Reads a minute by one address, or by the subject of an access token; 0 is no limit.
    read_limit_address: Whole = Field(60_000, ge=0, le=1_000_000_000)
    read_limit_caller: Whole = Field(60_000, ge=0, le=1_000_000_000)
    workers: Whole = Field(1, ge=1, le=WORKERS_MAX)
