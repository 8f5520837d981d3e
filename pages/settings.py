"""Settings of the processes that serve pages."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from shared.process.settings import ListeningSettings


def _origin(value: str) -> str:
    scheme, separator, host = value.partition("://")
    if value and (scheme not in ("http", "https") or not separator or "/" in host.rstrip("/")):
        raise ValueError("this is no address such as https://films.example")
    return value.rstrip("/")


# An address such as `https://films.example`.
Origin = Annotated[str, AfterValidator(_origin)]


class PagesSettings(ListeningSettings):
    """The APIs that the pages call."""

    command_url: Origin = "http://127.0.0.1:8080"
    query_url: Origin = "http://127.0.0.1:8081"
