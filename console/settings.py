"""The console's settings."""

from __future__ import annotations

from pydantic import Field

from ops.settings import JobQueueSettings
from pages.settings import Origin, PagesSettings
from projector.settings import ProjectorSettings
from shared.process.setting_types import Base64Secret, Port, Whole
from shared.process.settings import HttpSettings

KIB = 1024
BODY_BYTES_MAX = 16 * KIB


class ConsoleSettings(HttpSettings, PagesSettings, ProjectorSettings, JobQueueSettings):
    """Settings from `STARFOLD_*`; the console uses the worker's roles in PostgreSQL and Redis."""

    port: Port = 8083
    # Finds a user by e-mail address, and keys the Idempotency-Keys of acts.
    reservation_secret: Base64Secret
    # How browsers reach the console, behind a proxy that ends TLS; empty: as each request says.
    console_url: Origin = ""
    # Requests a minute by an operator, a service key, an address without credential; 0 is no limit.
    rate_limit_member: Whole = Field(6_000, ge=0, le=1_000_000_000)
    rate_limit_service: Whole = Field(6_000, ge=0, le=1_000_000_000)
    rate_limit_anonymous: Whole = Field(300, ge=0, le=1_000_000_000)
