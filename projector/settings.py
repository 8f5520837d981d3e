"""The projector's settings."""

from __future__ import annotations

from pydantic import Field

from shared.settings import DatabaseSettings, RedisSettings, SealingSettings


class ProjectorSettings(DatabaseSettings, RedisSettings, SealingSettings):
    """Read from `STARFOLD_*`: the projector's own database role, which may only read events."""

    # After erasures, Redis's files are rewritten at most so often.
    scrub_every_s: float = Field(60, ge=0)
