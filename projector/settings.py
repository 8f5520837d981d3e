"""The projector's settings."""

from __future__ import annotations

from shared.settings import DatabaseSettings, RedisSettings, SealingSettings


class ProjectorSettings(DatabaseSettings, RedisSettings, SealingSettings):
    """Read from `STARFOLD_*`: the projector's own database role, which may only read events."""
