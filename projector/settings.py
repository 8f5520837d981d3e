"""The projector's settings."""

from __future__ import annotations

from shared.process.postgres_settings import DatabaseSettings, PostgresUrl
from shared.process.redis_settings import RedisSettings
from shared.process.setting_types import Host, Port, Seconds
from shared.process.settings import SealingSettings


class ProjectorSettings(DatabaseSettings, RedisSettings, SealingSettings):
    """Read from `STARFOLD_*`: the projector's own database role, which may only read events."""

    # After erasures, Redis's files are rewritten at most so often.
    scrub_every_s: Seconds = 60
    # Where Prometheus finds the projector; nothing is served without a port.
    metrics_host: Host = "127.0.0.1"
    metrics_port: Port | None = None
    # Behind a transaction pooler, notifications come over a connection past it, if at all.
    listen_database_url: PostgresUrl | None = None

    @property
    def listen_dsn(self) -> str | None:
        """Where to listen for the log's growth; None where that cannot be."""
        if self.listen_database_url is not None:
            return self.listen_database_url.get_secret_value()
        return None if self.database_pooler else self.database_url.get_secret_value()
