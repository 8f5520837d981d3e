"""Types of settings: each refuses unusable values, and never repeats a value in its message.

Messages may end up in a log, and a value may contain a password.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretBytes, SecretStr

SECRET_BYTES = 32
PORT_MAX = 65_535
SECONDS_MAX = 86_400
NO_TRACES = "off"
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"
_HOST_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*\.?", re.IGNORECASE)
_HOST_CHARS_MAX = 253


def _secret_bytes(value: object) -> object:
    """Decode base64 text to exactly 32 bytes; refuse weak and default secrets."""
    if isinstance(value, SecretBytes):
        return value
    try:
        decoded = base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64") from None
    if len(decoded) != SECRET_BYTES:
        raise ValueError(f"decodes to {len(decoded)} bytes and must be {SECRET_BYTES}")
    return SecretBytes(decoded)


def _http_url(value: str) -> str:
    url = split_url(value)
    if url.scheme not in ("http", "https") or url.query or url.fragment:
        raise ValueError("is not an address like http://127.0.0.1:8080")
    require_host(url.hostname or "")
    return value.rstrip("/")


def _smtp_url(value: str) -> str:
    url = split_url(value)
    if url.scheme not in ("smtp", "smtps") or url.path or url.query or url.username is not None:
        raise ValueError("is not an address like smtp://mail.example.org:587, or smtps://")
    require_host(url.hostname or "")
    return value


def _mail_sender(value: str) -> str:
    header = EmailMessage()
    try:
        header["From"] = value
    except ValueError:
        raise ValueError("is not a sender like Starfold <starfold@example.org>") from None
    senders = header["From"].addresses
    if len(senders) != 1 or not senders[0].domain or not value.isascii():
        raise ValueError("is not a sender like Starfold <starfold@example.org>")
    return value


def _host(value: str) -> str:
    require_host(value)
    return value


def require_host(host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        numeric = re.fullmatch(r"[\d.]*", host)
        if numeric or len(host) > _HOST_CHARS_MAX or not _HOST_NAME.fullmatch(host):
            raise ValueError("has no host, or an invalid one") from None


def require_port(port: str) -> None:
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= PORT_MAX:
        raise ValueError(f"has a port that is not 1 to {PORT_MAX}")


def split_url(text: str) -> SplitResult:
    """Split a URL into its parts; raise `ValueError` for an invalid port too."""
    if not text.isprintable() or " " in text:
        raise ValueError("has a space or an invisible character in it")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise ValueError("is not an address, or has an invalid port") from None
    if port == 0:
        raise ValueError(f"has a port that is not 1 to {PORT_MAX}")
    return url


def _log_level(value: object) -> object:
    level = value.strip().upper() if isinstance(value, str) else value
    if level not in LOG_LEVELS:
        raise ValueError(f"is not one of {', '.join(LOG_LEVELS)}")
    return level


def _proxies(value: str) -> str:
    for proxy in _listed(value):
        try:
            if proxy != "*":
                ipaddress.ip_network(proxy)
        except ValueError:
            raise ValueError(
                "is not a list of addresses and networks like 10.0.0.0/8, separated by commas"
            ) from None
    return ",".join(_listed(value))


def _origins(value: str) -> str:
    for origin in _listed(value):
        url = SplitResult("", "", "", "", "") if origin == "*" else split_url(origin)
        if origin != "*" and (not url.scheme or not url.hostname or url.path or url.query):
            raise ValueError("is not a list of origins like https://example.org")
    return ",".join(_listed(value))


def _new_file(value: Path) -> Path:
    try:
        if value.is_dir() or not value.absolute().parent.is_dir():
            raise ValueError("is not a file in a folder that exists")
    except OSError:
        raise ValueError("is not an accessible path") from None
    return value


def _traces(value: str) -> str:
    if value == NO_TRACES:
        return value
    return _http_url(value) if "://" in value else str(_new_file(Path(value)))


def _new_folder(value: Path) -> Path:
    try:
        if (value.exists() and not value.is_dir()) or not value.absolute().parent.is_dir():
            raise ValueError("is not a folder in a folder that exists")
    except OSError:
        raise ValueError("is not an accessible path") from None
    return value


def _listed(value: str) -> list[str]:
    return [one.strip() for one in value.split(",") if one.strip()]


def _number(value: Any) -> Any:
    """Accept ASCII digits only: pydantic would accept `1_0` and full-width digits."""
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?[0-9]+\s*", value):
        raise ValueError("is not a whole number")
    return value


def _token(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[!-~]+", value.get_secret_value()):
        raise ValueError("has a character that a header cannot carry")
    return value


def _decimal(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\s*[0-9]{1,9}(\.[0-9]{1,9})?\s*", value):
        raise ValueError("is not a number like 60 or 0.5")
    return value


Base64Secret = Annotated[SecretBytes, BeforeValidator(_secret_bytes)]
HttpUrl = Annotated[str, AfterValidator(_http_url)]
SmtpUrl = Annotated[str, AfterValidator(_smtp_url)]
MailSender = Annotated[str, AfterValidator(_mail_sender)]
Host = Annotated[str, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=PORT_MAX), BeforeValidator(_number)]
Seconds = Annotated[float, Field(ge=0, le=SECONDS_MAX), BeforeValidator(_decimal)]
Token = Annotated[SecretStr, AfterValidator(_token)]
Whole = Annotated[int, BeforeValidator(_number)]
LogLevel = Annotated[str, BeforeValidator(_log_level)]
Proxies = Annotated[str, AfterValidator(_proxies)]
Traces = Annotated[str, AfterValidator(_traces)]
NewFolder = Annotated[Path, AfterValidator(_new_folder)]
NewFile = Annotated[Path, AfterValidator(_new_file)]
Origins = Annotated[str, AfterValidator(_origins)]
