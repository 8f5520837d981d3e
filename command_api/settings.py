"""The command API's settings."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr

from shared.settings import Base64Secret, DatabaseSettings, HttpSettings, SealingSettings

KIB = 1024
MIB = 1024 * KIB


class CommandSettings(HttpSettings, DatabaseSettings, SealingSettings):
    """Read from `STARFOLD_*`. Needs PostgreSQL alone."""

    port: int = 8080
    # Keys the ids of reservations and of users and movies known by an external id.
    reservation_secret: Base64Secret
    # The raw Ed25519 private key, 32 bytes, that access tokens are signed with.
    token_private_key: Base64Secret
    # argon2id, by RFC 9106's second recommended option.
    argon2_memory_kib: int = Field(64 * KIB, ge=8 * KIB)
    argon2_iterations: int = Field(3, ge=1)
    argon2_parallelism: int = Field(4, ge=1)
    # A session that is not refreshed for so long ends.
    session_idle_days_max: int = Field(30, ge=1, le=365)
    # Log-ins that may fail in five minutes: from one address for one account, and for any.
    log_in_failures_per_account: int = Field(10, ge=1)
    log_in_failures_per_address: int = Field(100, ge=1)
    # Requests a minute by a member, a service key, an address without credential; 0 is no limit.
    rate_limit_member: int = Field(60_000, ge=0)
    rate_limit_service: int = Field(1_000_000, ge=0)
    rate_limit_anonymous: int = Field(3_000, ge=0)
    # A file outside the database that says who has been erased; see `starfold erase --reapply`.
    erasure_ledger: Path | None = None
    # If set, `/metrics` wants it as a bearer token.
    metrics_token: SecretStr | None = None
    # Origins that browsers may call from, separated by commas; none unless set.
    cors_origins: str = ""
    body_bytes_max: int = 256 * KIB
