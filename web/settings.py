"""The public pages' settings."""

from __future__ import annotations

from pages.settings import Origin, PagesSettings
from shared.process.setting_types import Port


class WebSettings(PagesSettings):
    """Settings from `STARFOLD_*`; the public pages need both APIs and nothing else."""

    port: Port = 8082
    # How browsers reach the pages, behind a proxy that ends TLS; empty: as each request says.
    web_url: Origin = ""
