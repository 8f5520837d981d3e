"""The projector's settings."""

from __future__ import annotations

from pydantic import Field

from shared.settings import DatabaseSettings, RedisSettings, SealingSettings


class ProjectorSettings(DatabaseSettings, RedisSettings, SealingSettings):
    """Read from `STARFOLD_*`: the projector's own database role, which may only read events."""

    # After erasures, Redis's files are rewritten at most so often.
    scrub_every_s: float = Field(60, ge=0)
    # Where Prometheus finds the projector; nothing is served without a port.
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(None, ge=1, le=65535)
