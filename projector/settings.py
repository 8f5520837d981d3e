"""The projector's settings."""

from __future__ import annotations

from shared.process.postgres_settings import DatabaseSettings, PostgresUrl
from shared.process.redis_settings import RedisSettings
from shared.process.setting_types import (
    Host,
    HttpUrl,
    MailSender,
    NewFolder,
    Port,
    Seconds,
    SmtpUrl,
    Token,
)
from shared.process.settings import SealingSettings, TracedSettings


class ProjectorSettings(DatabaseSettings, RedisSettings, SealingSettings, TracedSettings):
    """Settings from `STARFOLD_*`; the projector's database role may only read events."""

    # Keep up the event index, in which operators find events by time, actor, request and entity.
    event_index: bool = False
    # Minimum time between two rewrites of Redis's files after erasures.
    scrub_every_s: Seconds = 60
    # Address of the Prometheus metrics; without a port the projector serves none.
    metrics_host: Host = "127.0.0.1"
    metrics_port: Port | None = None
    # Direct connection for LISTEN, past a transaction pooler; without it the projector polls.
    listen_database_url: PostgresUrl | None = None
    # The mail server, the account on it, and the sender of the mails.
    smtp_url: SmtpUrl | None = None
    smtp_user: Token | None = None
    smtp_password: Token | None = None
    mail_from: MailSender = "Starfold <starfold@localhost>"
    # Without a mail server, mails become files in this folder.
    mail_outbox: NewFolder | None = None
    # Where the public pages are, which mails link to.
    web_url: HttpUrl = "http://127.0.0.1:8082"
    # A replica of the database, from which replays and audits read the log.
    log_replica_url: PostgresUrl | None = None

    @property
    def listen_dsn(self) -> str | None:
        """The connection string for LISTEN; None behind a pooler without a direct connection."""
        if self.listen_database_url is not None:
            return self.listen_database_url.get_secret_value()
        return None if self.database_pooler else self.database_url.get_secret_value()
