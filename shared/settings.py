"""Settings: read once at start from `STARFOLD_*` variables, and passed on from `__main__`.

Secrets are `SecretStr` or `SecretBytes`, so that no repr and no log line shows them.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import Misconfigured

SECRET_BYTES = 32
ENVIRONMENT_PREFIX = "STARFOLD_"


Read = TypeVar("Read", bound="Settings")


def _secret_bytes(value: object) -> object:
    """Base64 text to exactly 32 bytes; a weak or default secret is refused at start."""
    if isinstance(value, SecretBytes):
        return value
    try:
        decoded = base64.b64decode(str(value), validate=True)
    except binascii.Error as error:
        raise ValueError("is not base64") from error
    if len(decoded) != SECRET_BYTES:
        raise ValueError(f"decodes to {len(decoded)} bytes and must be {SECRET_BYTES}")
    return SecretBytes(decoded)


Base64Secret = Annotated[SecretBytes, BeforeValidator(_secret_bytes)]


class Settings(BaseSettings):
    """What every process reads. Each service extends it by what only it needs."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="ignore", frozen=True)

    log_level: str = "INFO"
    log_format: str = Field("auto", pattern="^(auto|console|json)$")


def settings_from_environment(kind: type[Read]) -> Read:
    """Settings of a process; raises `Misconfigured` that names each variable that is missing or
    wrong, and never shows a value.
    """
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{ENVIRONMENT_PREFIX}{entry['loc'][0]!s}".upper() + f": {entry['msg']}"
            for entry in error.errors(include_input=False, include_url=False)
        )
        raise Misconfigured(f"settings are missing or wrong: {wrong}") from None


class DatabaseSettings(Settings):
    """For a process that reaches PostgreSQL, each with its own role."""

    database_url: SecretStr
    database_schema: str = "starfold"


class RedisSettings(Settings):
    """For a process that reaches the read models."""

    redis_url: SecretStr


class SealingSettings(Settings):
    """For a process that opens or seals personal data."""

    sealing_key: Base64Secret


class HttpSettings(Settings):
    """For a process that listens."""

    host: str = "127.0.0.1"
    trusted_proxies: str = ""
    access_log: bool = False
    # 32 bytes, the raw Ed25519 public key that access tokens are verified with.
    token_public_key: Base64Secret
    token_issuer: str = "starfold"
    token_audience: str = "starfold"
