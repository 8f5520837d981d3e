"""Settings of the processes that serve pages."""

from __future__ import annotations

from pydantic import field_validator

from shared.process.settings import ListeningSettings


class PagesSettings(ListeningSettings):
    """Where the APIs are, and under which address browsers reach the pages."""

    command_url: str = "http://127.0.0.1:8080"
    query_url: str = "http://127.0.0.1:8081"
    # The pages' own origin, such as `https://films.example`, behind a proxy that ends TLS. By
    # default a request's own host counts.
    web_url: str = ""

    @field_validator("command_url", "query_url", "web_url")
    @classmethod
    def _is_an_origin(cls, value: str) -> str:
        scheme, separator, host = value.partition("://")
        if value and (scheme not in ("http", "https") or not separator or "/" in host.rstrip("/")):
            raise ValueError("this is no address such as https://films.example")
        return value.rstrip("/")
