"""The command API's settings."""

from __future__ import annotations

from pydantic import Field

from shared.process.postgres_settings import DatabaseSettings, PostgresUrl
from shared.process.setting_types import Base64Secret, NewFile, Port, Whole
from shared.process.settings import HttpSettings, SealingSettings

KIB = 1024
MIB = 1024 * KIB
COUNT_MAX = 1_000_000_000


class CommandSettings(HttpSettings, DatabaseSettings, SealingSettings):
    """Settings from `STARFOLD_*`; the command API needs PostgreSQL only."""

    port: Port = 8080
    # A replica of the database, which exports read.
    log_replica_url: PostgresUrl | None = None
    # Keys the ids of reservations, and of users and movies with an external id.
    reservation_secret: Base64Secret
    # The raw Ed25519 private key, 32 bytes, that signs access tokens.
    token_private_key: Base64Secret
    # argon2id, RFC 9106's second recommended option.
    argon2_memory_kib: Whole = Field(64 * KIB, ge=8 * KIB, le=4 * MIB)
    argon2_iterations: Whole = Field(3, ge=1, le=1_000)
    argon2_parallelism: Whole = Field(4, ge=1, le=64)
    # A session ends if it is not refreshed for this long.
    session_idle_days_max: Whole = Field(30, ge=1, le=365)
    # Failed log-ins allowed in five minutes: from one address for one account, and for any.
    log_in_failures_per_account: Whole = Field(10, ge=1, le=COUNT_MAX)
    log_in_failures_per_address: Whole = Field(100, ge=1, le=COUNT_MAX)
    # Mails that may be requested in five minutes from one address.
    mail_requests_per_address: Whole = Field(20, ge=1, le=COUNT_MAX)
    # Requests a minute by a member, a service key, an address without credential; 0 is no limit.
    rate_limit_member: Whole = Field(60_000, ge=0, le=COUNT_MAX)
    rate_limit_service: Whole = Field(1_000_000, ge=0, le=COUNT_MAX)
    rate_limit_anonymous: Whole = Field(3_000, ge=0, le=COUNT_MAX)
    # A file outside the database with the erased users; see `starfold erase --reapply`.
    erasure_ledger: NewFile | None = None
    body_bytes_max: Whole = Field(256 * KIB, ge=KIB, le=64 * MIB)
