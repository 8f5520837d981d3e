"""Settings, read once at start from `STARFOLD_*` variables and passed on from `__main__`.

Secrets are `SecretStr` or `SecretBytes`, so that no repr and no log line shows them.
"""

from __future__ import annotations

from typing import TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from shared.errors import Misconfigured
from shared.process.setting_types import (
    NO_TRACES,
    Base64Secret,
    Host,
    LogLevel,
    Origins,
    Proxies,
    Seconds,
    Token,
    Traces,
)

ENVIRONMENT_PREFIX = "STARFOLD_"

Read = TypeVar("Read", bound="Settings")


class Settings(BaseSettings):
    """Settings of every process; each service extends them with its own."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        extra="ignore",
        frozen=True,
        # Compose files pass unset variables on as empty ones.
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    log_level: LogLevel = "INFO"
    log_format: str = Field("auto", pattern="^(auto|console|json)$")


def settings_from_environment(kind: type[Read]) -> Read:
    """Return a process's settings; raise `Misconfigured` naming each bad variable.

    The message never shows a value.
    """
    try:
        return kind()
    except ValidationError as error:
        wrong = "; ".join(
            f"{_variable(entry['loc'])}: {entry['msg'].removeprefix('Value error, ')}"
            for entry in error.errors(include_input=False, include_url=False)
        )
        raise Misconfigured(f"settings are missing or wrong: {wrong}") from None
    except (SettingsError, UnicodeError) as error:
        raise Misconfigured(f"settings cannot be read: {type(error).__name__}") from None


def _variable(location: tuple[int | str, ...]) -> str:
    return f"{ENVIRONMENT_PREFIX}{location[0] if location else 'settings'}".upper()


class TracedSettings(Settings):
    """Settings of a process whose work has spans."""

    # `off`, a file, or the URL of a collector that takes OTLP over HTTP.
    traces: Traces = NO_TRACES


class SealingSettings(Settings):
    """Settings of a process that opens or seals personal data."""

    sealing_key: Base64Secret
    # Unwraps what the sealing key does not, while that is rotated.
    second_sealing_key: Base64Secret | None = None

    @property
    def sealing_keys(self) -> tuple[bytes, bytes | None]:
        """The sealing key, and the second one during a rotation."""
        first, second = self.sealing_key, self.second_sealing_key
        return first.get_secret_value(), None if second is None else second.get_secret_value()


class ListeningSettings(Settings):
    """Settings of a process that listens."""

    host: Host = "127.0.0.1"
    trusted_proxies: Proxies = ""
    access_log: bool = False
    # Longer than proxies keep an idle connection: most use 60 s.
    keep_alive_s: Seconds = 75


class HttpSettings(ListeningSettings, TracedSettings):
    """Settings of a process that serves an API."""

    # If set, `/metrics` requires it as a bearer token.
    metrics_token: Token | None = None
    # Origins that browsers may call from, separated by commas; none by default.
    cors_origins: Origins = ""
    # After SIGTERM, not ready but serving for this long, until no proxy sends requests here.
    drain_s: Seconds = 0
    # 32 bytes, the raw Ed25519 public key that verifies access tokens.
    token_public_key: Base64Secret
    # Verifies access tokens too, while the token key is rotated.
    second_token_public_key: Base64Secret | None = None
    token_issuer: str = Field("starfold", min_length=1)
    token_audience: str = Field("starfold", min_length=1)

    @property
    def token_public_keys(self) -> list[bytes]:
        """The key that verifies access tokens, and the second one during a rotation."""
        keys = (self.token_public_key, self.second_token_public_key)
        return [key.get_secret_value() for key in keys if key is not None]
