"""The command API's settings."""

from __future__ import annotations

from pydantic import Field

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
    body_bytes_max: int = 256 * KIB
